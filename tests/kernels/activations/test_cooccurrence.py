from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.activations import cooccurrence
from tests.kernels.kernel import Kernel, quick_jit

RNG = np.random.default_rng(0)
PRESENT = (RNG.random((9, 4)) < 0.5) & (np.arange(4) < 3)  # the last latent is dead
MASK = np.arange(9) < 7


@quick_jit
def _statistics(present, mask):
  return {
    "npmi": cooccurrence.npmi(present, mask),
    "disjoint": cooccurrence.npmi(present, mask, disjoint=-1.0),
    "cross": cooccurrence.npmi(present[:, :2], mask, other_present=present[:, 2:]),
    "conditional": cooccurrence.conditional_occurrence(present, mask),
    "jaccard": cooccurrence.jaccard(present, mask),
  }


def statistics(present, mask=MASK):
  with jax.enable_x64(True):
    return {name: np.asarray(x) for name, x in _statistics(present, mask).items()}


def npmi_loop(present, i, j):
  counts = [present[:, i].sum(), present[:, j].sum(), (present[:, i] & present[:, j]).sum()]
  p_i, p_j, p_ij = ((count + 1e-10) / len(present) for count in counts)
  return 0.0 if counts[2] == 0 else np.log(p_ij / (p_i * p_j)) / -np.log(p_ij)


def test_statistics_of_pairs_against_loops():
  found, rows = statistics(PRESENT), PRESENT[MASK].astype(int)
  for i in range(4):
    for j in range(4):
      np.testing.assert_allclose(found["npmi"][i, j], 1.0 if i == j else npmi_loop(rows, i, j), atol=1e-12)
      both, counts = (rows[:, i] & rows[:, j]).sum(), rows.sum(axis=0)[[i, j]]
      np.testing.assert_allclose(found["conditional"][i, j], max(both / c if c else 0 for c in counts))


def test_npmi_of_pairs_that_are_known():
  """Always together: 1. Independent: 0. Never together: 0, or `disjoint`. Values are symmetric."""
  first, second = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]).T
  latents = np.zeros((9, 4), int)
  latents[:4] = np.stack([first, second, first, 1 - first], axis=1)
  found = statistics(latents, np.arange(9) < 4)
  np.testing.assert_allclose(found["disjoint"][0], [1, 0, 1, -1], atol=1e-9)
  np.testing.assert_allclose(found["npmi"][0], [1, 0, 1, 0], atol=1e-9)
  np.testing.assert_array_equal(found["npmi"], found["npmi"].T)
  np.testing.assert_array_equal(statistics(latents, np.zeros(9, bool))["npmi"], np.eye(4))


def test_other_latents_are_a_block_of_all_latents_together():
  found = statistics(PRESENT)
  np.testing.assert_array_equal(found["cross"], found["npmi"][:2, 2:])


def test_pairs_come_once_and_labels_must_differ():
  correlations = jnp.array([[1.0, 0.5, 0.6], [0.5, 1.0, 0.6], [0.6, 0.6, 1.0]])
  similarity = jnp.array([[0.0, 0.0, 0.2], [0.0, 0.0, 0.1], [0.2, 0.1, 0.0]])
  assert np.argwhere(cooccurrence.correlated_pairs(correlations, similarity)).tolist() == [[1, 2]]


def test_jaccard_against_sets():
  values = statistics(PRESENT)["jaccard"]
  sets = [set(np.flatnonzero(row)) for row in PRESENT]
  for i in range(9):
    for j in range(9):
      union = sets[i] | sets[j]
      expected = 1 if i == j else len(sets[i] & sets[j]) / len(union) if union else 0
      np.testing.assert_allclose(values[i, j], expected * (MASK[i] and MASK[j]), rtol=1e-6)


DRAWS = {name: lambda rng, shape: rng.random(shape) < 0.5 for name in ("present", "other_present")}
DOCUMENTS = {"present": "BF", "mask": "B"}
SIZES = {"F": 3, "G": 2}


def _affinity_to_all(present, mask):
  """Row sums: the entries of a row are in the order of the batch."""
  return cooccurrence.jaccard(present, mask).sum(axis=1)


KERNELS = [
  Kernel(cooccurrence.npmi, {**DOCUMENTS, "other_present": "BG"}, scope="batch", draws=DRAWS, sizes=SIZES),
  Kernel(cooccurrence.conditional_occurrence, DOCUMENTS, scope="batch", draws=DRAWS, sizes=SIZES),
  Kernel(cooccurrence.correlated_pairs, {"correlations": "KK", "label_similarity": "KK"}, mask=None),
  Kernel(_affinity_to_all, DOCUMENTS, scope="batch", draws=DRAWS, sizes=SIZES, public=cooccurrence.jaccard),
]
