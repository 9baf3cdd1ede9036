"""Pure array functions: the mathematics of language-model reinforcement learning papers, on jax alone."""

if __name__ != "rl_jax.kernels":
  raise ImportError("this folder is imported as rl_jax.kernels: `kernels` is the name of another distribution")

from rl_jax.kernels import (
  activations,
  advantages,
  analysis,
  curricula,
  density_ratios,
  flow,
  games,
  layers,
  logprobs,
  losses,
  pareto,
  reductions,
  retrieval,
  rewards,
  scans,
  search,
  segments,
)
from rl_jax.kernels._papers import Paper, papers

__all__ = [
  "Paper",
  "activations",
  "advantages",
  "analysis",
  "curricula",
  "density_ratios",
  "flow",
  "games",
  "layers",
  "logprobs",
  "losses",
  "papers",
  "pareto",
  "reductions",
  "retrieval",
  "rewards",
  "scans",
  "search",
  "segments",
]
