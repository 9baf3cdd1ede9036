"""SIRI's schedule: the maximal response length falls and rises again during training, without a penalty."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import known_option
from rl_jax.kernels.reductions import widen
from rl_jax.kernels.scans import running_sums


class LengthLimit(NamedTuple):
  """The schedule's value, and the number of tokens to generate: the nearest integer."""

  value: Float[Array, "*N"]
  tokens: Int[Array, "*N"]


def length_limit(
  step: int | Int[Array, "*N"],
  *,
  kind: str = "cosine",
  cycle: int = 640,
  longest: float = 16384,
  shortest: float = 8192,
) -> LengthLimit:
  """L(t) = (longest + shortest) / 2 + (longest - shortest) / 2 cos(2 pi t / cycle), t from 0.

  SIRI, arXiv 2509.25176, section 3; three cycles, evaluated at `longest` always. `kind`:
  - "cosine": longest at t = 0, shortest at half of a cycle.
  - "stair": shortest in the first half of a cycle, longest in the second. The order is not in the paper; a step
    half a cycle later swaps it.
  - "stair_cosine": the cosine at twice the speed, held for a quarter of the cycle at either end.
  Rounding to the nearest integer is not in the paper: float32 would fall below whole numbers.

  >>> print(length_limit(jnp.array([0, 160, 320, 400])).tokens)
  [16384 12288  8192  9392]
  """
  known_option("length_limit", "kind", kind, ("cosine", "stair", "stair_cosine"))
  # The remainder of whole numbers is exact, however long the training.
  turn = widen(jnp.mod(jnp.asarray(step), cycle)) / cycle
  if kind == "stair":
    wave = jnp.where(turn < 1 / 2, -1, 1)
  else:
    if kind == "stair_cosine":
      turn = jnp.clip(2 * turn - 1 / 4, 0, 1 / 2) + jnp.clip(2 * turn - 5 / 4, 0, 1 / 2)
    wave = jnp.cos(2 * jnp.pi * turn)
  value = (longest + shortest) / 2 + (longest - shortest) / 2 * widen(wave)
  return LengthLimit(value, jnp.round(value).astype(jnp.int32))


def truncate(mask: Num[Array, "B T"], *, limits: int | Int[Array, " B"]) -> Bool[Array, "B T"]:
  """The first `limits` tokens of each response: what a rollout holds whose generation is stopped there.

  SIRI, arXiv 2509.25176, section 3: a response that is cut off stays in the loss, with reward 0
  (`rewards.length.truncation_reward`). Gaps and padding do not count.

  >>> print(truncate(jnp.array([[0, 1, 1, 1], [0, 1, 0, 0]]), limits=2))
  [[False  True  True False]
   [False  True False False]]
  """
  tokens = mask != 0
  return tokens & (running_sums(tokens) <= jnp.asarray(limits).reshape(-1, 1))


def efficiency(
  accuracy: Float[Array, "*N"],
  length: Float[Array, "*N"],
  base_accuracy: Float[Array, "*N"],
  base_length: Float[Array, "*N"],
) -> Float[Array, "*N"]:
  """max(accuracy / base_accuracy - 1, 0) / (length / base_length): accuracy won for the share of tokens still used.

  SIRI, arXiv 2509.25176, section 4. Mean accuracies and response lengths of a model and of the one that training
  started from. 0 where base_accuracy or either length is 0.

  >>> print(efficiency(jnp.array(0.6), jnp.array(50.0), jnp.array(0.5), jnp.array(100.0)).round(3))
  0.4
  """
  accuracy, length, base_accuracy, base_length = map(widen, (accuracy, length, base_accuracy, base_length))
  defined = (base_accuracy != 0) & (length != 0) & (base_length != 0)
  gain = jnp.maximum(accuracy / jnp.where(defined, base_accuracy, 1) - 1, 0)
  return jnp.where(defined, gain / jnp.where(defined, length / jnp.where(defined, base_length, 1), 1), 0)
