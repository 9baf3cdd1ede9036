"""Episodes of a policy that takes any step in the rooms, with their exact values."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.rollouts.turns import in_turns
from rl_jax.tasks.environments import rooms
from rl_jax.trajectories import Trajectories
from tests.methods.batches import batch_of

PROMPTS, OF_PROMPT, GROUP = 16, 64, 8
"""Numbers of prompts, of episodes of each, and of episodes in a group."""
ROWS = PROMPTS * OF_PROMPT


class Walks(NamedTuple):
  trajectories: Trajectories
  before: np.ndarray
  """Exact value before each turn, [B, K]; garbage without a turn."""
  after: np.ndarray
  exists: np.ndarray
  actions: np.ndarray
  """Index of each step."""


@functools.cache
def walks() -> Walks:
  """Two rooms of two cells, a door between them. The prover of strength 1 is the policy that takes any step."""
  task = rooms.build({"width": 2, "height": 1, "max_turns": 8, "stray_rate": 1.0, "spare_tokens": 0})

  @jax.jit
  def episodes(key):
    prompts = task.prompts(jnp.repeat(jnp.arange(PROMPTS), OF_PROMPT), "train")
    tokens, mask = task.demonstrate(key, prompts)
    return prompts, tokens, mask, task.verify(prompts, tokens, mask), task.prover_values(prompts, tokens, mask, 1.0)

  prompts, tokens, mask, verdicts, values = jax.device_get(episodes(jax.random.key(0)))
  wide = lambda x, fill: np.pad(x, ((0, 0), (task.prompt_tokens, 0)), constant_values=fill)
  extras = {name: verdicts.extras[name] for name in ("state_ids", "correct", "subgoals")}
  batch = batch_of(
    wide(mask, False), prompt_width=task.prompt_tokens, tokens=wide(tokens, 2), attention_mask=wide(mask, True),
    rewards=verdicts.rewards, token_rewards=wide(verdicts.token_rewards, 0), step_ids=wide(verdicts.step_ids, -1),
    group_ids=np.arange(ROWS) // GROUP, prompt_ids=prompts.ids, extras=extras,
  )  # fmt: skip
  first = task.turns.slots[:, 0]
  symbol = task.vocabulary.encode(rooms.ACTIONS[0])[0]
  return Walks(
    in_turns(batch, task.turns),
    values.before[:, first],
    values.after[:, first],
    mask[:, first],
    tokens[:, first] - symbol,
  )


def layout():
  """Layout of the turns."""
  return rooms.build({"width": 2, "height": 1, "max_turns": 8, "spare_tokens": 0}).turns
