"""Benchmark `iteration`: one GRPO iteration of fixed size against its roofline.

1.06M parameters (width 128, 4 layers, 4 heads, feed-forward 512, vocabulary 64), 32 prompts x 8 completions, 16 prompt
and exactly 32 new tokens, one update, float32; the iteration is split into rollout and update. The bound is the time
that the matrix products alone would take at the best rate measured in this run. It counts the multiply-adds of a
forward pass for every sampled token (each prompt once, as its completions share the prefill) and three times as many
for every trained token, including attention and the output layer; norms, softmax, sampling and the optimiser count as
0. The shared bound of the update counts each prompt once for all its rows, and the output layer only at responses.
Overrides change sizes: --config.model.width=256, --config.task.prompt_tokens=64; --config.model.shared_prompts=False
repeats the prompt in each of its rows.

Peers (Tunix, TRL) run an iteration of the same sizes on a CPU, with random weights and prompts, in Python environments
of their own. All take turns, so that other load on the machine affects them alike: the ratio is the figure that counts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import jax
from ml_collections import ConfigDict

from rl_jax.benchmarks.peer_process import Ask, conversation, medians_in_turns, seconds_of
from rl_jax.benchmarks.roofline import forward_flops, matmul_rate
from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.launching import initialization
from rl_jax.models.model import param_count
from rl_jax.training import iteration, mesh
from rl_jax.training.seeds import over_seeds
from rl_jax.training.trainer import Trainer

PEERS = {"tunix": "tunix_iteration.py", "trl": "trl_iteration.py"}
"""Scripts of the peers, by name."""
MODEL_SIZES = ("width", "layers", "heads", "key_value_heads", "head_width", "feed_forward")
PEER_OVERRIDES = {
  *(f"model.{key}" for key in MODEL_SIZES),
  *(f"task.{key}" for key in ("prompt_tokens", "response_tokens", "words")),
  "prompts_per_iteration",
  "completions_per_prompt",
  "model.shared_prompts",
}
"""Fields that peers adopt, and fields that change only how rl_jax runs the same work."""


def trainer_of(config: ConfigDict) -> Trainer:
  """Trainer of a resolved config, with freshly initialised models."""
  return Trainer(initialization.build(config), mesh.make_mesh(config.mesh))


@dataclasses.dataclass(frozen=True)
class Times:
  """Seconds of one iteration of all seeds, and of its two halves run separately."""

  iteration: float
  rollout: float
  learn: float
  peers: list[float]  # seconds of an iteration of each peer


def time_iteration(trainer: Trainer, repeats: int, peers: Sequence[Callable[[], float]] = ()) -> Times:
  """Compile and time the iteration, the rollout (with verification) and the rest (scoring, signal, update).

  Args:
    peers: functions that run an iteration in a peer and return its seconds; all take turns.
  """
  experiment = trainer.experiment
  every = lambda f: jax.jit(over_seeds(f, experiment.config.num_seeds))
  with mesh.use(trainer.mesh, trainer.experiment.rules):
    run_iteration = jax.jit(lambda state: iteration.run(experiment, state))
    rollout = every(lambda seed: iteration.make_batch(experiment, seed, 0))
    learn = every(lambda seed, batch: iteration.learn(experiment, seed, batch, 0))
    _, batch = rollout(trainer.state.seeds)
    calls = (
      lambda: run_iteration(trainer.state),
      lambda: rollout(trainer.state.seeds),
      lambda: learn(trainer.state.seeds, batch),
    )
    iteration_time, rollout_time, learn_time, *peer_times = medians_in_turns(
      [*(partial(seconds_of, call) for call in calls), *peers], repeats
    )
  return Times(iteration_time, rollout_time, learn_time, peer_times)


def _answered(ask: Ask) -> float:
  return ask()["seconds"]


def _peer_sizes(trainer: Trainer, overrides: Sequence[str]) -> str:
  """Argument of the peers' scripts. Raises UserError for an experiment that they cannot run."""
  for override in overrides:
    key = override.partition("=")[0]
    if key not in PEER_OVERRIDES:
      raise UserError(f"with --peer, overrides may only change sizes: leave out --config.{key}")
  if jax.default_backend() != "cpu":
    raise UserError(f"--peer compares iterations on a CPU, this one would run on {jax.default_backend()}")
  experiment = trainer.experiment
  model = dataclasses.asdict(experiment.models["policy"].config)
  return json.dumps(
    {key: model[key] for key in (*MODEL_SIZES, "vocabulary")}
    | {
      "prompts": experiment.config.prompts_per_iteration,
      "completions": experiment.config.completions_per_prompt,
      "prompt_tokens": experiment.task.prompt_tokens,
      "new_tokens": experiment.task.response_tokens,
    }
  )


def iteration_benchmark(overrides: Sequence[str], repeats: int, peers: Mapping[str, str]) -> None:
  """Print the times of the iteration with its bounds, and the times of peers.

  Args:
    peers: Python executables by name of the peer.

  Raises: UserError: a peer does not run, or cannot run the same iteration.
  """
  trainer = trainer_of(configs.resolve("benchmark", overrides))
  config, task, model = trainer.experiment.config, trainer.experiment.task, trainer.experiment.models["policy"].config
  prompts, prompt, new = config.prompts_per_iteration, task.prompt_tokens, task.response_tokens
  rows, length = prompts * config.completions_per_prompt, prompt + new
  parameters = param_count(trainer.state.seeds.models["policy"].params)
  with contextlib.ExitStack() as stack:
    abouts, calls = {}, []
    for name, python in peers.items():
      sizes = _peer_sizes(trainer, overrides)
      abouts[name], ask = stack.enter_context(conversation(name, PEERS[name], python, sizes))
      calls.append(partial(_answered, ask))
    print(
      f"one GRPO iteration, rollout and update: {parameters} parameters, {rows} rows of {prompt} + {new} tokens, "
      f"{repeats} repeats, medians",
      flush=True,
    )
    times = time_iteration(trainer, repeats, calls)
  rate = matmul_rate()
  # The last new token is sampled but never fed; each fed token attends to itself and those before.
  prefill = forward_flops(model, prompts * prompt, (prompt + 1) / 2)
  decode = forward_flops(model, rows * (new - 1), prompt + new / 2)
  update = 3 * forward_flops(model, rows * length, (length + 1) / 2)
  of_prompts = forward_flops(model, prompts * prompt, (prompt + 1) / 2, outputs=prompts)
  shared = 3 * (of_prompts + forward_flops(model, rows * new, prompt + (new + 1) / 2))
  print(f"matrix products: {rate / 1e9:.0f} GFLOP/s (float32, the best of some large sizes)")
  print(f"{'':10} {'seconds':>8} {'bound':>8} {'share':>6} {'shared':>8} {'share':>6} {'tokens/s':>10}")
  rows_of = (
    ("iteration", times.iteration, prefill + decode + update, prefill + decode + shared, rows * new),
    ("rollout", times.rollout, prefill + decode, prefill + decode, rows * new),
    ("update", times.learn, update, shared, rows * length),
  )
  for name, elapsed, *flops, tokens in rows_of:
    bounds = " ".join(f"{operations / rate:8.3f} {operations / rate / elapsed:6.0%}" for operations in flops)
    print(f"{name:10} {elapsed:8.3f} {bounds} {tokens / elapsed:10.0f}")
  if abouts:
    print(f"{'peer':10} {'seconds':>8} {'ratio':>8}  of an iteration, to ours")
  for (name, about), elapsed in zip(abouts.items(), times.peers, strict=True):
    print(f"{name:10} {elapsed:8.3f} {elapsed / times.iteration:8.2f}  {about}")
