from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.logprobs import reference, token_logprobs
from tests.kernels.kernel import Kernel
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
LOGITS, TOKENS = RNG.normal(size=(2, 4, 5)), RNG.integers(0, 5, (2, 4))


def by_loops(logits, temperature):
  logprobs, entropies = np.zeros((2, 4)), np.zeros((2, 4))
  for i in range(2):
    for t in range(1, 4):
      weights = np.exp(logits[i, t - 1] / temperature)
      p = weights / weights.sum()
      logprobs[i, t] = np.log(p[TOKENS[i, t]])
      entropies[i, t] = -sum(q * np.log(q) for q in p)
  return logprobs, entropies


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_value_and_gradient_against_loops(temperature):
  weights = RNG.normal(size=(2, 2, 4))
  with jax.enable_x64(True):

    def total(x):
      result = token_logprobs(x, jnp.array(TOKENS), temperature=temperature)
      return (weights[0] * result.logprobs + weights[1] * result.entropies).sum()

    actual = token_logprobs(jnp.array(LOGITS), jnp.array(TOKENS), temperature=temperature)
    gradient = jax.grad(total)(jnp.array(LOGITS))
  for a, b in zip(actual, by_loops(LOGITS, temperature), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-12)

  def expected(x):
    return sum((w * y).sum() for w, y in zip(weights, by_loops(x, temperature), strict=True))

  np.testing.assert_allclose(gradient, finite_difference(expected, LOGITS), atol=1e-8)


def test_entry_t_belongs_to_token_t():
  """Logits that are certain of the next token: logprob 0 from entry 1 on; a shift by one would give -100."""
  tokens = jnp.array([[0, 1, 2, 3, 4]])
  logits = 100.0 * jax.nn.one_hot(jnp.roll(tokens, -1, axis=1), 5)
  np.testing.assert_allclose(token_logprobs(logits, tokens).logprobs, jnp.zeros((1, 5)), atol=1e-6)


def test_impossible_tokens_give_finite_entropy_and_gradient():
  logits = jnp.array(LOGITS).at[:, :, 4].set(-jnp.inf)
  tokens = jnp.minimum(jnp.array(TOKENS), 3)

  def total(x):
    result = token_logprobs(x, tokens)
    return (result.logprobs + result.entropies).sum()

  value, gradient = jax.value_and_grad(total)(logits)
  assert jnp.isfinite(value) and jnp.isfinite(gradient).all()
  without = token_logprobs(logits[:, :, :4], tokens)
  for a, b in zip(token_logprobs(logits, tokens), without, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_wrong_shapes_say_what_came():
  with pytest.raises(ValueError, match=r"got \(2, 4, 5\), \(2, 3\)"):
    token_logprobs(jnp.array(LOGITS), jnp.array(TOKENS[:, :3]))


# Shapes so small that the gradient by a matrix counts as group-sized in the suite over devices.
SIZES = {"D": 3, "E": 2, "N": 11}

KERNELS = [
  Kernel(
    reference.token_logprobs,
    {"logits": "BTV", "tokens": "BT", "mask": "BT"},
    {"temperature": 0.7},
    gradients=("logits",),
  ),
  Kernel(reference.categorical, {"logits": "BTV", "tokens": "BT"}, mask=None, gradients=("logits",)),
  Kernel(reference.align, {"x": "BT"}, mask=None, gradients=("x",)),
  Kernel(
    reference.linear_scores,
    {"hidden": "BTD", "matrix": "DN"},
    {"layout": "DV"},
    mask=None,
    gradients=("hidden", "matrix"),
    sizes=SIZES,
  ),
]
