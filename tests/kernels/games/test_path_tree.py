from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.games.beliefs import split_belief
from rl_jax.kernels.games.path_tree import kept_paths, moved_nodes, path_cost, public_paths
from tests.kernels.kernel import Kernel, quick_jit
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
PRIOR = np.array([0.3, 0.7])
LOGITS = [RNG.normal(size=(2**k, 2, 2)) for k in range(3)]
RUNNING, TERMINAL = RNG.normal(size=8), RNG.normal(size=(8, 2))


def softmax(x):
  return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def reference(logits):
  signals, total = [softmax(x) for x in logits], 0.0
  for number, path in enumerate(itertools.product((0, 1), repeat=3)):
    probabilities, node = np.ones(2), 0
    for step, j in enumerate(path):
      probabilities, node = probabilities * signals[step][node, :, j], 2 * node + j
    total += PRIOR @ (probabilities * (RUNNING[number] + TERMINAL[number]))
  return total


def test_cost_and_gradient_of_all_nodes_against_loops():
  def cost(logits):
    paths = public_paths(jnp.asarray(PRIOR), [jax.nn.softmax(x) for x in logits])
    return path_cost(paths.probabilities, jnp.asarray(PRIOR), jnp.asarray(RUNNING), jnp.asarray(TERMINAL))

  with jax.enable_x64(True):
    value, gradients = quick_jit(jax.value_and_grad(cost))(LOGITS)
  np.testing.assert_allclose(value, reference(LOGITS), rtol=1e-12)
  for k, gradient in enumerate(gradients):
    expected = finite_difference(lambda x, k=k: reference([*LOGITS[:k], x, *LOGITS[k + 1 :]]), LOGITS[k])
    np.testing.assert_allclose(gradient, expected, atol=1e-8)


def test_beliefs_are_splits_one_after_the_other():
  signals = [jnp.asarray(softmax(x)) for x in LOGITS]
  paths = public_paths(jnp.asarray(PRIOR), signals)
  beliefs = jnp.asarray(PRIOR)[None]
  for nodes in signals:
    beliefs = split_belief(beliefs, nodes).posteriors.reshape(-1, 2)
  np.testing.assert_allclose(paths.beliefs, beliefs, rtol=1e-4)
  np.testing.assert_allclose(paths.weights.sum(), 1, rtol=1e-6)
  np.testing.assert_allclose(paths.weights @ paths.beliefs, PRIOR, rtol=1e-5)


def test_a_path_that_nobody_takes():
  paths = public_paths(jnp.array([0.5, 0.5]), [jnp.array([[[1.0, 0.0], [1.0, 0.0]]])])
  np.testing.assert_array_equal(paths.beliefs, [[0.5, 0.5], [0, 0]])


def test_a_tree_shrinks_by_a_fifth_at_least_or_not_at_all():
  weights, every = jnp.array([0.4, 0.3, 0.2, 0.1, 0, 0, 1e-3, 1e-5]), jnp.ones(8, bool)
  np.testing.assert_array_equal(kept_paths(weights, every), [1, 1, 1, 1, 0, 0, 1, 0])  # 1e-4 / 8 is above 1e-5
  np.testing.assert_array_equal(kept_paths(weights, every, shrink=0.6), every)
  np.testing.assert_array_equal(kept_paths(weights, jnp.arange(8) < 5), [1, 1, 1, 1, 0, 0, 0, 0])


def test_nodes_that_moved_come_back():
  before = jnp.array([[0.5, 0.5], [0.5, 0.5]])
  moved = moved_nodes(before + jnp.array([[1e-3, -1e-3], [1e-4, -1e-4]]), before, paths=8)
  np.testing.assert_array_equal(moved, [True, False])


def test_wrong_shapes_say_what_is_expected():
  with pytest.raises(ValueError, match=r"expected signals \(2, 2, 'J'\) at step 1, got \(4, 2, 2\)"):
    public_paths(jnp.ones(2), [jnp.ones((1, 2, 2)), jnp.ones((4, 2, 2))])
  with pytest.raises(ValueError, match=r"running \[P\], terminal \[P I\], got \(2, 4\), \(2,\), \(1,\), \(4, 2\)"):
    path_cost(jnp.ones((2, 4)), jnp.ones(2), jnp.ones(1), jnp.ones((4, 2)))


SIZES = {"I": 2, "J": 2, "N": 2, "P": 4, "O": 1}
SHARES = lambda rng, shape: rng.dirichlet(np.ones(shape[-1]), size=shape[:-1]).astype(np.float32)
DRAWS = {
  "kept": lambda rng, shape: rng.random(shape) < 0.8,
  **{name: SHARES for name in ("prior", "root", "nodes", "weights", "mixtures", "before")},
}


def _paths(prior, root, nodes):
  return public_paths(prior, [root, nodes])


def _kernel(function, axes, options=None, **fields):
  return Kernel(function, axes, options or {}, mask=None, draws=DRAWS, sizes=SIZES, **fields)


KERNELS = [
  _kernel(_paths, {"prior": "I", "root": "OIJ", "nodes": "NIJ"}, public=public_paths, gradients=("root", "nodes")),
  _kernel(
    path_cost,
    {"probabilities": "IP", "prior": "I", "running": "P", "terminal": "PI"},
    gradients=("probabilities", "running", "terminal"),
  ),
  _kernel(kept_paths, {"weights": "P", "kept": "P"}),
  _kernel(moved_nodes, {"mixtures": "NJ", "before": "NJ"}, {"paths": 4}),
]
