"""Benchmarks of `rl_jax.benchmark`, each beside a peer or a bound of the same machine."""
