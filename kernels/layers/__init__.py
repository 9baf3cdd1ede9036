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
from rl_jax.kernels.layers.gating import (
  Gate,
  GaussianMixture,
  activation_gate,
  gaussian_mixture,
  temperature_interaction,
)

__all__ = [
  "Gate",
  "GaussianMixture",
  "Routing",
  "activation_gate",
  "expert_rewards",
  "fused_reward",
  "gaussian_mixture",
  "last_hidden",
  "lora",
  "router",
  "router_cross_entropy",
  "temperature_interaction",
]
