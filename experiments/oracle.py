"""Exact credit of steps on chains of four operations modulo 10 (rl_jax/methods/oracle.py): a control."""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  return common.variant(common.policy_gradient("rl_jax.methods.oracle"), variant)
