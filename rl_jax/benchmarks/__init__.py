"""What `rl_jax.benchmark` times, each beside a peer or a bound of the same machine."""
