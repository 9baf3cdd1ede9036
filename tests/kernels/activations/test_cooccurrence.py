from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.activations import cooccurrence
from tests.kernels.kernel import Kernel

RNG = np.random.default_rng(0)
PRESENT = (RNG.random((9, 4)) < 0.5) & (np.arange(4) < 3)  # the last latent is dead
MASK = np.arange(9) < 7


def npmi_loop(present, i, j):
  counts = [present[:, i].sum(), present[:, j].sum(), (present[:, i] & present[:, j]).sum()]
  p_i, p_j, p_ij = ((count + 1e-10) / len(present) for count in counts)
  return 0.0 if counts[2] == 0 else np.log(p_ij / (p_i * p_j)) / -np.log(p_ij)


def test_statistics_of_pairs_against_loops():
  with jax.enable_x64(True):
    present, mask = jnp.array(PRESENT), jnp.array(MASK)
    values = np.asarray(cooccurrence.npmi(present, mask))
    conditional = np.asarray(cooccurrence.conditional_occurrence(present, mask))
  rows = PRESENT[MASK].astype(int)
  for i in range(4):
    for j in range(4):
      np.testing.assert_allclose(values[i, j], 1.0 if i == j else npmi_loop(rows, i, j), atol=1e-12)
      both, counts = (rows[:, i] & rows[:, j]).sum(), rows.sum(axis=0)[[i, j]]
      np.testing.assert_allclose(conditional[i, j], max(both / c if c else 0 for c in counts))


def test_npmi_of_pairs_that_are_known():
  """Always together: 1. Independent: 0. Never together: `disjoint`. Values are symmetric and within -1 and 1."""
  grid = jnp.array([[0, 0], [0, 1], [1, 0], [1, 1]])
  latents = jnp.concatenate([grid, grid[:, :1], 1 - grid[:, :1]], axis=1)
  values = cooccurrence.npmi(latents, jnp.ones(4), disjoint=-1.0)
  np.testing.assert_allclose(values[0], [1, 0, 1, -1], atol=1e-6)
  np.testing.assert_array_equal(values, values.T)
  assert cooccurrence.npmi(latents, jnp.ones(4))[0, 3] == 0
  np.testing.assert_array_equal(cooccurrence.npmi(jnp.ones((2, 2)), jnp.zeros(2)), np.eye(2))


def test_other_latents_are_a_block_of_all_latents_together():
  left, right = jnp.array(PRESENT[:, :2]), jnp.array(PRESENT[:, 2:])
  whole = cooccurrence.npmi(jnp.array(PRESENT), jnp.array(MASK))
  np.testing.assert_array_equal(cooccurrence.npmi(left, jnp.array(MASK), other_present=right), whole[:2, 2:])


def test_pairs_come_once_and_labels_must_differ():
  correlations = jnp.array([[1.0, 0.5, 0.6], [0.5, 1.0, 0.6], [0.6, 0.6, 1.0]])
  similarity = jnp.array([[0.0, 0.0, 0.2], [0.0, 0.0, 0.1], [0.2, 0.1, 0.0]])
  assert np.argwhere(cooccurrence.correlated_pairs(correlations, similarity)).tolist() == [[1, 2]]


def test_jaccard_against_sets():
  values = cooccurrence.jaccard(jnp.array(PRESENT), jnp.array(MASK))
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
  Kernel(cooccurrence.npmi, DOCUMENTS, scope="batch", zero_masked=False, draws=DRAWS, sizes=SIZES),
  Kernel(cooccurrence.npmi, {**DOCUMENTS, "other_present": "BG"}, scope="batch", draws=DRAWS, sizes=SIZES),
  Kernel(cooccurrence.conditional_occurrence, DOCUMENTS, scope="batch", draws=DRAWS, sizes=SIZES),
  Kernel(cooccurrence.correlated_pairs, {"correlations": "KK", "label_similarity": "KK"}, mask=None),
  Kernel(_affinity_to_all, DOCUMENTS, scope="batch", draws=DRAWS, sizes=SIZES, public=cooccurrence.jaccard),
]
