"""The benchmark `iteration`: one GRPO iteration of fixed size beside its bound.

1.06M parameters (width 128, 4 layers, 4 heads, feed-forward 512, vocabulary 64), 32 prompts x 8 completions, 16 prompt
and exactly 32 new tokens, one update, float32, split into rollout and update. The bound is the time that the matrix
products alone would take at the best rate seen in this run: multiply-adds of the forward pass for every token sampled
(prompts once, their completions share the prefill) and three times that for every token trained, attention and output
layer included; norms, softmax, sampling and the optimiser count as nothing. The shared bound of the update counts each
prompt once for its rows, and the output layer at responses alone. Overrides change sizes: --config.model.width=256,
--config.task.prompt_tokens=64, and --config.model.shared_prompts=False runs prompts with each of their rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
from ml_collections import ConfigDict

from rl_jax.benchmarks.roofline import forward_flops, matmul_rate
from rl_jax.configuration import configs
from rl_jax.kernels.benchmarks.timing import seconds
from rl_jax.launching import initialization
from rl_jax.models.model import param_count
from rl_jax.training import iteration, mesh
from rl_jax.training.seeds import over_seeds
from rl_jax.training.trainer import Trainer


def trainer_of(config: ConfigDict) -> Trainer:
  """The trainer of a resolved config, whose models are drawn."""
  return Trainer(initialization.build(config), mesh.make_mesh(config.mesh))


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
    run_iteration = jax.jit(lambda state: iteration.run(experiment, state))
    rollout = every(lambda seed: iteration.make_batch(experiment, seed, 0))
    learn = every(lambda seed, batch: iteration.learn(experiment, seed, batch, 0))
    _, batch = rollout(trainer.state.seeds)
    return Times(
      iteration=seconds(lambda: run_iteration(trainer.state), repeats),
      rollout=seconds(lambda: rollout(trainer.state.seeds), repeats),
      learn=seconds(lambda: learn(trainer.state.seeds, batch), repeats),
    )


def iteration_benchmark(overrides: Sequence[str], repeats: int) -> None:
  """Print the times of the iteration beside its bounds."""
  trainer = trainer_of(configs.resolve("benchmark", overrides))
  config, task, model = trainer.experiment.config, trainer.experiment.task, trainer.experiment.models["policy"].config
  times = time_iteration(trainer, repeats)
  rate = matmul_rate()
  prompts, prompt, new = config.prompts_per_iteration, task.prompt_tokens, task.response_tokens
  rows, length = prompts * config.completions_per_prompt, prompt + new
  # The last new token is sampled but never fed; each token fed sees those before it and itself.
  prefill = forward_flops(model, prompts * prompt, (prompt + 1) / 2)
  decode = forward_flops(model, rows * (new - 1), prompt + new / 2)
  update = 3 * forward_flops(model, rows * length, (length + 1) / 2)
  of_prompts = forward_flops(model, prompts * prompt, (prompt + 1) / 2, outputs=prompts)
  shared = 3 * (of_prompts + forward_flops(model, rows * new, prompt + (new + 1) / 2))
  parameters = param_count(trainer.state.seeds.models["policy"].params)
  print(f"{parameters} parameters, {rows} rows of {prompt} + {new} tokens, {repeats} repeats, medians")
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
