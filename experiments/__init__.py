"""Experiment configs: plain data, one file with `get_config` each."""

if __name__ != "rl_jax.experiments":
  raise ImportError("this folder is imported as rl_jax.experiments: `experiments` is the name of another distribution")
