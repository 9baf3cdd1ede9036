"""Parts of models as functions of their parameters."""

from rl_jax.kernels.layers.experts import (
  Routing,
  expert_rewards,
  fused_reward,
  last_hidden,
  lora,
  router,
  router_cross_entropy,
)

__all__ = [
  "Routing",
  "expert_rewards",
  "fused_reward",
  "last_hidden",
  "lora",
  "router",
  "router_cross_entropy",
]
