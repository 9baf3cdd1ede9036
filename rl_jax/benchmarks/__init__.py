"""Benchmarks of `rl_jax.benchmark`, each compared with a peer or a bound on the same machine."""
