"""Density ratios d^pi / mu: weights that are cut off, Bellman errors averaged by them, and what data covers."""

from rl_jax.kernels.density_ratios.bellman import (
  GlowSchedule,
  Minimax,
  VersionSpace,
  bellman_residuals,
  glow_schedule,
  glow_statistics,
  mabo_cr,
  version_space,
)
from rl_jax.kernels.density_ratios.coverage import Coverability, clipped_concentrability, coverability
from rl_jax.kernels.density_ratios.weights import mixture_weights, prefix_weights, truncated_weights

__all__ = [
  "Coverability",
  "GlowSchedule",
  "Minimax",
  "VersionSpace",
  "bellman_residuals",
  "clipped_concentrability",
  "coverability",
  "glow_schedule",
  "glow_statistics",
  "mabo_cr",
  "mixture_weights",
  "prefix_weights",
  "truncated_weights",
  "version_space",
]
