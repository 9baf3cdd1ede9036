"""Games of the package textarena for one player, as environments of text. Imports no JAX.

config.task = {"name": "rl_jax.tasks.environments.host",
               "environment": "rl_jax.tasks.environments.textarena_games:TextArena",
               "arguments": {"game": "FrozenLake-v0"}}

A game gives its reward at its end, a share of 1 where it was solved in part. A game of words wants lists of words that
the package downloads, which confined workers cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rl_jax.tasks.environments.packages import package

PLAYER, RAW = 0, "-raw"
"""The player, and the ending of the variant of a game that shows what is new alone."""


class TextArena:
  """One game.

  Args:
    game: name of a game, as "FrozenLake-v0".
    options: keyword arguments of it.
  """

  def __init__(self, game: str, options: Mapping[str, Any] | None = None):
    self._game = package("textarena").make(game.removesuffix(RAW) + RAW, **(options or {}))

  def reset(self, problem: Mapping[str, Any], seed: int) -> str:
    """Begin; return the rules and the board."""
    self._game.reset(num_players=1, seed=seed)
    return self._seen()

  def step(self, action: str) -> tuple[str, float, bool]:
    """Make a move, written as the rules say, e.g. "[up]"."""
    done, _ = self._game.step(action)
    if not done:
      return self._seen(), 0.0, False
    rewards, info = self._game.close()
    return str(info[PLAYER].get("reason", "")), float((rewards or {}).get(PLAYER, 0.0)), True

  def _seen(self) -> str:
    """Messages of the game since the last call; the player's own moves are left out."""
    _, seen = self._game.get_observation()
    return "\n".join(message for sender, message, _ in seen if sender != PLAYER).strip()
