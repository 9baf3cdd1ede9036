"""Run folders made by hand: what `rl_jax.launching.launch` leaves behind, without a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rl_jax.runs.content import content_sha256
from rl_jax.runs.directory import RunDirectory, open_run
from rl_jax.runs.manifest import append_launch, end_launch
from rl_jax.runs.metrics import MetricsWriter
from rl_jax.runs.samples import write_samples

LAUNCH = {
  "started": "2026-03-01T10:00:00+00:00",
  "command": ["python", "-m", "rl_jax.train", "--config=experiments/grpo.py", "--workdir=runs/a"],
  "devices": "cpu x1",
  "flags": {},
  "packages": {"jax": "0.10.2", "matplotlib": "3.9"},
  "settings": {"jax_enable_x64": False},
  "cpu_model": "A CPU",
  "cpu_threads_allowed": 2,
  "git_commit": "c0ffee" * 6 + "c0ff",
  "git_clean": True,
  "uncommitted_sha256": None,
  "papers": ["2402.03300"],
}
ITERATIONS = 8
CONFIG = {
  "num_iterations": ITERATIONS,
  "learning_rate": 3e-4,
  "optimizer": {"schedule": "constant"},
  "evaluation": {"prompts": 128},
  "method": {"name": "rl_jax.methods.grpo"},
  "task": {"name": "rl_jax.tasks.chain", "levels": {"four": {"operations": 4, "modulus": 10}}},
  "model": {"name": "rl_jax.models.model", "width": 64, "layers": 2},
}


def run(
  path: Path,
  *,
  seeds: int = 5,
  gain: float = 0.5,
  tokens: int = 1000,
  launches: tuple[dict[str, Any], ...] = ({},),
  credit: bool = True,
  config: dict[str, Any] | None = None,
) -> RunDirectory:
  """A run of 8 iterations whose held-out accuracy rises by `gain`, with samples of the last one.

  Args:
    tokens: generated in an iteration.
    launches: what differs from `LAUNCH` in each.
    config: what differs from `CONFIG`.
  """
  config = CONFIG | {"num_seeds": seeds} | (config or {})
  random = np.random.default_rng(len(path.name))
  with open_run(path, config, f"identity of {path.name}", {"name": path.name}) as directory:
    for changes in launches:
      append_launch(directory.manifest, LAUNCH | changes)
    writer = MetricsWriter(directory, tensorboard=False)
    shift = np.linspace(-0.02, 0.02, seeds)
    for i in range(ITERATIONS + 1):
      done = i / ITERATIONS
      if i:
        noise = random.normal(0, 0.01, seeds)
        writer.write(
          "train",
          i,
          {
            "reward": 0.3 + gain * done + noise,
            "response_length": 12 - 2 * done + noise,
            "entropy": 1.0 - 0.5 * done + noise,
            "generated_tokens": np.full(seeds, tokens * i),
          },
        )
      if i % 2 == 0:
        writer.write(
          "evaluation",
          i,
          {
            "held_out/sampled_accuracy": 0.3 + gain * np.sqrt(done) + shift,
            "credit/rank_correlation": gain * done + shift,
            "credit/unexplained": 1 - gain * done + shift,
          },
        )
    rows = [_sample(seed, prompt, credit) for seed in range(min(seeds, 2)) for prompt in ("1+2=", "7*3-2=")]
    write_samples(directory, rows)
    end = {"ended": "2026-03-01T10:05:00+00:00", "wall_seconds": 300.0, "iterations": ITERATIONS, "finished": True}
    end_launch(directory.manifest, end | {"content_sha256": content_sha256(directory)})
  return directory


def _sample(seed: int, prompt: str, credit: bool) -> dict[str, Any]:
  tokens = ["a", "3", "#", "3", "<end>"]
  sample = {"iteration": ITERATIONS, "seed": seed, "prompt": prompt, "response": "".join(tokens), "reward": 1.0}
  return sample | ({"tokens": tokens, "credit": [0.75, -0.25, 0.0, 0.5, -1.5]} if credit else {})
