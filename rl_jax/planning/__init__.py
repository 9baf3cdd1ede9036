"""Estimate of a run's cost on a TPU topology without the hardware, from compiled programs. Parts of `rl_jax.plan`."""
