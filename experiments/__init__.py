"""Experiment configs: plain data, each a file with `get_config`."""

if __name__ != "rl_jax.experiments":
  raise ImportError("this folder is imported as rl_jax.experiments: `experiments` is the name of another distribution")
