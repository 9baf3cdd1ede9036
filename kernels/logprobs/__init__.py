"""Token logprobs and entropies: the one function for policy, old and reference."""

from rl_jax.kernels.logprobs.api import LinearLogprobs, linear_logprobs
from rl_jax.kernels.logprobs.distillation import linear_forward_kl, linear_generalized_jsd, linear_reverse_kl
from rl_jax.kernels.logprobs.placement import Placement
from rl_jax.kernels.logprobs.reference import TokenLogprobs, align, categorical, linear_scores, token_logprobs

__all__ = [
  "LinearLogprobs",
  "Placement",
  "TokenLogprobs",
  "align",
  "categorical",
  "linear_forward_kl",
  "linear_generalized_jsd",
  "linear_logprobs",
  "linear_reverse_kl",
  "linear_scores",
  "token_logprobs",
]
