"""Splits: disjoint by brute force, the hash, uniform draws, levels too small to split."""

from __future__ import annotations

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.tasks import addition, chain, splits

TINY = [[2], [2], [0, 1], [0, 1, 2], [0, 1], [0, 1, 2], [0, 1]]
"""The chain level of 2 operations modulo 2: 72 problems."""


def space_of(*levels, weights=None, **fields):
  settings = {"seed": 0, "pool_size": 0, "held_out_fraction": 0.125, **fields}
  return splits.build_space(dict(zip("abcdef", levels, strict=False)), weights or [1.0] * len(levels), **settings)


def drawn(space, n, split):
  return jax.jit(partial(splits.draw_problems, space, split=split))(jnp.arange(n))


def rows(content):
  return set(map(tuple, np.asarray(content).tolist()))


def test_tiny_level_is_split_into_all_its_problems():
  space = space_of(TINY)
  every = np.array(list(itertools.product(*TINY)))
  train, held = (drawn(space, 5000, split)[1] for split in ("train", "held_out"))
  assert rows(train) | rows(held) == rows(every) and not rows(train) & rows(held)
  assert rows(held) == rows(every[splits.held_out(every, 0.125)])
  # Uniform within a split: chi-square within 5 standard deviations.
  for content in (train, held):
    counts = np.unique(np.asarray(content), axis=0, return_counts=True)[1]
    expected = counts.sum() / len(counts)
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_square - (len(counts) - 1)) < 5 * np.sqrt(2 * len(counts))


@pytest.mark.parametrize(
  "task",
  [
    chain.build({"levels": {"a": {"operations": 2, "modulus": 2}, "b": {"operations": 3, "modulus": 3}}}),
    addition.build({"levels": {"a": {"digits": 1}, "b": {"digits": 2}}}),
  ],
)
def test_no_prompt_is_in_both_splits(task):
  prompts = {
    split: jax.jit(partial(task.prompts, split=split))(task.problem_ids(jax.random.key(0), 20_000, split))
    for split in ("train", "held_out")
  }
  texts = {split: rows(part.tokens) for split, part in prompts.items()}
  assert not texts["train"] & texts["held_out"] and min(map(len, texts.values())) > 20
  shares = [np.mean(np.asarray(part.levels)) for part in prompts.values()]
  np.testing.assert_allclose(shares, 0.5, atol=0.02)


def test_the_split_of_a_problem_does_not_depend_on_seed_or_other_levels():
  alone = drawn(space_of(TINY), 3000, "held_out")[1]
  other = drawn(space_of([[10], [3], *[range(10)] * 7], TINY, seed=7), 3000, "held_out")
  same = rows(np.asarray(other[1])[np.asarray(other[0]) == 1][:, : len(TINY)])
  assert same == rows(alone)


def test_hash_is_the_same_in_numpy_and_jax_and_even():
  content = np.random.default_rng(0).integers(-1, 100, (20_000, 9)).astype(np.int32)
  hashed = splits.content_hash(content)
  np.testing.assert_array_equal(hashed, splits.content_hash(jnp.asarray(content)))
  np.testing.assert_array_equal(hashed, splits.content_hash(np.pad(content, ((0, 0), (0, 4)), constant_values=-1)))
  assert abs(splits.held_out(content, 0.25).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 20_000)
  # Neighbours that differ in one field by one are split independently.
  both = splits.held_out(content, 0.25) & splits.held_out(content + (np.arange(9) == 2), 0.25)
  assert abs(both.mean() - 0.0625) < 0.01


def test_ids_pool_and_levels():
  space = space_of([range(100)] * 3, [range(50)] * 3, weights=[3.0, 1.0], pool_size=40)
  ids = np.asarray(splits.draw_ids(space, jax.random.key(0), 4000, "train"))
  assert ids.dtype == np.int32 and set(ids) == set(range(40))
  unlimited = splits.draw_ids(space_of(TINY), jax.random.key(0), 4000, "train")
  assert unlimited.min() >= 0 and len(set(unlimited.tolist())) == 4000
  levels, content = drawn(space, 8000, "train")
  assert abs(float(levels.mean()) - 0.25) < 0.02
  # Each field is uniform: its mean within 5 standard errors.
  first = np.asarray(content)[np.asarray(levels) == 0]
  assert np.all(np.abs(first.mean(axis=0) - 49.5) < 5 * 28.9 / np.sqrt(len(first)))
  assert not np.array_equal(content, drawn(space_of([range(100)] * 3, [range(50)] * 3, seed=1), 8000, "train")[1])


@pytest.mark.parametrize(
  ("levels", "fields", "message"),
  [
    ([[[1], [0, 1]]], {}, "level 'a': only 2 different problems"),
    ([TINY, [range(5)]], {}, "level 'b': only 5 different problems"),
    ([TINY], {"held_out_fraction": 0.0}, "task.held_out_fraction: got 0.0"),
    ([TINY], {"held_out_fraction": 0.9}, "task.held_out_fraction: got 0.9"),
    ([TINY], {"pool_size": -1}, "task.pool_size"),
    ([TINY], {"seed": 2**32}, "task.seed"),
  ],
)
def test_bad_settings_are_one_clear_line(levels, fields, message):
  with pytest.raises(ValueError) as error:
    space_of(*levels, **fields)
  assert message in str(error.value) and "\n" not in str(error.value)


def test_unknown_split():
  with pytest.raises(ValueError, match="want 'train' or 'held_out'"):
    splits.draw_problems(space_of(TINY), jnp.arange(2), "test")
