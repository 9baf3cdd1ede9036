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
from rl_jax.kernels.layers.routing import (
  Interval,
  LoadBalance,
  TemperatureFit,
  congestion_coefficient,
  congestion_equilibrium,
  congestion_interval,
  congestion_phases,
  expert_loads,
  expert_quality,
  load_balance,
  routing_temperature,
)

__all__ = [
  "Gate",
  "GaussianMixture",
  "Interval",
  "LoadBalance",
  "Routing",
  "TemperatureFit",
  "activation_gate",
  "congestion_coefficient",
  "congestion_equilibrium",
  "congestion_interval",
  "congestion_phases",
  "expert_loads",
  "expert_quality",
  "expert_rewards",
  "fused_reward",
  "gaussian_mixture",
  "last_hidden",
  "load_balance",
  "lora",
  "router",
  "router_cross_entropy",
  "routing_temperature",
  "temperature_interaction",
]
