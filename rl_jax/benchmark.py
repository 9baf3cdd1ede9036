"""Times what a user waits for, against a bound measured in the same run: python -m rl_jax.benchmark iteration.

`iteration`: one GRPO iteration of fixed size (1.06M parameters: width 128, 4 layers, 4 heads, feed-forward 512,
vocabulary 64; 32 prompts x 8 completions, 16 prompt and exactly 32 new tokens, one update, float32), split into rollout
and update. `seeds`: the same iteration of the standard experiment's size with 1, 4 and 8 seeds vmapped. `generate`: the
sampler on a pretrained model beside `transformers` (see `rl_jax.generation`). `reshard`: what a layout of its own for
generation costs and saves on the devices here (`rl_jax.training.generating`; --config.mesh and its rules as in a run).

The bound of an iteration is the time that the matrix products alone would take at the best rate seen in this run:
multiply-adds of the forward pass for every token sampled (prompts once, their completions share the prefill) and three
times that for every token trained, attention and output layer included; norms, softmax, sampling and the optimiser
count as nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from kernels.benchmarks.timing import seconds
from rl_jax import configs, machine, starts, stop
from rl_jax.bounds import forward_flops, matmul_rate
from rl_jax.generation import Settings, generate_benchmark
from rl_jax.models.errors import ModelFileError
from rl_jax.models.model import param_count
from rl_jax.runs.errors import RunError
from rl_jax.tasks.task import DeviceTask, Prompts, Verdicts, Vocabulary
from rl_jax.training import iteration, mesh
from rl_jax.training.errors import TrainingError
from rl_jax.training.generating import reshard
from rl_jax.training.seeds import over_seeds
from rl_jax.training.trainer import Trainer

PROMPTS, COMPLETIONS, PROMPT_TOKENS, NEW_TOKENS, WORDS = 32, 8, 16, 32, 64


class _Endless(Vocabulary):
  """No token ends a response, so all have the same length."""

  end_id = -1


class FixedLength:
  """A task of the benchmark's sizes: random prompts, reward for an even first token."""

  @staticmethod
  def get_config() -> dict:
    """It has no options."""
    return {}

  @staticmethod
  def build(config) -> DeviceTask:
    """The task; its sizes are the module's constants."""

    def prompts(ids, split):
      del split
      tokens = jax.vmap(lambda i: jax.random.randint(jax.random.key(i), (PROMPT_TOKENS,), 2, WORDS))(ids)
      level = jnp.zeros(ids.shape, jnp.int32)
      return Prompts(tokens, jnp.ones(tokens.shape, bool), ids, level, {})

    def verify(prompts, tokens, mask):
      rows = jnp.ones(tokens.shape[0], bool)
      return Verdicts((tokens[:, 0] % 2 == 0).astype(jnp.float32), rows, jnp.zeros(tokens.shape, jnp.int32), {})

    return DeviceTask(
      vocabulary=_Endless(tuple(chr(ord("0") + i) for i in range(WORDS))),
      prompt_tokens=PROMPT_TOKENS,
      response_tokens=NEW_TOKENS,
      levels=("fixed",),
      problem_ids=lambda key, n, split: jax.random.randint(key, (n,), 0, 1 << 30),
      prompts=prompts,
      verify=verify,
      demonstrate=lambda key, prompts: (prompts.tokens, prompts.mask),
    )


@dataclasses.dataclass(frozen=True)
class Times:
  """Seconds of one iteration of all seeds, and of its two halves run apart."""

  iteration: float
  rollout: float
  learn: float


def time_iteration(trainer: Trainer, repeats: int) -> Times:
  """Compiles and times the iteration, the rollout (with verification) and the rest (scoring, signal, update)."""
  experiment = trainer.experiment
  every = lambda f: jax.jit(over_seeds(f, experiment.config.num_seeds))
  with mesh.use(trainer.mesh, trainer.experiment.rules):
    whole = jax.jit(lambda state: iteration.run(experiment, state))
    rollout = every(lambda seed: iteration.make_batch(experiment, seed, 0))
    learn = every(lambda seed, made: iteration.learn(experiment, seed, made, 0))
    _, made = rollout(trainer.state.seeds)
    return Times(
      iteration=seconds(lambda: whole(trainer.state), repeats),
      rollout=seconds(lambda: rollout(trainer.state.seeds), repeats),
      learn=seconds(lambda: learn(trainer.state.seeds, made), repeats),
    )


def _trainer(overrides: Sequence[str], config_path: str) -> Trainer:
  config = configs.resolve(config_path, overrides)
  return Trainer(starts.build(config), mesh.make_mesh(config.mesh))


def iteration_benchmark(flags: configs.Flags) -> None:
  """Prints the times of the fixed iteration beside the bound."""
  _refuse(flags, "iteration times one of fixed size")
  trainer, repeats = _trainer((), "experiments/benchmark.py"), flags.options.repeats
  model = trainer.experiment.models["policy"].config
  times = time_iteration(trainer, repeats)
  rate = matmul_rate()
  rows, length = PROMPTS * COMPLETIONS, PROMPT_TOKENS + NEW_TOKENS
  # The last new token is sampled but never fed; each token fed sees those before it and itself.
  prefill = forward_flops(model, PROMPTS * PROMPT_TOKENS, (PROMPT_TOKENS + 1) / 2)
  decode = forward_flops(model, rows * (NEW_TOKENS - 1), PROMPT_TOKENS + NEW_TOKENS / 2)
  update = 3 * forward_flops(model, rows * length, (length + 1) / 2)
  parameters = param_count(trainer.state.seeds.models["policy"].params)
  print(f"{parameters} parameters, {rows} rows of {PROMPT_TOKENS} + {NEW_TOKENS} tokens, {repeats} repeats, medians")
  print(f"matrix products: {rate / 1e9:.0f} GFLOP/s (float32, the best of some large sizes)")
  print(f"{'':10} {'seconds':>8} {'bound':>8} {'share':>6} {'tokens/s':>10}")
  rows_of = (
    ("iteration", times.iteration, prefill + decode + update, rows * NEW_TOKENS),
    ("rollout", times.rollout, prefill + decode, rows * NEW_TOKENS),
    ("update", times.learn, update, rows * length),
  )
  for name, taken, flops, tokens in rows_of:
    bound = flops / rate
    print(f"{name:10} {taken:8.3f} {bound:8.3f} {bound / taken:6.0%} {tokens / taken:10.0f}")


def seeds_benchmark(flags: configs.Flags) -> None:
  """Prints what vmapped seeds cost, compiled and run, beside one seed."""
  config_path, repeats = flags.config or "experiments/grpo.py", flags.options.repeats
  print(f"{config_path}: one iteration of all seeds, {repeats} repeats, medians")
  print(f"{'seeds':>5} {'seconds':>8} {'x one':>6} {'rollout':>8} {'update':>8} {'compile':>8}")
  one = None
  for count in (1, 4, 8):
    own = (f"num_seeds={count}", "logging.every_iterations=1", "init_from=")
    trainer = _trainer([*flags.overrides, *own], config_path)
    compiled = -time.perf_counter()
    trainer.compile()
    compiled += time.perf_counter()
    times = time_iteration(trainer, repeats)
    one = one or times.iteration
    parts = f"{times.rollout:8.3f} {times.learn:8.3f} {compiled:8.1f}"
    print(f"{count:5} {times.iteration:8.3f} {times.iteration / one:6.2f} {parts}")


def reshard_benchmark(flags: configs.Flags) -> None:
  """Prints how long the policy takes into the layout of generation, and a rollout in either layout."""
  config = configs.resolve(flags.config or "experiments/benchmark.py", flags.overrides)
  trainer = Trainer(starts.build(config), mesh.make_mesh(config.mesh))
  experiment, seeds_of = trainer.experiment, trainer.state.seeds
  if experiment.rollout_rules == experiment.rules:
    raise configs.ConfigError("generation has no layout of its own: say for example --config.mesh.rollout_rules.width=")
  plain = starts.build(configs.resolve_config(config, {"mesh.rollout_rules": {}}))
  policy = seeds_of.models["policy"].params
  with mesh.use(trainer.mesh, experiment.rules):
    move = reshard(experiment, trainer.mesh)
    rollout = lambda of: jax.jit(over_seeds(lambda seed: iteration.make_batch(of, seed, 0)[1], config.num_seeds))
    one, other = rollout(plain), rollout(experiment)
    times = {
      "reshard": seconds(lambda: move(policy), flags.options.repeats),
      "rollout, laid out as for updates": seconds(lambda: one(seeds_of), flags.options.repeats),
      "rollout, laid out anew (with reshard)": seconds(lambda: other(seeds_of), flags.options.repeats),
    }
    moved = move(policy)
  here = lambda tree: sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree))
  axes = ", ".join(f"{axis} {size}" for axis, size in trainer.mesh.shape.items())
  print(f"{machine.devices()} ({axes}), {param_count(policy)} parameters, {flags.options.repeats} repeats, medians")
  print(f"parameters per device: {here(policy) / 2**20:.2f} MiB in updates, {here(moved) / 2**20:.2f} in generation")
  for name, taken in times.items():
    print(f"{name:38} {taken:8.4f} s")


def _refuse(flags: configs.Flags, what: str) -> None:
  if flags.config or flags.workdir or flags.overrides:
    raise configs.ConfigError(f"{what}: it takes no --config and no --workdir")


def _generate(flags: configs.Flags) -> None:
  options = flags.options
  _refuse(flags, "generate times a --model")
  unknown = [name for name in options.dtype if name not in ("float32", "bfloat16", "float16")]
  if unknown:
    raise configs.ConfigError(f"--dtype is float32, bfloat16 or float16, or several with commas, got {unknown[0]!r}")
  generate_benchmark(
    Settings(options.model, options.batch, options.new_tokens, options.dtype, options.peer, options.repeats)
  )


BENCHMARKS: dict[str, Callable[[configs.Flags], None]] = {
  "iteration": iteration_benchmark,
  "seeds": seeds_benchmark,
  "generate": _generate,
  "reshard": reshard_benchmark,
}


def _numbers(text: str) -> tuple[int, ...]:
  return tuple(int(number) for number in text.split(","))


def _words(text: str) -> tuple[str, ...]:
  return tuple(text.split(","))


def _parser(name: str) -> argparse.ArgumentParser:
  parser = configs.make_parser(__doc__.splitlines()[0])
  parser.add_argument("--benchmark", choices=sorted(BENCHMARKS), default="iteration", help="what to time")
  parser.add_argument("--repeats", type=int, default=3 if name == "generate" else 7)
  if name == "generate":
    parser.add_argument("--model", default="smollm2-135m-instruct", help="pretrained: a name, folder or .gguf file")
    parser.add_argument("--batch", type=_numbers, default=(32, 64), help="rows, as in 32,64")
    parser.add_argument("--new_tokens", type=int, default=128)
    parser.add_argument("--dtype", type=_words, default=("float32",), help="as in float32,bfloat16")
    parser.add_argument("--peer", metavar="PYTHON", help="a Python with torch and transformers, for the comparison")
  return parser


def main(argv: list[str]) -> int:
  """Runs the command line; returns the exit status."""
  named = [f"--benchmark={argv[0]}", *argv[1:]] if argv and not argv[0].startswith("-") else argv
  asked = next((flag.partition("=")[2] for flag in named if flag.startswith("--benchmark=")), "iteration")
  try:
    flags = configs.parse_flags(named, _parser(asked), required=())
    BENCHMARKS[flags.options.benchmark](flags)
  except (configs.ConfigError, RunError, TrainingError, ModelFileError) as error:
    print(f"rl_jax.benchmark: {error}", file=sys.stderr)
    return 1
  return 0


if __name__ == "__main__":
  sys.exit(stop.run("rl_jax.benchmark", main))
