"""Episodes of environments as text."""

from __future__ import annotations

import jax
import numpy as np

ROWS = 6
"""Rows of a batch by hand: programs are compiled for one number of rows."""


def padded(function, problems, task, *rows, extra=()):
  """What a function of problems and episodes gives for so many rows; the others of a batch of `ROWS` are empty.

  Args:
    problems: of `ROWS` rows.
    extra: further arguments.
  """
  found = function(problems, *written(task, *rows, *[[]] * (ROWS - len(rows))), *extra)
  return jax.device_get(jax.tree.map(lambda x: x[: len(rows)], found))


def written(task, *rows):
  """(tokens, mask): each row is its turns as text, "." is the end token. Observations are left as gaps."""
  layout = task.turns
  tokens = np.full((len(rows), layout.response_tokens), 7, np.int32)
  mask = np.zeros(tokens.shape, bool)
  for row, turns in enumerate(rows):
    for number, text in enumerate(turns):
      ids = [task.vocabulary.end_id if c == "." else task.vocabulary.encode(c)[0] for c in text]
      slots = layout.start(number) + np.arange(len(ids))
      tokens[row, slots], mask[row, slots] = ids, True
  return tokens, mask


def told(task, verdicts):
  """(observation as text, whether the episode is over) of each row."""
  extras = verdicts.extras
  rows = zip(extras["observation"], extras["observation_mask"], extras["done"], strict=True)
  return [(task.vocabulary.decode(np.asarray(tokens)[np.asarray(mask)]), bool(done)) for tokens, mask, done in rows]


def spoiled(task, tokens, mask, rng):
  """Episodes with symbols overwritten at random, ids that are none among them, and masks with holes."""
  tokens, mask = np.array(tokens), np.array(mask)
  rows, slots = tokens.shape
  some = rng.integers(0, rows, rows), rng.integers(0, slots, rows)
  tokens[some] = rng.choice([-3, 10_000, *range(len(task.vocabulary))], rows)
  mask[rng.integers(0, rows, rows // 3), rng.integers(0, slots, rows // 3)] ^= True
  return tokens, mask
