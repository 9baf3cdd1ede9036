"""Pure array functions: the mathematics of language-model reinforcement learning papers, on jax alone."""
