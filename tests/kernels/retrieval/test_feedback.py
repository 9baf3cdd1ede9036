from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.retrieval import feedback
from tests.kernels.kernel import Kernel, compiled

RNG = np.random.default_rng(0)
QUERIES, DOCUMENTS = RNG.normal(size=(3, 2)).astype(np.float32), RNG.normal(size=(3, 4, 2)).astype(np.float32)
MASK = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]])


def _rocchio(queries, documents, mask, bottom, bottom_mask):
  weights = dict(alpha=0.7, beta=0.4, gamma=0.2)
  return feedback.rocchio(queries, documents, mask, bottom=bottom, bottom_mask=bottom_mask, **weights)


def test_vector_feedback_against_loops():
  average = compiled(feedback.average_feedback)(QUERIES, DOCUMENTS, MASK)
  moved = compiled(_rocchio)(QUERIES, DOCUMENTS, MASK, DOCUMENTS, 1 - MASK)
  for b, q in enumerate(QUERIES):
    first, rest = DOCUMENTS[b][MASK[b] == 1], DOCUMENTS[b][MASK[b] == 0]
    np.testing.assert_allclose(average[b], np.mean([q, *first], axis=0), rtol=1e-5)
    mean = lambda x: x.mean(axis=0) if len(x) else 0
    np.testing.assert_allclose(moved[b], 0.7 * q + 0.4 * mean(first) - 0.2 * mean(rest), rtol=1e-5)


def test_the_average_is_rocchio_with_the_weights_of_its_size():
  args = QUERIES, DOCUMENTS, np.ones((3, 4), int)
  moved = compiled(feedback.rocchio, alpha=1 / 5, beta=4 / 5)(*args)
  np.testing.assert_allclose(compiled(feedback.average_feedback)(*args), moved, rtol=1e-5, atol=1e-6)


def test_feedback_helps_where_the_first_results_are_right_and_hurts_where_they_are_wrong():
  """Documents are noisy vectors of their topic, a query shows half of its own: recall of the topic's documents."""
  rng = np.random.default_rng(1)
  topics = rng.normal(size=(4, 16))
  of = np.repeat(np.arange(4), 10)
  documents = topics[of] + 0.8 * rng.normal(size=(40, 16))
  queries = np.where(np.arange(16) < 8, topics, 0) + 0.8 * rng.normal(size=(4, 16))

  def recall(queries):
    found = np.argsort(-queries @ documents.T, axis=1)[:, :10]
    return (of[found] == np.arange(4)[:, None]).mean()

  def after(chosen):
    return recall(compiled(feedback.average_feedback)(queries, chosen, np.ones((4, 3))))

  right = documents.reshape(4, 10, 16)[:, :3]
  assert after(right) > recall(queries) > after(np.roll(right, 1, axis=0))


def joined(query, passages, length):
  tokens = [1, *query, 2]
  for passage in passages:
    tokens += [*passage, 2] if passage else []
  return tokens[:length]


@pytest.mark.parametrize("length", [3, 9, 30])
def test_the_encoders_input_is_that_of_a_loop(length):
  query, passages = RNG.integers(5, 99, (6, 3)), RNG.integers(5, 99, (6, 2, 4))
  query_mask, passage_mask = RNG.random((6, 3)) < 0.7, RNG.random((6, 2, 4)) < 0.4
  joined_input = compiled(feedback.feedback_input, cls=1, sep=2, length=length)
  found = joined_input(query, query_mask, passages, passage_mask)
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
    {"query": "DQ", "query_mask": "DQ", "passages": "DJK", "passage_mask": "DJK"},
    {"cls": 1, "sep": 2, "length": 10},
    mask=None,  # tokens, without values that could be garbage
    draws={"query": TOKENS, "passages": TOKENS, "passage_mask": lambda rng, shape: rng.random(shape) < 0.5},
    sizes=SIZES,
  ),
]
