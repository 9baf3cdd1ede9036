"""Responses to words in cipher, written as text, and a rollout that has them."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.rollouts.rollout import PhaseResult, Rollout, unasked, verify
from rl_jax.tasks import cipher
from rl_jax.trajectories import Trajectories
from tests.methods.batches import batch_of

LETTERS, WEIGHTS, BONUS = 4, (1, 2, 3, 1), 2
TEXTS = ("RRRR.", "RwRR.", "RwRw.", "RR.", "R", ".", "wwww.", "RRRR.")
"""Right and wrong symbols, and the end."""
PROMPTS = (3, 3, 8, 8, 8, 8, 5, 5)
USED = np.array([1, 1, 1, 1, 1, 1, 1, 0], bool)


@functools.cache
def task():
  return cipher.build({**cipher.get_config(), "levels": {"four": {"letters": LETTERS}}})


def points(text) -> float:
  """Reward of a response; "_" is a blank."""
  right = [symbol == "R" for symbol in text.partition(".")[0]]
  earned = sum(w for w, r in zip(WEIGHTS, right, strict=False) if r)
  return (earned + BONUS * sum(a and b for a, b in zip(right, right[1:], strict=False))) / 13


@functools.cache
def rows() -> Trajectories:
  """The responses after their prompts of five tokens, not verified yet."""
  prompts = task().prompts(jnp.array(PROMPTS), "train")
  letters, symbols = np.asarray(prompts.metadata["letters"]), np.zeros((len(TEXTS), LETTERS + 1), np.int32)
  for row, text in enumerate(TEXTS):
    for place, symbol in enumerate(text):
      right = 1 if symbol == "." else 2 + letters[row, place]
      symbols[row, place] = right if symbol in "R." else 2 + (letters[row, place] + 1) % 6
  mask = np.arange(LETTERS + 1) < np.array([len(text) for text in TEXTS])[:, None]
  no_prompt = np.zeros(prompts.mask.shape, bool)
  return batch_of(
    np.concatenate([no_prompt, mask], axis=1),
    prompt_width=LETTERS + 1,
    tokens=np.concatenate([prompts.tokens, symbols], axis=1),
    attention_mask=np.concatenate([~no_prompt, mask], axis=1),
    prompt_ids=np.array(PROMPTS),
    group_ids=np.array([7, 7, 1, 1, 1, 1, 2, 2]),
    row_mask=USED, verified=~USED, reward_mask=~USED, extras={"own": np.arange(len(TEXTS))},
  )  # fmt: skip


def units_of(row) -> int:
  return min(len(TEXTS[row]), LETTERS)


def without(row, members) -> str:
  """The response of a row with the units outside of `members` blanked; a row's last unit takes the end along."""
  text, last = TEXTS[row], units_of(row) - 1
  return "".join(s if min(place, last) in members else "_" for place, s in enumerate(text))


SAMPLED = 3
"""Tokens that the rollout says it sampled."""


def rollout() -> Rollout:
  """The responses."""
  given = rows()
  return Rollout(phases=(lambda *arguments: PhaseResult((), given, unasked(given), jnp.int32(SAMPLED)),))


def left_by(rollout: Rollout, scored_by):
  """(rows, number of rows that each phase asks about, sampled tokens) of a rollout without a model."""

  @jax.jit
  def run():
    before, counts, tokens = None, [], 0
    for index, phase in enumerate(rollout.phases):
      result = phase({}, (), None, None, before, jax.random.key(index))
      before = verify(scored_by, result.trajectories, result.verify)
      counts, tokens = [*counts, result.verify.sum()], tokens + result.generated_tokens
    return before, counts, tokens

  return run()
