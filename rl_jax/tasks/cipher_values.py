"""Rewards of words in cipher, and the expected reward after each symbol.

A policy whose symbols are right with a chance that depends on the place, and on whether the symbol before is right, is
a Markov chain. With c_j(s) that chance at place j, s = 1 if the symbol before is right (0 at the first place), and g_j
the points of a right symbol, the points to come before place j are

  W_j(s) = c_j(s) (g_j(s) + W_{j+1}(1)) + (1 - c_j(s)) W_{j+1}(0),   W_n = 0,   g_j(s) = w_j + b s          additive
  W_j(s) = c_j(s) W_{j+1}(1),                                        W_n = 1                         all or nothing

and the value is the points so far and W, over those of a right response; or W, if all symbols so far are right. The
chances are counted over the rows of the batch that have the level of the row. So values are exact for a policy that is
such a chain, but for the noise of that count. A place that a finished response does not reach is wrong.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rl_jax.kernels.reductions import Mean
from rl_jax.tasks import splits
from rl_jax.tasks.task import Prompts, StepValues, Vocabulary

FIRST_SYMBOL = 2
"""Token of the symbol that the letter 'a' stands for; the others follow."""
REWARDS = ("additive", "all_or_nothing")


class Scoring(NamedTuple):
  """Points of a response."""

  weights: tuple[int, ...]
  """Weight of a right symbol in each of L places."""
  pair_bonus: int
  reward: str
  """One of REWARDS."""


class Reading(NamedTuple):
  """Places of responses; words may have fewer than L."""

  written: Bool[Array, "B L"]
  """There is a token in the place, if only one that ends the response."""
  right: Bool[Array, "B L"]


def read(prompts: Prompts, tokens: Int[Array, "B R"], mask: Bool[Array, "B R"]) -> Reading:
  """Read the masked slots up to the first one that is not masked, and up to the first end token."""
  letters = prompts.metadata["letters"]
  ended = jnp.cumsum(~mask | (tokens == Vocabulary.end_id), axis=1)
  inside = mask & (jnp.pad(ended[:, :-1], ((0, 0), (1, 0))) == 0)
  places = letters.shape[1]
  written = at_slots(inside, places) & (letters != splits.ABSENT)
  return Reading(written, written & (at_slots(tokens, places) == FIRST_SYMBOL + letters))


def at_slots(x: Array, width: int) -> Array:
  """The first `width` columns of an array; zeros where it has fewer."""
  return jnp.pad(x[:, :width], ((0, 0), (0, max(0, width - x.shape[1]))))


def rewards(prompts: Prompts, right: Bool[Array, "B L"], scoring: Scoring) -> Float[Array, " B"]:
  """Rewards of responses; exactly 1 where all symbols are right."""
  exists = prompts.metadata["letters"] != splits.ABSENT
  if scoring.reward == "all_or_nothing":
    return (right | ~exists).all(axis=1).astype(jnp.float32)
  return _gains(right, scoring).sum(axis=1) / _gains(exists, scoring).sum(axis=1)


def _gains(right: Bool[Array, "B L"], scoring: Scoring) -> Int[Array, "B L"]:
  """Points that each symbol adds to those before it."""
  return right * (jnp.array(scoring.weights) + scoring.pair_bonus * _before(right))


def _before(x: Array) -> Array:
  """Content of the place before; 0 at the first."""
  return jnp.pad(x[:, :-1], ((0, 0), (1, 0)))


def step_values(
  prompts: Prompts, tokens: Int[Array, "B R"], mask: Bool[Array, "B R"], finished: Bool[Array, " B"], *,
  scoring: Scoring,
) -> StepValues:  # fmt: skip
  """Expected rewards before and after each token's symbol.

  Args:
    finished: rows that have ended, so that their last symbol is worth their reward.
  """
  written, right = read(prompts, tokens, mask)
  exists = prompts.metadata["letters"] != splits.ABSENT
  begun = written.any(axis=1, keepdims=True)
  chances = _chances(prompts.levels, right, exists & (written | (finished[:, None] & begun)))
  ahead = _ahead(chances, exists, scoring)
  state = jnp.pad(right, ((0, 0), (1, 0))).astype(jnp.int32)
  ahead = jnp.take_along_axis(ahead, state[..., None], axis=2)[..., 0]
  so_far = lambda x: jnp.pad(jnp.cumsum(x, axis=1), ((0, 0), (1, 0)))
  if scoring.reward == "all_or_nothing":
    values = jnp.where(so_far(~right & exists) == 0, ahead, 0.0)
  else:
    values = (so_far(_gains(right, scoring)) + ahead) / _gains(exists, scoring).sum(axis=1, keepdims=True)
  last = written & ~jnp.pad(written[:, 1:], ((0, 0), (0, 1))) & finished[:, None]
  after = jnp.where(last, rewards(prompts, right, scoring)[:, None], values[:, 1:])
  on_tokens = lambda x: at_slots(jnp.where(written, x, 0.0), tokens.shape[1])
  return StepValues(on_tokens(values[:, :-1]), on_tokens(after))


def _chances(levels: Int[Array, " B"], right: Bool[Array, "B L"], known: Bool[Array, "B L"]) -> Float[Array, "B L 2"]:
  """Share of right symbols in each place among the known ones of the row's level, after a wrong and after a right one;
  where there are none, among those after either."""
  before = _before(right)
  states = jnp.stack([known & ~before, known & before], axis=2)
  same_level = (levels[:, None] == levels).astype(jnp.float32)
  count = lambda x: jnp.einsum("bc,cls->bls", same_level, x.astype(jnp.float32), precision="highest")
  hits, seen = count(states & right[..., None]), count(states)
  of_place = Mean(hits.sum(axis=2, keepdims=True), seen.sum(axis=2, keepdims=True)).value
  return jnp.where(seen > 0, Mean(hits, seen).value, of_place)


def _ahead(chances: Float[Array, "B L 2"], exists: Bool[Array, "B L"], scoring: Scoring) -> Float[Array, "B L+1 2"]:
  """W_j(s) for every place and the end; where a word has no such place, that of its end."""
  is_whole = scoring.reward == "all_or_nothing"
  ahead = [jnp.full(chances[:, 0].shape, float(is_whole))]
  for place in reversed(range(exists.shape[1])):
    chance, later = chances[:, place], ahead[0]
    if is_whole:
      current = chance * later[:, 1:]
    else:
      gains = scoring.weights[place] + scoring.pair_bonus * jnp.arange(2)
      current = chance * (gains + later[:, 1:]) + (1 - chance) * later[:, :1]
    ahead.insert(0, jnp.where(exists[:, place, None], current, later))
  return jnp.stack(ahead, axis=1)
