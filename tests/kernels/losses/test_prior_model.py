from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.losses.prior_model import prior_from_logits, query_pairs, score_labels, v0_loss
from tests.kernels.kernel import Kernel
from tests.kernels.numerics import finite_difference

POSITIVE, NEGATIVE = np.array([[0.2, 1.1], [-0.5, 0.4]]), np.array([[0.9, -0.3], [0.0, 0.7]])
LABELS = np.array([0.9, 0.65]), np.array([0.1, 0.35])


def reference(positive, negative, alpha=0.25):
  pairwise = np.log1p(np.exp(-((positive[:, 1] - positive[:, 0]) - (negative[:, 1] - negative[:, 0]))))
  entropy = 0.0
  for logits, labels in zip((positive, negative), LABELS, strict=True):
    log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    entropy = entropy - (np.stack([1 - labels, labels], axis=1) * log_softmax).sum(axis=1) / 2
  return (alpha * pairwise + (1 - alpha) * entropy).sum()


def test_worked_example():
  loss = v0_loss(*map(jnp.asarray, (POSITIVE, NEGATIVE, *LABELS)), jnp.ones(2, bool))
  np.testing.assert_allclose([x.mean() for x in loss], [0.525852849, 0.356829196, 0.582194066], rtol=1e-6)


def test_gradient():
  with jax.enable_x64(True):
    total = lambda p, n: v0_loss(p, n, *map(jnp.asarray, LABELS), jnp.ones(2, bool)).losses.sum()
    actual = jax.grad(total, argnums=(0, 1))(jnp.asarray(POSITIVE), jnp.asarray(NEGATIVE))
  np.testing.assert_allclose(actual[0], finite_difference(lambda p: reference(p, NEGATIVE), POSITIVE), atol=1e-8)
  np.testing.assert_allclose(actual[1], finite_difference(lambda n: reference(POSITIVE, n), NEGATIVE), atol=1e-8)


def test_the_prior_undoes_the_label():
  scores = jnp.array([-0.9, 0.0, 0.6])
  y = score_labels(scores)
  np.testing.assert_allclose(prior_from_logits(jnp.log(jnp.stack([1 - y, y], axis=1))), scores, atol=1e-6)


def test_the_smaller_class_starts_again():
  labels = jnp.array(
    [[0.9, 0.1, 0.5, 0.2, 0.3, 0.4], [0.9, 0.9, 0.1, jnp.nan, 0.1, 0.8], [0.9, 0.8, 0.1, 0.0, 0.0, 0.0]]
  )
  mask = jnp.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 1], [1, 1, 0, 0, 0, 0]])
  pairs = query_pairs(labels, mask)
  np.testing.assert_array_equal(pairs.mask.sum(axis=1), [4, 3, 0])  # the last row has one class
  np.testing.assert_array_equal(pairs.positive, [[0, 2, 0, 2, 0, 0], [0, 1, 5, 0, 0, 0], [0] * 6])
  np.testing.assert_array_equal(pairs.negative, [[1, 3, 4, 5, 0, 0], [2, 2, 2, 0, 0, 0], [0] * 6])


PAIRS = {
  "positive_logits": "BC",
  "negative_logits": "BC",
  "positive_labels": "B",
  "negative_labels": "B",
  "mask": "B",
}
UNIT = lambda rng, shape: rng.random(shape).astype("float32")
DRAWS = {"positive_labels": UNIT, "negative_labels": UNIT, "labels": UNIT}
TWO = {"C": 2}

KERNELS = [
  Kernel(score_labels, {"scores": "B"}, mask=None),
  Kernel(prior_from_logits, {"logits": "BC"}, mask=None, sizes=TWO),
  Kernel(query_pairs, {"labels": "BS", "mask": "BS"}, draws=DRAWS),
  Kernel(v0_loss, PAIRS, gradients=("positive_logits", "negative_logits"), draws=DRAWS, sizes=TWO),
]
