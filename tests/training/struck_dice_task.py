"""Dice whose process dies in the middle of an episode: at the step that STRIKE_AT counts, over all episodes."""

from __future__ import annotations

import os
import signal

from rl_jax.tasks.environments import host
from tests.tasks.byte_vocabulary import Bytes
from tests.training import dice_task


class StruckDice(dice_task.Dice):
  steps = 0

  def step(self, action):
    StruckDice.steps += 1
    if os.environ.get("STRIKE_AT") == str(StruckDice.steps):
      os.kill(os.getpid(), signal.SIGKILL)
    return super().step(action)


def get_config():
  return dice_task.get_config() | {"environment": f"{__name__}:StruckDice"}


def build(config):
  return host.build({key: config[key] for key in get_config()}, vocabulary=Bytes())
