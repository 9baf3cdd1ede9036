"""Activations of a model as sparse codes: their statistics over documents, and steering by them."""

from rl_jax.kernels.activations.cooccurrence import conditional_occurrence, correlated_pairs, jaccard, npmi
from rl_jax.kernels.activations.differences import (
  ModelDifferences,
  TopLatents,
  frequencies,
  frequency_differences,
  model_differences,
  top_latents,
)
from rl_jax.kernels.activations.latent_retrieval import LatentScores, latent_scores, scale_latents
from rl_jax.kernels.activations.sparse_codes import decode, jump_relu_codes, pool_codes, top_k_codes
from rl_jax.kernels.activations.steering import Localization, localization, steer_dense, steer_sparse

__all__ = [
  "LatentScores",
  "Localization",
  "ModelDifferences",
  "TopLatents",
  "conditional_occurrence",
  "correlated_pairs",
  "decode",
  "frequencies",
  "frequency_differences",
  "jaccard",
  "jump_relu_codes",
  "latent_scores",
  "localization",
  "model_differences",
  "npmi",
  "pool_codes",
  "scale_latents",
  "steer_dense",
  "steer_sparse",
  "top_k_codes",
  "top_latents",
]
