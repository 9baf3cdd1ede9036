"""Benchmark `generate`: tokens per second of the sampler, compared with `transformers` and with a bound.

Both sample at temperature 1 from the whole vocabulary with the same weights, dtype, prompts and number of new tokens;
no row ends early. They take turns, so that other load on the machine affects both alike: the ratio is the figure that
counts. Prefill is the time until the first token, decode the rest. The bound of a decoded token is the larger of two
times: the time to read all matrices and the keys and values of earlier tokens, at the rate of a large matrix-vector
product, and the time of the matrix products, at the best rate of large ones. Both rates are measured in the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from rl_jax.benchmarks.peer_process import conversation, medians_in_turns
from rl_jax.benchmarks.roofline import decode_bytes, forward_flops, matmul_rate
from rl_jax.errors import UserError
from rl_jax.kernels.benchmarks.timing import read_rate
from rl_jax.models import pretrained_files
from rl_jax.models.export import export
from rl_jax.models.loading import load
from rl_jax.models.model import Model, Params, param_count
from rl_jax.rollouts.sampler import sample

PROMPT_TOKENS = 64
PEERS = {"transformers": "transformers_generate.py"}
READ = 1 << 12
"""Width of the matrix whose product with a vector gives the memory rate: the matrix exceeds any cache."""

Generate = Callable[[Int[np.ndarray, "B P"], int], float]
"""(prompts, new tokens) -> seconds."""


class Settings(NamedTuple):
  """Settings of the measurement."""

  model: str
  batches: tuple[int, ...]
  new_tokens: int
  dtypes: tuple[str, ...]
  peers: Mapping[str, str]  # Python executable of each peer, by name
  repeats: int


class GenerationTime(NamedTuple):
  """Median seconds until the first token, and for all tokens."""

  first: float
  total: float


def ours(model: Model, params: Params) -> Generate:
  """The sampler; it compiles at the first call of each size."""

  def run(params, tokens, key, new_tokens: int):
    rows = tokens.shape[0]
    mask, limits = jnp.ones(tokens.shape, bool), jnp.full(rows, new_tokens)
    return sample(
      model, params, tokens, mask, key, completions_per_prompt=1, max_tokens=new_tokens, limits=limits, end_ids=()
    )

  program = jax.jit(run, static_argnums=3)

  def generate(prompts: Int[np.ndarray, "B P"], new_tokens: int) -> float:
    started = time.perf_counter()
    output = jax.block_until_ready(program(params, prompts, jax.random.key(0), new_tokens))
    seconds = time.perf_counter() - started
    assert output.mask.all()
    return seconds

  return generate


@contextlib.contextmanager
def peer(python: str, model: Model, params: Params, context: int) -> Iterator[tuple[str, Generate]]:
  """`transformers` in a process of its own, with the same weights: its description, and a function that generates.

  Raises: UserError: the peer does not run, or fails.
  """
  with tempfile.TemporaryDirectory() as folder:
    export(model, params, Path(folder, "model"), context=context)
    arguments = str(Path(folder, "model")), model.config.dtype
    with conversation("transformers", PEERS["transformers"], python, *arguments) as (about, ask):
      yield about, lambda prompts, new_tokens: ask(tokens=prompts.tolist(), new_tokens=new_tokens)["seconds"]


def measure(
  contestants: list[Generate], prompts: Int[np.ndarray, "B P"], new_tokens: int, repeats: int
) -> list[GenerationTime]:
  """Median times of each contestant, taking turns."""
  calls = [partial(generate, prompts, tokens) for generate in contestants for tokens in (1, new_tokens)]
  medians = medians_in_turns(calls, repeats)
  return [GenerationTime(*times) for times in zip(medians[::2], medians[1::2], strict=True)]


def report(
  name: str, timing: GenerationTime, rows: int, new_tokens: int, bound: tuple[float, str] | None = None
) -> str:
  """A line: tokens per second, seconds of prefill, milliseconds per decoded step, and share of the bound."""
  step = (timing.total - timing.first) / (new_tokens - 1)
  line = f"  {name:14} {rows * new_tokens / timing.total:9.0f} {timing.first:10.2f} {1e3 * step:9.1f}"
  return line if bound is None else f"{line} {1e3 * bound[0]:9.1f} {bound[0] / step:6.0%}  {bound[1]}"


def bound_of(model: Model, rows: int, new_tokens: int, memory: float, products: float) -> tuple[float, str]:
  """Lower bound of a decoded step in seconds, and the resource that binds."""
  attended = PROMPT_TOKENS + new_tokens / 2
  times = {
    "memory": decode_bytes(model.config, rows, attended) / memory,
    "products": forward_flops(model.config, rows, attended) / products,
  }
  binds = max(times, key=times.__getitem__)
  return times[binds], binds


def generate_benchmark(settings: Settings) -> None:
  """Print a table for each dtype and batch size.

  Raises: UserError: a setting is too small, or a peer does not run.
  """
  if settings.new_tokens < 2 or settings.repeats < 1 or min(settings.batches, default=0) < 1:
    raise UserError("generate needs --new_tokens of at least 2, and --repeats and --batch of at least 1")
  source = pretrained_files.open_source(settings.model)
  for dtype in settings.dtypes:
    model = Model(dataclasses.replace(source.config, dtype=dtype, param_dtype=dtype))
    params = load(source, model)
    with contextlib.ExitStack() as stack:
      contestants = {"rl_jax": ours(model, params)}
      about = "no --peer"
      for name, python in settings.peers.items():
        about, contestants[name] = stack.enter_context(peer(python, model, params, source.context))
      print(
        f"{settings.model}: {param_count(params) / 1e6:.0f}M parameters, {dtype}; {PROMPT_TOKENS} prompt and "
        f"{settings.new_tokens} new tokens, medians of {settings.repeats}; {about}",
        flush=True,
      )
      for rows in settings.batches:
        _table(settings, model, contestants, rows)


def _table(settings: Settings, model: Model, contestants: dict[str, Generate], rows: int) -> None:
  prompts = np.random.default_rng(0).integers(0, model.config.vocabulary, (rows, PROMPT_TOKENS), np.int32)
  times = dict(
    zip(contestants, measure(list(contestants.values()), prompts, settings.new_tokens, settings.repeats), strict=True)
  )
  memory, products = read_rate(READ, 9), matmul_rate(model.config.dtype)
  bound = bound_of(model, rows, settings.new_tokens, memory, products)
  print(f"batch {rows}: memory {memory / 1e9:.1f} GB/s, matrix products {products / 1e9:.0f} GFLOP/s")
  print(f"  {'':14} {'tokens/s':>9} {'prefill s':>10} {'step ms':>9} {'bound ms':>9} {'share':>6}  binds")
  print(report("rl_jax", times["rl_jax"], rows, settings.new_tokens, bound))
  if "transformers" in times:
    print(report("transformers", times["transformers"], rows, settings.new_tokens))
    print(f"  {'ratio':14} {times['transformers'].total / times['rl_jax'].total:9.2f}")
