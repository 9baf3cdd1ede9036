"""Lookups that an untrained policy can play: whatever it writes in a turn is read as a question or an answer."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from rl_jax.tasks import lookup


def get_config():
  return lookup.get_config()


def build(config):
  return lenient(lookup.build(config))


def lenient(task):
  """The task, where a turn asks for the key that its tokens add up to if its first token is even, else answers it.

  A third of the symbols ends a turn.
  """
  ask, mark, first = (task.vocabulary.encode(symbol)[0] for symbol in "?#a")
  slots = task.turns.slots

  def verify(prompts, tokens, mask):
    turns, there = tokens[:, slots], mask[:, slots]
    kinds = jnp.where(turns[..., 0] % 2 == 0, ask, mark)
    keys = first + jnp.sum(turns * there, axis=2) % (prompts.metadata["sizes"][:, None] + 1)  # one that is not there
    read = jnp.stack([kinds, keys, jnp.full_like(keys, task.vocabulary.end_id)], axis=2)
    wrote = there[..., :1] & (jnp.arange(slots.shape[1]) < 3)
    read = jnp.pad(read, ((0, 0), (0, 0), (0, slots.shape[1] - 3)))
    verdicts = task.verify(prompts, tokens.at[:, slots].set(read), mask.at[:, slots].set(wrote))
    steps = jnp.where(mask & ~task.turns.observed, task.turns.turn_ids, -1)
    return verdicts.replace(step_ids=steps)

  stops = tuple((token,) for token in range(3, len(task.vocabulary), 3))
  return dataclasses.replace(task, verify=verify, turns=dataclasses.replace(task.turns, stop_sequences=stops))
