from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.retrieval import feedback
from tests.kernels.kernel import Kernel

RNG = np.random.default_rng(0)
QUERIES, DOCUMENTS = RNG.normal(size=(3, 2)).astype(np.float32), RNG.normal(size=(3, 4, 2)).astype(np.float32)
MASK = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]])


def test_vector_feedback_against_loops():
  average = feedback.average_feedback(*map(jnp.array, (QUERIES, DOCUMENTS, MASK)))
  weights = dict(alpha=0.7, beta=0.4, gamma=0.2)
  last = dict(bottom=jnp.array(DOCUMENTS), bottom_mask=jnp.array(1 - MASK))
  moved = feedback.rocchio(*map(jnp.array, (QUERIES, DOCUMENTS, MASK)), **weights, **last)
  for b, q in enumerate(QUERIES):
    first, rest = DOCUMENTS[b][MASK[b] == 1], DOCUMENTS[b][MASK[b] == 0]
    np.testing.assert_allclose(average[b], np.mean([q, *first], axis=0), rtol=1e-5)
    mean = lambda x: x.mean(axis=0) if len(x) else 0
    np.testing.assert_allclose(moved[b], 0.7 * q + 0.4 * mean(first) - 0.2 * mean(rest), rtol=1e-5)


def test_the_average_is_rocchio_with_the_weights_of_its_size():
  args = jnp.array(QUERIES), jnp.array(DOCUMENTS), jnp.ones((3, 4))
  average = feedback.average_feedback(*args)
  np.testing.assert_allclose(average, feedback.rocchio(*args, alpha=1 / 5, beta=4 / 5), rtol=1e-5, atol=1e-6)


def joined(query, passages, length):
  tokens = [1, *query, 2]
  for passage in passages:
    tokens += [*passage, 2] if passage else []
  return tokens[:length]


@pytest.mark.parametrize("length", [3, 9, 30])
def test_the_encoders_input_is_that_of_a_loop(length):
  query, passages = RNG.integers(5, 99, (6, 3)), RNG.integers(5, 99, (6, 2, 4))
  query_mask, passage_mask = RNG.random((6, 3)) < 0.7, RNG.random((6, 2, 4)) < 0.4
  arrays = map(jnp.array, (query, query_mask, passages, passage_mask))
  found = feedback.feedback_input(*arrays, cls=1, sep=2, length=length)
  for b in range(6):
    own = [row[m].tolist() for row, m in zip(passages[b], passage_mask[b], strict=True)]
    assert found.tokens[b][found.mask[b]].tolist() == joined(query[b][query_mask[b]], own, length)
    assert not found.tokens[b][~found.mask[b]].any()


def test_last_results_need_their_mask():
  with pytest.raises(ValueError, match="bottom needs bottom_mask"):
    feedback.rocchio(jnp.array(QUERIES), jnp.array(DOCUMENTS), jnp.ones((3, 4)), bottom=jnp.array(DOCUMENTS))


SIZES = {"D": 3, "J": 2, "Q": 2}
RESULTS = {"queries": "BD", "documents": "BSD", "mask": "BS"}
TOKENS = lambda rng, shape: rng.integers(3, 9, shape).astype(np.int32)

KERNELS = [
  Kernel(feedback.average_feedback, RESULTS, zero_masked=False, gradients=("documents",), sizes=SIZES),
  Kernel(
    feedback.rocchio,
    {**RESULTS, "bottom": "BJD", "bottom_mask": "BJ"},
    covers={"bottom": "bottom_mask"},
    zero_masked=False,
    gradients=("documents",),
    sizes=SIZES,
  ),
  Kernel(
    feedback.feedback_input,
    {"query": "BQ", "query_mask": "BQ", "passages": "BSK", "passage_mask": "BSK"},
    {"cls": 1, "sep": 2, "length": 10},
    mask=None,  # tokens, without values that could be garbage
    draws={"query": TOKENS, "passages": TOKENS, "passage_mask": lambda rng, shape: rng.random(shape) < 0.5},
    sizes=SIZES,
  ),
]
