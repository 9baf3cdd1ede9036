"""Benchmark `seeds`: the iteration of an experiment with 1, 4 and 8 vmapped seeds."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rl_jax.benchmarks.iteration import time_iteration, trainer_of
from rl_jax.configuration import configs


def seeds_benchmark(config_path: str, overrides: Sequence[str], repeats: int) -> None:
  """Print compilation and run time of vmapped seeds, relative to one seed."""
  print(f"{config_path}: one iteration of all seeds, {repeats} repeats, medians", flush=True)
  print(f"{'seeds':>5} {'seconds':>8} {'x one':>6} {'rollout':>8} {'update':>8} {'compile':>8}")
  one_seed = None
  for count in (1, 4, 8):
    own = (f"num_seeds={count}", "logging.every_iterations=1", "init_from=")
    trainer = trainer_of(configs.resolve(config_path, [*overrides, *own]))
    compiled = -time.perf_counter()
    trainer.compile()
    compiled += time.perf_counter()
    times = time_iteration(trainer, repeats)
    one_seed = one_seed or times.iteration
    parts = f"{times.rollout:8.3f} {times.learn:8.3f} {compiled:8.1f}"
    print(f"{count:5} {times.iteration:8.3f} {times.iteration / one_seed:6.2f} {parts}")
