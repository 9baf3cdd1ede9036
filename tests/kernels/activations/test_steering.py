from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.activations import sparse_codes, steering
from rl_jax.kernels.losses.preference import dpo
from tests.kernels.kernel import Kernel, quick_jit
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
HIDDEN, DECODER, BIAS, VECTOR = (RNG.normal(size=shape) for shape in ((3, 2), (4, 2), (2,), (4,)))
CODES = np.abs(RNG.normal(size=(3, 4)))
CODES[0] = CODES[:, 3] = 0  # the last latent is never active


def test_steering_is_decoding_the_steered_codes_plus_the_error_of_reconstruction():
  """The bias cancels, and the gradient is that of loops over tokens and latents."""
  steer = lambda v, d: steering.steer_sparse(*map(jnp.array, (HIDDEN, CODES)), v, jnp.array(DECODER), multiplier=d)
  square = lambda v, d: (jnp.square(steer(v, d)).sum(), steer(v, d))
  with jax.enable_x64(True):
    decode = quick_jit(lambda codes: sparse_codes.decode(codes, jnp.array(DECODER), jnp.array(BIAS)))
    compiled = quick_jit(jax.grad(square, has_aux=True))
    for d in (-0.5, 1.0):
      gradient, steered = compiled(VECTOR, d)
      expected = decode(np.maximum(CODES + d * VECTOR, 0)) + HIDDEN - decode(CODES)
      np.testing.assert_allclose(steered, expected, atol=1e-12)

  def reference(v):
    total = 0.0
    for h, codes in zip(HIDDEN, CODES, strict=True):
      total += ((h + sum((max(a + x, 0) - a) * row for a, x, row in zip(codes, v, DECODER, strict=True))) ** 2).sum()
    return total

  np.testing.assert_allclose(gradient, finite_difference(reference, VECTOR), atol=1e-7)


def test_no_vector_and_no_multiplier_leave_hidden_states_as_they_are():
  hidden, codes, decoder = (jnp.array(x, jnp.float32) for x in (HIDDEN, CODES, DECODER))
  for vector, multiplier in ((jnp.zeros(4), 1.0), (jnp.array(VECTOR, jnp.float32), 0.0)):
    steered = steering.steer_sparse(hidden, codes, vector, decoder, multiplier=multiplier)
    np.testing.assert_array_equal(steered, hidden)


def test_latents_that_are_never_active_do_not_move_down():
  """At v = 0 their gradient is exactly 0, and a negative entry has no effect; codes carry no gradient."""
  hidden, codes, decoder = (jnp.array(x, jnp.float32) for x in (HIDDEN, CODES, DECODER))
  total = lambda codes, v: jnp.sin(steering.steer_sparse(hidden, codes, v, decoder)).sum()
  compiled = quick_jit(jax.value_and_grad(total, argnums=(0, 1)))
  value, (by_codes, by_vector) = jax.tree.map(np.asarray, compiled(codes, np.zeros(4, np.float32)))
  assert not by_codes.any() and by_vector[:3].all() and by_vector[3] == 0
  lower, (_, by_vector) = compiled(codes, np.array([0, 0, 0, -5], np.float32))
  assert lower == value and np.asarray(by_vector)[3] == 0


def test_both_directions_of_training_have_one_gradient_at_the_start():
  """At v = 0: -log sigmoid(d beta m) of logprobs with d v added; the loss is log 2 for d = 1 and -1."""
  states = [jnp.array(RNG.normal(size=(3, 2)), jnp.float32) for _ in range(2)]
  ones = jnp.ones(3)

  def loss(v, d):
    chosen, rejected = (jnp.tanh(steering.steer_dense(h, v, multiplier=d)).sum(axis=1) for h in states)
    return dpo(chosen, rejected, *(jnp.tanh(h).sum(axis=1) for h in states), ones, beta=d * 0.1).losses.mean()

  up, down = (quick_jit(jax.value_and_grad(loss))(jnp.zeros(2), d) for d in (1.0, -1.0))
  np.testing.assert_allclose(up[0], np.log(2), rtol=1e-6)
  np.testing.assert_allclose(up[1], down[1], rtol=1e-5)


def test_localization_of_a_model_without_a_gap():
  found = steering.localization(jnp.array([0.6, 1.0, 0.0]), jnp.array([0.6, 0.0, 0.0]))
  np.testing.assert_allclose(found.accuracy, [0.6, 0, 0], rtol=1e-6)
  np.testing.assert_allclose(found.gap, [0, 2, 0])


def test_wrong_sizes_are_one_line():
  with pytest.raises(
    ValueError, match=r"expected hidden \[N D\], codes \[N F\], vector \[F\], decoder \[F D\], got \(3, 2\)"
  ):
    steering.steer_sparse(jnp.ones((3, 2)), jnp.ones((3, 4)), jnp.ones(5), jnp.ones((4, 2)))


RATES = lambda rng, shape: rng.random(shape).astype(np.float32)

KERNELS = [
  Kernel(
    steering.steer_dense,
    {"hidden": "BD", "vector": "D", "multiplier": ""},
    mask=None,
    gradients=("hidden", "vector"),
    sizes={"D": 3},
  ),
  Kernel(
    steering.steer_sparse,
    {"hidden": "BD", "codes": "BF", "vector": "F", "decoder": "FD"},
    mask=None,
    gradients=("hidden", "vector"),
    draws={"codes": lambda rng, shape: np.maximum(rng.normal(size=shape), 0).astype(np.float32)},
    sizes={"D": 3, "F": 4},
  ),
  Kernel(
    steering.localization,
    {"localized": "K", "non_localized": "K"},
    mask=None,
    draws={"localized": RATES, "non_localized": RATES},
  ),
]
