from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.activations import differences
from tests.kernels.kernel import Kernel, compiled


def test_differences_are_antisymmetric_and_relative_ones_are_bounded():
  rng = np.random.default_rng(0)
  first, second = rng.random((2, 4)).astype(np.float32)
  for form in ("absolute", "relative"):
    apart = compiled(differences.frequency_differences, form=form)
    np.testing.assert_allclose(apart(first, second), -apart(second, first))
  assert (abs(apart(first, second)) <= 1).all()
  np.testing.assert_allclose(apart(first, second), apart(first / 8, second / 8), rtol=1e-6)


def test_filtered_and_dead_latents_are_neutral():
  first, second = np.array([[0.1, 0.5, 0.0, 0.4], [0.5, 0.9, 0.0, 0.3]], np.float32)
  for form, left in (("absolute", 0.1), ("relative", 0.25)):
    apart = compiled(differences.frequency_differences, form=form, min_coverage=0.2, max_coverage=0.8)
    np.testing.assert_allclose(apart(first, second), [0, 0, 0, left], rtol=1e-6)
  assert not compiled(differences.frequency_differences, form="relative")(0 * first, 0 * second).any()


def test_any_other_model_counts_prompt_by_prompt():
  """The union over models, not the largest of their frequencies; one other model is its own union and intersection."""
  target, others = np.zeros((2, 1)), np.array([[[1.0], [0.0]], [[0.0], [1.0]]])
  both = compiled(differences.model_differences)(target, others, np.ones(2))
  assert (both.above_any, both.below_all) == (-1, 0)
  one = compiled(differences.model_differences)(target, others[:1], np.ones(2))
  assert (one.above_any, one.below_all) == (-0.5, 0.5)


def test_top_latents_are_strictly_above_the_threshold():
  top = compiled(differences.top_latents, k=3, threshold=0.25)(np.array([0.25, 0.5, 0.1, 0.5]))
  assert top.indices.tolist() == [1, 3, 0] and top.mask.tolist() == [True, True, False]
  assert compiled(differences.top_latents, k=5)(np.ones(2)).indices.tolist() == [0, 1]


def test_without_documents_frequencies_are_zero():
  assert not differences.frequencies(jnp.ones((2, 3)), jnp.zeros(2)).any()


PRESENT = lambda rng, shape: rng.random(shape) < 0.5
DRAWS = {"present": PRESENT, "others_present": PRESENT}
SIZES = {"F": 3, "M": 2}

KERNELS = [
  Kernel(differences.frequencies, {"present": "BF", "mask": "B"}, scope="batch", draws=DRAWS, sizes=SIZES),
  Kernel(
    differences.frequency_differences,
    {"first": "V", "second": "V"},
    {"form": "relative", "min_coverage": 0.1},
    mask=None,
    draws={name: lambda rng, shape: rng.random(shape).astype(np.float32) for name in ("first", "second")},
  ),
  Kernel(
    differences.model_differences,
    {"present": "BF", "others_present": "MBF", "mask": "B"},
    scope="batch",
    draws=DRAWS,
    sizes=SIZES,
    ordered=True,  # prompts are the second axis of the others
  ),
  Kernel(differences.top_latents, {"differences": "V"}, {"k": 4}, mask=None),
]
