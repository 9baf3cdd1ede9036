from __future__ import annotations

import numpy as np

from rl_jax.kernels.activations import latent_retrieval
from tests.kernels.kernel import Kernel, compiled


def test_percentiles_are_numpys_over_values_that_are_not_zero():
  rng = np.random.default_rng(0)
  embeddings = (rng.random((8, 3)) * (rng.random((8, 3)) < 0.6)).astype(np.float32)
  embeddings[:, 2] = 0
  scaled = np.asarray(compiled(latent_retrieval.scale_latents)(embeddings, np.arange(8) < 6))
  for f in range(2):
    kept = embeddings[:6, f]
    np.testing.assert_allclose(scaled[:6, f], kept / np.percentile(kept[kept != 0], 90), rtol=1e-5)
  assert not scaled[6:].any() and not scaled[:, 2].any()
  # The scale of a latent does not matter.
  larger = embeddings * np.array([1, 8, 8], np.float32)
  again = compiled(latent_retrieval.scale_latents)(larger, np.arange(8) < 6)
  np.testing.assert_allclose(again, scaled, rtol=1e-5)


def test_weights_fall_with_the_rank_and_a_high_temperature_weighs_all_alike():
  args = np.ones((1, 5)), np.array([4, 0, 2]), np.ones(1)
  weights = compiled(latent_retrieval.latent_scores)(*args).weights
  np.testing.assert_allclose(weights, np.exp(-np.array([5, 10, 15]) / 3), rtol=1e-6)
  flat = compiled(latent_retrieval.latent_scores, temperature=1e6)(*args)
  np.testing.assert_allclose(flat.scores, [3], rtol=1e-5)


EMBEDDINGS = {"embeddings": "BF", "mask": "B"}
DRAWS = {
  "embeddings": lambda rng, shape: (rng.random(shape) * (rng.random(shape) < 0.7)).astype(np.float32),
  "latents": lambda rng, shape: rng.permutation(3)[: shape[0]].astype(np.int32),
}
SIZES = {"F": 3, "Q": 2}

KERNELS = [
  Kernel(latent_retrieval.scale_latents, EMBEDDINGS, scope="batch", draws=DRAWS, sizes=SIZES),
  Kernel(
    latent_retrieval.latent_scores,
    {**EMBEDDINGS, "latents": "Q"},
    draws=DRAWS,
    sizes=SIZES,
    scope="batch",  # the weights are those of all rows
    zero_masked=False,
  ),
]
