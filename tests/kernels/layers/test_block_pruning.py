from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.layers import block_pruning
from rl_jax.kernels.layers.block_pruning import block_importance, linear_cka, lowest_blocks, winning_ticket
from tests.kernels.kernel import Kernel, quick_jit
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
UP, DOWN, HEAD = RNG.normal(size=(3, 3, 2)), RNG.normal(size=(3, 2, 3)), RNG.normal(size=2)
X, Y = RNG.normal(size=(5, 2)), RNG.normal(size=5)


def loss(blocks, head):
  x = jnp.asarray(X)
  for up, down in zip(blocks["up"], blocks["down"], strict=True):
    x = x + jnp.tanh(x @ up.T) @ down.T
  return jnp.square(x @ head - jnp.asarray(Y)).mean()


def numpy_loss(theta):
  up, down, head = theta[:18].reshape(3, 3, 2), theta[18:36].reshape(3, 2, 3), theta[36:]
  x = X
  for u, d in zip(up, down, strict=True):
    x = x + np.tanh(x @ u.T) @ d.T
  return np.square(x @ head - Y).mean()


def test_scores_against_differences_of_the_loss():
  """Gradient by central differences; H g as a difference of gradients along g, of the head's weights too."""
  theta = np.concatenate([UP.ravel(), DOWN.ravel(), HEAD])
  gradient = finite_difference(numpy_loss, theta)
  step = 1e-4 / np.abs(gradient).max()
  ahead, behind = (finite_difference(numpy_loss, theta + sign * step * gradient) for sign in (1, -1))
  curved = (ahead - behind) / (2 * step)
  by_block = lambda x: x[:18].reshape(3, -1).sum(axis=1) + x[18:36].reshape(3, -1).sum(axis=1)
  expected = {
    "grasp": by_block(theta * curved),
    "snip": by_block(np.abs(theta * gradient)),
    "snip_signed": by_block(theta * gradient),
  }
  with jax.enable_x64(True):
    blocks = {"up": jnp.asarray(UP), "down": jnp.asarray(DOWN)}
    scores = quick_jit(lambda b, h: {name: block_importance(loss, b, h, criterion=name) for name in expected})
    found = scores(blocks, jnp.asarray(HEAD))
    mean = quick_jit(lambda b, h: block_importance(loss, b, h, criterion="snip", pool="mean"))(
      blocks, jnp.asarray(HEAD)
    )
  for name, reference in expected.items():
    np.testing.assert_allclose(found[name], reference, rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(mean, np.asarray(found["snip"]) / 12, rtol=1e-10)


def test_a_block_that_does_nothing_has_no_importance():
  blocks = {name: jnp.asarray(x, jnp.float32).at[1].set(0) for name, x in (("up", UP), ("down", DOWN))}
  head = jnp.asarray(HEAD, jnp.float32)
  scores = quick_jit(lambda b: [block_importance(loss, b, head, criterion=name) for name in block_pruning.CRITERIA])
  for found in scores(blocks):
    assert found[1] == 0 and found[0] != 0


def test_the_lowest_go_and_of_equal_ones_the_first():
  scores = jnp.array([-1.0, 3.0, 2.0, 2.0, -jnp.inf])
  removable = jnp.array([False, True, True, True, True])
  for count, removed in ((0, []), (1, [4]), (2, [2, 4]), (3, [2, 3, 4]), (9, [1, 2, 3, 4])):
    np.testing.assert_array_equal(np.flatnonzero(lowest_blocks(scores, removable, count=count)), removed)


def test_alikeness_ignores_rotation_scale_and_shift():
  x, mask = RNG.normal(size=(6, 3)), np.array([1, 1, 1, 1, 1, 0])
  rotation = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
  compiled = quick_jit(lambda x, y: linear_cka(x, y, jnp.asarray(mask)))
  cka = lambda x, y: float(compiled(np.float32(x), np.float32(y)))
  other = RNG.normal(size=(6, 2))
  assert cka(x, 1e-12 * (x @ rotation)) == pytest.approx(1, abs=1e-5)
  assert cka(x @ rotation + 5, other) == pytest.approx(cka(x, other), abs=1e-4)
  centred = [a[:5] - a[:5].mean(axis=0) for a in (x, other)]
  grams = [c @ c.T for c in centred]
  expected = (grams[0] * grams[1]).sum() / np.sqrt((grams[0] ** 2).sum() * (grams[1] ** 2).sum())
  assert cka(x, other) == pytest.approx(expected, rel=1e-4)
  assert cka(x, np.full((6, 2), 0.1)) == 0


def test_a_ticket_may_be_worse_by_the_tolerance():
  accuracies = jnp.array([92.4, 91.5, 90.9])
  for tolerance, wins in ((0.0, [1, 0, 0]), (1.0, [1, 1, 0])):
    np.testing.assert_array_equal(winning_ticket(accuracies, jnp.array(92.0), tolerance=tolerance), wins)


def test_wrong_calls_say_what_to_do():
  with pytest.raises(ValueError, match=r"the blocks as first axis, got \[\(2,\), \(3,\)\]"):
    block_importance(loss, {"up": jnp.ones((3, 2)), "down": jnp.ones((2, 2))})
  with pytest.raises(ValueError, match="unknown criterion 'l1'; known: grasp, snip, snip_signed"):
    block_importance(loss, {"up": jnp.ones((3, 2))}, criterion="l1")


SIZES = {"L": 3, "D": 2, "E": 3}


def _importance(blocks, head):
  return block_importance(lambda w, h: jnp.square(jnp.tanh(w) @ h).sum(), blocks, head)


KERNELS = [
  Kernel(_importance, {"blocks": "LD", "head": "D"}, mask=None, public=block_importance, sizes=SIZES),
  Kernel(
    lowest_blocks,
    {"scores": "L", "removable": "L"},
    {"count": 2},
    mask=None,
    draws={"removable": lambda rng, shape: rng.random(shape) < 0.8},
    sizes=SIZES,
  ),
  Kernel(linear_cka, {"x": "BD", "y": "BE", "mask": "B"}, scope="batch", sizes=SIZES),
  Kernel(winning_ticket, {"accuracy": "B", "dense_accuracy": "B"}, mask=None),
]
