"""rl_jax: dense-reward and advantage-estimation reinforcement learning on language models, in JAX."""

from rl_jax import shadowing

__version__ = "0.1.0"

shadowing.check_kernels()
