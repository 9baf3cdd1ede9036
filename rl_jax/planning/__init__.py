"""What a run would cost on chips that are not there, read from its compiled programs. Parts of `rl_jax.plan`."""
