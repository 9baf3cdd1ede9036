"""Benchmark `lengths`: scoring and its gradient for responses of different lengths, in length buckets.

The policy is that of the benchmark `iteration` (1.06M parameters, float32), with groups of responses to shared prompts.
Responses run all slots, at one of four widths, or also packed into some rows of their group
(rl_jax/training/lengths.py), each in four parts. Each line reports the share of tokens among the slots of responses,
the seconds of value and gradient (medians, taking turns), and the temporary memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from rl_jax.benchmarks.peer_process import medians_in_turns, seconds_of
from rl_jax.benchmarks.shared import compiled, policy, rows_of
from rl_jax.models.model import Model, Params
from rl_jax.training.lengths import Buckets
from rl_jax.trajectories import PrefixTrees, Trajectories

PROMPTS, GROUP, PARTS = 32, 8, 4
SIDES = {"all": Buckets(1), "widths": Buckets(PARTS), "packed": Buckets(PARTS, packs=True)}

Lengths = Callable[[np.random.Generator, int, int], Int[np.ndarray, " B"]]
"""(generator, rows, most tokens) -> lengths."""


def _geometric(rng: np.random.Generator, rows: int, most: int, share: int) -> Int[np.ndarray, " B"]:
  return np.minimum(rng.geometric(min(share / most, 1.0), rows), most)


DISTRIBUTIONS: Mapping[str, Lengths] = {
  "full": lambda rng, rows, most: np.full(rows, most),
  "uniform": lambda rng, rows, most: rng.integers(1, most + 1, rows),
  "near": lambda rng, rows, most: np.clip(rng.normal(0.6 * most, 0.1 * most, rows), 1, most).astype(int),
  "geometric/3": partial(_geometric, share=3),
  "geometric/8": partial(_geometric, share=8),
}
"""Uniform up to the limit; near 0.6 of it (normal, with a deviation of 0.1); geometric with a mean of a third and an
eighth of it, and cut there."""


def batch(lengths: Int[np.ndarray, " B"], prompt: int, response: int, vocabulary: int) -> Trajectories:
  """Groups of random responses of some lengths."""
  rows, width, rng = len(lengths), prompt + response, np.random.default_rng(0)
  tokens = rng.integers(2, vocabulary, (rows, width))
  tokens[:, :prompt] = np.repeat(tokens[::GROUP, :prompt], GROUP, axis=0)
  of_groups = {"row_mask": jnp.ones(rows, bool), "trees": (PrefixTrees.groups(rows, GROUP, prompt),)}
  return rows_of(tokens, prompt + lengths, prompt).replace(**of_groups)


def _value_and_gradient(model: Model, buckets: Buckets, params: Params, rows: Trajectories) -> tuple[jax.Array, Params]:
  """Sum over the parts of the batch, as micro-batches of an update are."""
  order = buckets.order(rows)
  parts = jax.tree.map(lambda x: jnp.take(x, order, axis=0).reshape(PARTS, len(x) // PARTS, *x.shape[1:]), rows)

  def loss(params: Params, part: Trajectories) -> jax.Array:
    return jnp.where(part.attention_mask, model.outputs(params, part)["logprobs"], 0.0).sum()

  def add(total: tuple[jax.Array, Params], part: Trajectories) -> tuple[tuple[jax.Array, Params], None]:
    found = buckets.switch(lambda part: jax.value_and_grad(loss)(params, part), part)
    return jax.tree.map(jnp.add, total, found), None

  total, _ = jax.lax.scan(add, (jnp.float32(0), jax.tree.map(jnp.zeros_like, params)), parts)
  return total


def lengths_benchmark(prompts: tuple[int, ...], responses: tuple[int, ...], repeats: int) -> None:
  """Print a line for each distribution and size.

  Raises: AssertionError: the sides differ.
  """
  model = policy()
  params = nn.unbox(model.init(jax.random.key(0)))
  print(f"scoring, value and gradient, {PROMPTS} x {GROUP} responses, medians of {repeats}: {' / '.join(SIDES)}")
  print(f"{'prompt':>6} {'tokens':>6} {'lengths':>12} {'used':>5} {'ms':>23} {'ratio':>11} {'MiB':>14}")
  for prompt in prompts:
    for response in responses:
      for name, draw in DISTRIBUTIONS.items():
        lengths = draw(np.random.default_rng(1), PROMPTS * GROUP, response)
        rows = batch(lengths, prompt, response, model.config.vocabulary)
        programs = [compiled(partial(_value_and_gradient, model, buckets), params, rows) for buckets in SIDES.values()]
        values = [float(run()[0]) for run, _ in programs]
        assert np.allclose(values, values[0], rtol=1e-4), f"sides differ: {values}"
        times = medians_in_turns([partial(seconds_of, run) for run, _ in programs], repeats)
        print(
          f"{prompt:6} {response:6} {name:>12} {lengths.mean() / response:5.2f} "
          f"{'/'.join(f'{1e3 * seconds:7.1f}' for seconds in times)} "
          f"{'/'.join(f'{times[0] / seconds:5.2f}' for seconds in times[1:])} "
          f"{'/'.join(f'{temporary / 2**20:4.0f}' for _, temporary in programs)}",
          flush=True,
        )
