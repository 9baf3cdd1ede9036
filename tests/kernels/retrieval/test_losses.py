from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.retrieval import losses
from tests.kernels.kernel import Kernel, compiled, quick_jit
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
SCORES, TEACHER = RNG.normal(size=(2, 3, 4))
MASK, POSITIVES = np.array([1, 1, 0]), np.array([2, 0, 1])
EXCLUDED = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])  # the positive of the first row, too
RELEVANT, LISTED = np.array([[1, 0, 0, 1], [0, 1, 0, 0], [1, 1, 1, 1]]), np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1] * 4])


def contrastive(scores, temperature=0.5):
  total = 0.0
  for i in range(2):
    kept = [s for j, s in enumerate(scores[i]) if j == POSITIVES[i] or not EXCLUDED[i, j]]
    total += np.log(np.sum(np.exp(np.array(kept) / temperature))) - scores[i, POSITIVES[i]] / temperature
  return total


def pairs(scores):
  total = 0.0
  for s, t, r, m in zip(scores, TEACHER, RELEVANT, LISTED, strict=True):
    errors = [
      ((s[i] - s[j]) - (t[i] - t[j])) ** 2 for i in range(4) for j in range(4) if m[i] and m[j] and r[i] and not r[j]
    ]
    total += np.mean(errors) if errors else 0
  return total


def distillation(scores):
  total = 0.0
  for s, t, m in zip(scores, TEACHER, LISTED, strict=True):
    s, t = s[m == 1] / 2, t[m == 1] / 3
    p, q = np.exp(t) / np.exp(t).sum(), np.exp(s) / np.exp(s).sum()
    total += (p * np.log(p / q)).sum()
  return total


def batch_margins(scores):
  total = 0.0
  for i in range(2):
    own = scores[i, POSITIVES[i]]
    others = [s for j, s in enumerate(scores[i]) if j != POSITIVES[i] and not EXCLUDED[i, j]]
    total += np.mean([max(1.5 - own + s, 0) for s in others])
  return total


def swaps(scores, cut=2):
  total = 0.0
  for s, r, m in zip(scores, RELEVANT, LISTED, strict=True):
    reciprocal = [1 / rank if m[rank - 1] and rank <= cut else 0 for rank in range(1, 5)]
    found = [
      abs(reciprocal[i] - reciprocal[j]) * np.log1p(np.exp(s[j] - s[i]))
      for i in range(4)
      for j in range(4)
      if m[i] and m[j] and r[i] and not r[j]
    ]
    total += np.mean(found) if found else 0
  return total


@quick_jit
def contrastive_loss(scores, positives, mask, excluded, temperature=1.0):
  return losses.contrastive_loss(scores, positives, mask, excluded=excluded, temperature=temperature)


def test_values_and_gradients_against_loops():
  teacher, listed = jnp.array(TEACHER), jnp.array(LISTED)

  def all_losses(scores):
    options = dict(excluded=jnp.array(EXCLUDED), temperature=0.5)
    return (
      losses.contrastive_loss(scores, jnp.array(POSITIVES), jnp.array(MASK), **options).losses.sum(),
      losses.margin_mse(scores, TEACHER, jnp.array(RELEVANT), listed).sum(),
      losses.score_distillation(scores, teacher, listed, temperature=2.0, teacher_temperature=3.0).sum(),
      losses.batch_margin_loss(
        scores, jnp.array(POSITIVES), jnp.array(MASK), excluded=jnp.array(EXCLUDED), margin=1.5
      ).sum(),
      losses.lambda_loss(scores, jnp.array(RELEVANT), listed, cut=2).sum(),
    )

  references = contrastive, pairs, distillation, batch_margins, swaps
  with jax.enable_x64(True):
    values, gradients = quick_jit(lambda x: (all_losses(x), jax.jacrev(all_losses)(x)))(SCORES)
  for value, gradient, reference in zip(values, gradients, references, strict=True):
    np.testing.assert_allclose(value, reference(SCORES), rtol=1e-6)
    np.testing.assert_allclose(gradient, finite_difference(reference, SCORES), atol=1e-6)


def test_two_documents_are_the_logistic_pair_and_one_is_nothing():
  scores, positives = np.array([[1.0, 3.0], [0.5, -2.0]]), np.zeros(2, int)
  found = contrastive_loss(scores, positives, np.ones(2), np.zeros((2, 2)))
  logistic = compiled(losses.pair_loss, form="logistic")(scores[:, 0], scores[:, 1], np.ones(2))
  np.testing.assert_allclose(found.losses, logistic, rtol=1e-6)
  assert found.correct.tolist() == [False, True]
  alone = contrastive_loss(scores, positives, np.ones(2), np.ones((2, 2)))
  assert not alone.losses.any() and alone.correct.all()


def test_constants_of_a_row_change_nothing_and_less_negatives_lose_less():
  loss = lambda scores, excluded=0 * EXCLUDED, t=1.0: (
    contrastive_loss(scores, POSITIVES, np.ones(3), excluded, t).losses
  )
  np.testing.assert_allclose(loss(SCORES + np.array([[5.0], [-5.0], [0.0]])), loss(SCORES), rtol=1e-4)
  assert (loss(SCORES, EXCLUDED) <= loss(SCORES)).all()
  np.testing.assert_allclose(loss(SCORES / 4, t=0.25), loss(SCORES), rtol=1e-5)


def test_copies_of_a_positive_are_no_negatives():
  """With the copy left out, the loss is that of the batch without it."""
  ids, scores, positives = np.array([7, 8, 7]), np.array([[2.0, 1.0, 2.0], [0.0, 1.0, 0.0]]), np.array([0, 1])
  copies = losses.false_negatives(jnp.array(ids), jnp.array(positives))
  without = contrastive_loss(scores[:, :2], positives, np.ones(2), np.zeros((2, 2))).losses
  found = contrastive_loss(scores, positives, np.ones(2), copies).losses
  np.testing.assert_allclose(found[0], without[0], rtol=1e-6)
  assert found[1] > without[1]  # for this query both copies are negatives


def test_positives_of_other_queries_without_them_only_hard_negatives_are_left():
  scores, positives = SCORES[:2], np.array([0, 2])
  others = np.asarray(losses.other_positives(jnp.array(positives), num_documents=4))
  loss = lambda excluded: contrastive_loss(scores, positives, np.ones(2), excluded).losses
  found = loss(others)
  hard = np.array([[0, 1, 3], [1, 2, 3]])  # the own positive, and the documents that are nobody's
  kept = np.take_along_axis(scores, hard, axis=1)
  alone = contrastive_loss(kept, np.array([0, 1]), np.ones(2), np.zeros((2, 3))).losses
  np.testing.assert_allclose(found, alone, rtol=1e-6)
  # Those that are perturbed as well are fewer, so the loss lies between.
  perturbed, every = loss(others & (np.arange(4) == 0)), loss(others & False)
  assert (found <= perturbed).all() and (perturbed <= every).all()


def test_a_student_like_the_teacher_up_to_a_constant_has_no_loss():
  every = np.ones((3, 4))
  distilled = compiled(losses.score_distillation)(TEACHER + 3, TEACHER, every)
  margins = compiled(losses.margin_mse)(TEACHER + 3, TEACHER, RELEVANT, every)
  np.testing.assert_allclose([distilled, margins], np.zeros((2, 3)), atol=1e-6)


def test_a_swap_counts_by_the_ranks_of_unmasked_slots():
  """Documents behind the cut change nothing between them; a slot that is masked takes no rank."""
  every = np.ones((1, 3))
  swap = quick_jit(lambda mask, cut: losses.lambda_loss(jnp.zeros((1, 3)), jnp.array([[0, 0, 1]]), mask, cut=cut))
  loss = lambda mask, cut: swap(mask, cut) / np.log(2)
  np.testing.assert_allclose(loss(every, 200), [((1 - 1 / 3) + (1 / 2 - 1 / 3)) / 2], rtol=1e-6)
  np.testing.assert_allclose(loss(every, 1), [(1 + 0) / 2], rtol=1e-6)
  np.testing.assert_allclose(loss(np.array([[1.0, 0.0, 1.0]]), 200), [1 - 1 / 2], rtol=1e-6)


def test_without_candidates_or_pairs_there_is_no_loss():
  every, nobody = np.ones((3, 4)), np.zeros((3, 4))
  assert not compiled(losses.lambda_loss)(SCORES, every, every).any()
  assert not compiled(losses.batch_margin_loss)(SCORES[:, :1], np.zeros(3, int), np.ones(3)).any()
  assert not compiled(losses.score_distillation)(SCORES, TEACHER, nobody).any()
  assert not compiled(losses.margin_mse)(SCORES, TEACHER, nobody, every).any()


def test_wrong_calls_say_what_to_do():
  with pytest.raises(
    ValueError, match=r"expected scores \[B C\], positives \[B\], mask \[B\], got \(3, 4\), \(2,\), \(3,\)"
  ):
    losses.contrastive_loss(jnp.ones((3, 4)), jnp.zeros(2, int), jnp.ones(3))
  with pytest.raises(ValueError, match=r"one shape \[B C\], got scores \(3, 4\), excluded \(4,\)"):
    losses.contrastive_loss(jnp.ones((3, 4)), jnp.zeros(3, int), jnp.ones(3), excluded=jnp.ones(4))
  with pytest.raises(ValueError, match="unknown form 'hinge'; known: triplet, logistic"):
    losses.pair_loss(jnp.ones(3), jnp.ones(3), jnp.ones(3), form="hinge")


FLAGS = lambda rng, shape: rng.random(shape) < 0.4
DRAWS = {
  "positives": lambda rng, shape: rng.integers(0, 4, shape).astype(np.int32),
  "document_ids": lambda rng, shape: rng.integers(0, 3, shape).astype(np.int32),
  "excluded": FLAGS,
  "relevant": FLAGS,
}
SIZES = {"C": 4}
LISTS = {"scores": "BS", "teacher_scores": "BS", "mask": "BS"}
PAIR = {"positive_scores": "B", "negative_scores": "B", "mask": "B"}

KERNELS = [
  Kernel(
    losses.contrastive_loss,
    {"scores": "BC", "positives": "B", "mask": "B", "excluded": "BC"},
    {"temperature": 0.5},
    gradients=("scores",),
    draws=DRAWS,
    sizes=SIZES,
  ),
  Kernel(
    losses.batch_margin_loss,
    {"scores": "BC", "positives": "B", "mask": "B", "excluded": "BC"},
    gradients=("scores",),
    draws=DRAWS,
    sizes=SIZES,
  ),
  Kernel(
    losses.lambda_loss,
    {"scores": "BS", "relevant": "BS", "mask": "BS"},
    {"cut": 2},
    gradients=("scores",),
    draws=DRAWS,
  ),
  Kernel(losses.false_negatives, {"document_ids": "C", "positives": "B"}, mask=None, draws=DRAWS, sizes=SIZES),
  Kernel(losses.other_positives, {"positives": "L"}, {"num_documents": 4}, mask=None, draws=DRAWS, sizes={"L": 2}),
  Kernel(losses.pair_loss, PAIR, {"form": "logistic"}, gradients=("positive_scores", "negative_scores")),
  Kernel(losses.score_distillation, LISTS, gradients=("scores",)),
  Kernel(losses.margin_mse, {**LISTS, "relevant": "BS"}, gradients=("scores",), draws=DRAWS),
]
