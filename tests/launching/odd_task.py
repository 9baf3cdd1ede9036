"""A user's task on device whose verifier gives rewards that are not finite, or no verdict."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from rl_jax.tasks import chain

OWN = {"verdicts": "none", "on_batches_of": 0}
"""Reward of the first row, or "none" of all; the batches concerned by their number of rows, 0 for all."""


def get_config() -> dict:
  return chain.get_config() | OWN


def build(config):
  sound = chain.build({name: config[name] for name in config if name not in OWN})

  def verify(prompts, tokens, mask):
    verdicts = sound.verify(prompts, tokens, mask)
    if config.on_batches_of not in (0, tokens.shape[0]):
      return verdicts
    if config.verdicts == "none":
      return dataclasses.replace(verdicts, reward_mask=jnp.zeros_like(verdicts.reward_mask))
    return dataclasses.replace(verdicts, rewards=verdicts.rewards.at[0].set(float(config.verdicts)))

  return dataclasses.replace(sound, verify=verify)
