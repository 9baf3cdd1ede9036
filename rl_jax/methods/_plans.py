"""Turns that begin with a plan: the tokens of their decisions and actions, their rewards and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rl_jax.kernels.advantages.returns import GAE
from rl_jax.kernels.segments import on_tokens, segment_lengths, segment_sum
from rl_jax.methods._streams import Stream
from rl_jax.methods._token_rewards import token_rewards
from rl_jax.tasks.task import Turns
from rl_jax.trajectories import Trajectories

HEADS = ("low", "high", "switch")
"""Heads of the critic; each has a stream of the same name."""
READ = ("switches", "subgoal_ids", "switch_tokens", "subgoal_tokens")
"""Extras of a task whose turns begin with plans, as in rl_jax/tasks/environments/planned.py."""


class Spans(NamedTuple):
  """Masks of the trained tokens of scored rows by the decision that they belong to, and two masks of first tokens."""

  switch: Bool[Array, "B T"]
  subgoal: Bool[Array, "B T"]
  action: Bool[Array, "B T"]
  """All other tokens, and all tokens of a turn without a plan."""
  starts: Bool[Array, "B T"]
  """First token of each turn."""
  acts: Bool[Array, "B T"]
  """First token of each action."""


def spans_of(trajectories: Trajectories, layout: Turns) -> Spans:
  """Spans by the lengths that `READ` gives; turns begin in the first of their slots."""
  width, ids = trajectories.prompt_width, trajectories.turn_ids
  trained = trajectories.trained & trajectories.scored[:, None]
  offsets = np.arange(trajectories.tokens.shape[1]) - width
  offsets = np.where(offsets >= 0, offsets % layout.start(1), -1)
  subgoal_at = on_tokens(trajectories.extras["switch_tokens"], ids, trained)
  action_at = subgoal_at + on_tokens(trajectories.extras["subgoal_tokens"], ids, trained)
  return Spans(
    switch=trained & (offsets < subgoal_at),
    subgoal=trained & (subgoal_at <= offsets) & (offsets < action_at),
    action=trained & (action_at <= offsets),
    starts=trained & (offsets == 0),
    acts=trained & (offsets == action_at),
  )


class PlannedTurns(NamedTuple):
  """Turns of episodes, at most K; 0 for turns that a row lacks."""

  exists: Bool[Array, "B K"]
  switches: Bool[Array, "B K"]
  subgoal_ids: Int[Array, "B K"]
  """The sub-goals that the turns name; -1: none."""
  rewards: Float[Array, "B K"]
  low_values: Float[Array, "B K"]
  """Values after the sub-goal, before the action."""
  high_values: Float[Array, "B K"]
  switch_values: Float[Array, "B K"]
  """Values of two heads before the turn."""
  terminated: Bool[Array, " B"]
  """False for episodes cut by the token limit, or by the turn limit (all turns taken, problem unsolved)."""


def turns_of(trajectories: Trajectories, spans: Spans, max_turns: int) -> PlannedTurns:
  """Turns of scored rows, with values of the three heads in `extras`."""
  extras, ids = trajectories.extras, trajectories.turn_ids
  of_turns = lambda x, at: segment_sum(x, ids, at, num_segments=max_turns)
  exists = segment_lengths(ids, spans.starts, num_segments=max_turns) > 0
  low, high, switch = (of_turns(extras["values"][..., i], at) for i, at in enumerate(value_places(spans)))
  return PlannedTurns(
    exists=exists,
    switches=extras["switches"] == 1,
    subgoal_ids=extras["subgoal_ids"],
    rewards=of_turns(token_rewards(trajectories), trajectories.trained & trajectories.scored[:, None]),
    low_values=low,
    high_values=high,
    switch_values=switch,
    terminated=~(trajectories.truncated | (exists[:, -1] & ~trajectories.correct)),
  )


def value_places(spans: Spans) -> tuple[Bool[Array, "B T"], ...]:
  """Tokens before which each head is read."""
  return spans.acts, spans.starts, spans.starts


def value_streams(
  ids: Int[Array, "B T"], spans: Spans, estimates: Sequence[GAE], trained: Sequence[Bool[Array, "B K"]]
) -> dict[str, Stream]:
  """Targets of each head where it is read, given estimates of turns and the turns that train it."""
  streams = {}
  for name, estimate, turns, places in zip(HEADS, estimates, trained, value_places(spans), strict=True):
    weights = on_tokens(turns.astype(jnp.float32), ids, places)
    streams[name] = Stream(on_tokens(estimate.returns, ids, weights), weights)
  return streams
