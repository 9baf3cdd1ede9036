"""Single-player games of the package textarena, as text environments. Imports no JAX.

config.task = {"name": "rl_jax.tasks.environments.host",
               "environment": "rl_jax.tasks.environments.textarena_games:TextArena",
               "arguments": {"game": "FrozenLake-v0"}}

A game gives its reward at its end; a game solved in part earns a share of 1. Word games need word lists that the
package downloads; confined workers cannot download them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rl_jax.tasks.environments.packages import package

PLAYER, RAW = 0, "-raw"
"""The player's id, and the suffix of the game variants that show only new messages."""


class TextArena:
  """One game.

  Args:
    game: name of a game, such as "FrozenLake-v0".
    options: its keyword arguments.
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
