"""Benchmark `shared`: scoring and its gradient for rows that share text, which is computed once or in every row.

The policy is that of the benchmark `iteration` (1.06M parameters, float32). Prompts and responses fill all slots, in
groups of responses to a prompt and in trees whose segments are as long as a response. Both sides compute logprobs only
at responses, and rows of a tree end with their own segment, so the sides differ only by the shared text. Each point of
the grid reports the token slots of a pass, the seconds of value and gradient (medians, taking turns), and the temporary
memory.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.benchmarks.peer_process import medians_in_turns, seconds_of
from rl_jax.configuration import configs
from rl_jax.launching import initialization
from rl_jax.models.model import Model, Params
from rl_jax.trajectories import PrefixTrees, Trajectories, slots_run

SLOTS = 8192
"""Approximate number of token slots of a pass with shared text, at each point."""


class Point(NamedTuple):
  """One point of the grid. A group is a tree of one level."""

  prompt: int
  response: int
  branching: tuple[int, ...]

  @property
  def trees(self) -> PrefixTrees:
    """The trees of one batch."""
    starts = tuple(self.prompt + level * self.response for level in range(len(self.branching)))
    one = PrefixTrees(PrefixTrees(1, self.branching, starts).size, self.branching, starts)
    return one._replace(rows=max(1, SLOTS // slots_run(one, self.width)) * one.rows)

  @property
  def width(self) -> int:
    """Slots of the longest row."""
    return self.prompt + len(self.branching) * self.response


class Side(NamedTuple):
  """Measurements of one of the two sides."""

  slots: int
  seconds: float
  temporary: int
  """Temporary memory in bytes."""


def batches(point: Point, vocabulary: int) -> tuple[Trajectories, list[Trajectories]]:
  """Rows of a point as trees, and as separate rows level by level, each only as wide as its text."""
  trees, rng = point.trees, np.random.default_rng(0)
  tokens = np.empty((trees.rows // trees.size, trees.size, point.width), np.int32)
  stops, above, done = (*trees.starts[1:], point.width), None, 0
  for children, nodes, start, stop in zip(trees.children, trees.nodes, trees.starts, stops, strict=True):
    parents = rng.integers(2, vocabulary, (len(tokens), 1, point.width)) if above is None else above
    level = np.repeat(parents, children, axis=1)
    level[:, :, start:] = rng.integers(2, vocabulary, (len(tokens), nodes, point.width - start))
    tokens[:, done : done + nodes], above, done = level, level, done + nodes
    tokens[:, done - nodes : done, stop:] = 0
  depths = np.repeat(np.arange(len(trees.nodes)), trees.nodes)
  ends = np.tile(np.array(stops)[depths], len(tokens))
  whole = rows_of(tokens.reshape(-1, point.width), ends, point.prompt)
  of_level = lambda level: np.flatnonzero(np.tile(depths, len(tokens)) == level)
  alone = [
    rows_of(np.asarray(whole.tokens)[of_level(level), :stop], ends[of_level(level)], point.prompt).replace(
      prompt_width=start
    )
    for level, (start, stop) in enumerate(zip(trees.starts, stops, strict=True))
  ]
  return whole.replace(trees=(trees,)), alone


def rows_of(tokens: np.ndarray, ends: np.ndarray, prompt: int) -> Trajectories:
  """Rows with prompts of `prompt` slots and texts that end before slot `ends`."""
  rows, width = tokens.shape
  return Trajectories.empty(rows, width, prompt).replace(
    tokens=jnp.asarray(tokens),
    attention_mask=jnp.asarray(np.arange(width) < ends[:, None]),
    positions=jnp.broadcast_to(jnp.arange(width), (rows, width)),
  )


def compiled(function: Callable[..., Any], *arguments: Any) -> tuple[Callable[[], Any], int]:
  """A function compiled for its arguments, which it then takes, and its temporary bytes."""
  program = jax.jit(function).lower(*arguments).compile()
  memory: Any = program.memory_analysis()
  return lambda: program(*arguments), memory.temp_size_in_bytes


def _logprobs(model: Model, params: Params, parts: Sequence[Trajectories]) -> jax.Array:
  return jnp.stack([model.outputs(params, part)["logprobs"].sum() for part in parts]).sum()


def measure(model: Model, params: Params, point: Point, repeats: int) -> tuple[Side, Side]:
  """Measure a point with the shared text computed in every row, and computed once."""
  whole, alone = batches(point, model.config.vocabulary)
  program = jax.value_and_grad(functools.partial(_logprobs, model))
  runs = [compiled(program, params, parts) for parts in (alone, [whole])]
  values = [float(jax.block_until_ready(run())[0]) for run, _ in runs]
  if abs(values[0] - values[1]) > 1e-4 * abs(values[0]):
    raise AssertionError(f"shared and alone differ: {values}")
  times = medians_in_turns([functools.partial(seconds_of, run) for run, _ in runs], repeats)
  of_alone, of_shared = zip(times, (temporary for _, temporary in runs), strict=True)
  slots = sum(part.tokens.size for part in alone)
  return Side(slots, *of_alone), Side(slots_run(point.trees, point.width), *of_shared)


def policy() -> Model:
  """The policy of the benchmark `iteration`."""
  return initialization.build(configs.resolve("benchmark")).models["policy"]


def shared_benchmark(
  prompts: Sequence[int], responses: Sequence[int], shapes: Sequence[tuple[int, ...]], repeats: int
) -> None:
  """Print a line for each point of the grid."""
  model = policy()
  params = nn.unbox(model.init(jax.random.key(0)))
  print(f"scoring, value and gradient, medians of {repeats}; every row / shared", flush=True)
  columns = {"prompt": 6, "tokens": 6, "shape": 8, "rows": 5, "slots": 13, "limit": 6, "ms": 15, "ratio": 6, "MiB": 11}
  print(" ".join(f"{name:>{width}}" for name, width in columns.items()))
  for shape, prompt, response in itertools.product(shapes, prompts, responses):
    point = Point(prompt, response, shape)
    alone, shared = measure(model, params, point, repeats)
    print(
      f"{prompt:6} {response:6} {'-'.join(map(str, shape)):>8} {point.trees.rows:5} "
      f"{alone.slots:6}/{shared.slots:6} {alone.slots / shared.slots:6.2f} "
      f"{1e3 * alone.seconds:7.1f}/{1e3 * shared.seconds:7.1f} {alone.seconds / shared.seconds:6.2f} "
      f"{alone.temporary / 2**20:5.0f}/{shared.temporary / 2**20:5.0f}",
      flush=True,
    )
