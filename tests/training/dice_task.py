"""Dice with a vocabulary of bytes: an environment in Python without a pretrained model, for any policy to please."""

from __future__ import annotations

import random

from rl_jax.tasks.environments import host
from tests.tasks.byte_vocabulary import Bytes


class Dice:
  """What is said is worth 1 if its bytes and the dice add up to an even number; the dice are told."""

  def reset(self, problem, seed):
    self.die = random.randint(1, 6)
    return f"{self.die}"

  def step(self, action):
    reward = float((sum(map(ord, action)) + self.die) % 2 == 0)
    self.die = random.randint(1, 6)
    return f"{self.die}", reward, len(action) < 2


def get_config():
  return host.get_config() | {
    "environment": f"{__name__}:Dice", "workers": 0, "problems": 40, "prompt_tokens": 8, "max_turns": 2,
    "turn_tokens": 3, "observation_tokens": 4, "observation_template": "<{observation}>",
  }  # fmt: skip


def build(config):
  return host.build({key: config[key] for key in get_config()}, vocabulary=Bytes())
