"""Problems by id, and their split into train and held out.

A problem is a row of small whole numbers, its content. A level lists the choices of each content field, which are drawn
uniformly. The split of a problem is a hash of its content alone (not of its id, its level, the seed or other levels),
so a problem is in the same split in every run and mixture. Training and held-out problems are thus disjoint by
construction, even if two ids give the same problem.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray, UInt32

from rl_jax.tasks import fields
from rl_jax.tasks.task import Split

ABSENT = -1
"""Value of a content field that a problem lacks."""
UNLIMITED_IDS = 2**31 - 1

_MOST_ENUMERATED = 2**16
_LOWEST_FRACTION, _HIGHEST_FRACTION = 1 / 64, 1 / 2


@dataclasses.dataclass(frozen=True)
class Space:
  """Space of a task's problems: L levels, F content fields, at most C choices per field.

  Attributes:
    thresholds: [L] cumulative shares of the levels, the last is 1.
    choices: [L, F, C] the choices of each field, padded with ABSENT.
    counts: [L, F] numbers of choices.
    seed: seed of the problems; the split of a problem does not depend on it.
    pool_size: ids are in [0, pool_size); 0 means unlimited.
    held_out_fraction: share of the contents that is held out.
  """

  thresholds: np.ndarray
  choices: np.ndarray
  counts: np.ndarray
  seed: int
  pool_size: int
  held_out_fraction: float


def build_space(
  levels: dict[str, Sequence[Sequence[int]]],
  weights: Sequence[float],
  *,
  seed: int,
  pool_size: int,
  held_out_fraction: float,
) -> Space:
  """A Space of named levels, each the choices of its fields (fields that a shorter level lacks are ABSENT).

  Raises ValueError for settings out of range, and for a level where a split holds less than half of its share: such
  levels are too small to be split, and drawing from the rarer side would take long or never end. Levels of up to 65536
  problems are counted one by one; in a larger one, half the share of 1/64 lies 16 standard deviations off.
  """
  seed = fields.whole(seed, 0, UNLIMITED_IDS, where="task.seed")
  pool_size = fields.whole(pool_size, 0, UNLIMITED_IDS, where="task.pool_size")
  fraction = fields.number(held_out_fraction, _LOWEST_FRACTION, _HIGHEST_FRACTION, where="task.held_out_fraction")
  num_fields = max(len(choices) for choices in levels.values())
  most = max(len(field) for choices in levels.values() for field in choices)
  table = np.full((len(levels), num_fields, most), ABSENT, np.int32)
  counts = np.ones((len(levels), num_fields), np.int32)
  for level, (name, choices) in enumerate(levels.items()):
    _check_shares(name, choices, fraction)
    for field, values in enumerate(choices):
      table[level, field, : len(values)] = values
      counts[level, field] = len(values)
  shares = np.cumsum(np.asarray(weights, np.float64)) / np.sum(weights)
  shares[-1] = 1.0
  return Space(shares.astype(np.float32), table, counts, seed, pool_size, fraction)


def read_levels(
  config: Mapping[str, Any],
  defaults: Mapping[str, Any],
  check: Callable[[dict[str, Any], str], dict[str, Any]],
  choices: Callable[[Mapping[str, Any]], Sequence[Sequence[int]]],
) -> tuple[dict[str, dict[str, Any]], Space]:
  """Completed and checked levels of a task's config, and the space of their problems.

  Args:
    config: has `levels`, `seed`, `pool_size` and `held_out_fraction`.
    defaults: fields of a level.
    check: (level, its name) -> the level; ValueError for a field that makes no sense.
    choices: of the content fields of a level's problems.
  """
  levels = {
    name: check(fields.complete(level, defaults, where=f"task.levels.{name}"), name)
    for name, level in fields.named(config["levels"], where="task.levels").items()
  }
  space = build_space(
    {name: choices(level) for name, level in levels.items()},
    [level["weight"] for level in levels.values()],
    seed=config["seed"], pool_size=config["pool_size"], held_out_fraction=config["held_out_fraction"],
  )  # fmt: skip
  return levels, space


def _check_shares(name: str, choices: Sequence[Sequence[int]], fraction: float) -> None:
  size = math.prod(len(values) for values in choices)
  if size > _MOST_ENUMERATED:
    return
  count = int(held_out(np.array(list(itertools.product(*choices)), np.int32), fraction).sum())
  if count < fraction * size / 2 or size - count < (1 - fraction) * size / 2:
    raise ValueError(
      f"task level {name!r}: only {size} different problems, {size - count} train and {count} held out, too few to "
      f"split at held_out_fraction={fraction:g}; make the level larger"
    )


def content_hash(content: Int[Array, "*N F"] | np.ndarray) -> UInt32[Array, "*N"] | np.ndarray:
  """A hash of each row, on NumPy or JAX arrays alike; ABSENT fields do not count, so padding cannot change it."""
  # Position and value enter one 32-bit word (values below 2**16); each is mixed, then summed, then mixed again.
  positions = np.arange(1, content.shape[-1] + 1, dtype=np.uint32) << np.uint32(16)
  mixed = _mix(content.astype(np.uint32) + positions) * (content >= 0).astype(np.uint32)
  return _mix(mixed.sum(-1, dtype=np.uint32))


def _mix(x):
  # The 32-bit finaliser "lowbias32" (Wellons): multiplication wraps.
  x = x ^ (x >> np.uint32(16))
  x = x * np.uint32(0x7FEB352D)
  x = x ^ (x >> np.uint32(15))
  x = x * np.uint32(0x846CA68B)
  return x ^ (x >> np.uint32(16))


def held_out(content: Int[Array, "*N F"] | np.ndarray, fraction: float) -> Bool[Array, "*N"] | np.ndarray:
  """Return whether each problem is held out: its hash falls into the lowest `fraction` of all hashes."""
  return content_hash(content) < np.uint32(int(fraction * 2**32))


def draw_ids(space: Space, key: PRNGKeyArray, n: int, split: Split) -> Int[Array, " n"]:
  """Random ids, from the pool if there is one. A pool has `pool_size` problems of each split."""
  del split  # the same ids serve both splits; `draw_problems` finds the problem in the split
  return jax.random.randint(key, (n,), 0, space.pool_size or UNLIMITED_IDS, jnp.int32)


def draw_problems(space: Space, ids: Int[Array, " N"], split: Split) -> tuple[Int[Array, " N"], Int[Array, "N F"]]:
  """(levels, contents) of the problems, functions of id, split and seed alone.

  Contents are drawn with fold_in(fold_in(key(seed), id), attempt) for attempt 1, 2, … until one lies in the split;
  attempt 0 gives the level, so both splits have the same shares of levels.
  """
  if split not in ("train", "held_out"):
    raise ValueError(f"split: got {split!r}, want 'train' or 'held_out'")
  # The generator is explicit, so that a global setting cannot change the problems.
  keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(space.seed, impl="threefry2x32"), ids)
  levels = jnp.sum(_unit(_bits(keys, 0, 1)) >= space.thresholds[:-1], axis=1, dtype=jnp.int32)
  _, num_fields, most = space.choices.shape
  counts = jnp.asarray(space.counts, jnp.uint32)[levels]
  first_choice = (levels[:, None] * num_fields + jnp.arange(num_fields)) * most
  choices = jnp.asarray(space.choices.reshape(-1))

  def try_attempt(carry):
    attempt, accepted, content = carry
    # Scaling 24 bits to below count (at most 256) fits in 32 bits; its bias is below count / 2**24.
    index = ((_bits(keys, attempt, num_fields) >> 8) * counts) >> 24
    candidates = choices[first_choice + index.astype(jnp.int32)]
    content = jnp.where(accepted[:, None], content, candidates)
    good = held_out(candidates, space.held_out_fraction) == (split == "held_out")
    return attempt + 1, accepted | good, content

  def missing(carry):
    return ~jnp.all(carry[1])

  start = jnp.int32(1), jnp.zeros(ids.shape, bool), jnp.full(counts.shape, ABSENT, jnp.int32)
  _, _, content = jax.lax.while_loop(missing, try_attempt, start)
  return levels, content


def _bits(keys: PRNGKeyArray, attempt: Int[Array, ""] | int, n: int) -> UInt32[Array, "N n"]:
  """n random words a row. One fold_in a row gives 64 bits, which `_mix` expands: five times cheaper than random.bits,
  which counts because the last of 256 held-out rows takes about 40 attempts."""
  words = jax.random.key_data(jax.vmap(jax.random.fold_in, (0, None))(keys, attempt))
  counters = np.arange(1, n + 1, dtype=np.uint32) * np.uint32(0x9E3779B9)
  return _mix(_mix(words[:, :1] + counters) ^ words[:, 1:])


def _unit(bits):
  return (bits >> 8).astype(jnp.float32) / 2**24
