"""Environments with the interface of gymnasium, read and written as text. Imports no JAX.

config.task = {"name": "rl_jax.tasks.environments.host",
               "environment": "rl_jax.tasks.environments.gymnasium_text:Gymnasium",
               "arguments": {"id": "FrozenLake-v1", "options": {"render_mode": "ansi", "is_slippery": False},
                             "actions": ["left", "down", "right", "up"], "instructions": "Go to G: left, down, …"}}

The policy sees the observation if that is text, else the environment's text rendering. `actions` names the actions in
the order of their numbers; without it, the policy's text itself is the action.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rl_jax.tasks.environments.packages import package

_HIGHLIGHTED, _COLOUR = re.compile(r"\x1b\[\d+m(.*?)\x1b\[0m", re.DOTALL), re.compile(r"\x1b\[[\d;]*m")


class Gymnasium:
  """One episode.

  Args:
    id: gymnasium's name for the environment.
    options: keyword arguments of `gymnasium.make`.
    actions: names of the actions.
    instructions: text shown before the first observation.
  """

  def __init__(
    self,
    id: str,  # gymnasium's name for it
    options: Mapping[str, Any] | None = None,
    actions: Sequence[str] = (),
    instructions: str = "",
  ):
    self._environment = package("gymnasium").make(id, **(options or {}))
    self._actions, self._instructions = list(actions), instructions

  def reset(self, problem: Mapping[str, Any], seed: int) -> str:
    """Begin; return the instructions and the first observation."""
    observation, _ = self._environment.reset(seed=seed)
    return "\n\n".join(filter(None, [self._instructions, self._seen(observation)]))

  def step(self, action: str) -> tuple[str, float, bool]:
    """Take an action. A text that is not a name of an action changes nothing."""
    name = action.strip()
    if self._actions and name not in self._actions:
      return f"no action: write one of {', '.join(self._actions)}", 0.0, False
    taken: Any = self._actions.index(name) if self._actions else action
    observation, reward, terminated, truncated, _ = self._environment.step(taken)
    return self._seen(observation), float(reward), bool(terminated or truncated)

  def _seen(self, observation: Any) -> str:
    """Text of an observation; text that a terminal would highlight is put in brackets."""
    text = observation if isinstance(observation, str) else self._environment.render()
    if not isinstance(text, str):
      raise ValueError(
        f"neither the observation, of type {type(observation).__name__}, nor the environment's rendering is text: make "
        'it with {"render_mode": "ansi"}, or wrap it'
      )
    return _COLOUR.sub("", _HIGHLIGHTED.sub(r"[\1]", text)).strip("\n")

  def close(self) -> None:
    """Close the environment."""
    self._environment.close()
