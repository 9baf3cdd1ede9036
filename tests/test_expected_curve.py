"""A shorter run of the experiment behind `make train` follows its committed curve."""

import json
from pathlib import Path

import numpy as np
import pytest

from rl_jax.configuration import configs
from rl_jax.launching import launch
from rl_jax.runs.directory import find_run
from rl_jax.runs.metrics import read_metrics

ROOT = Path(__file__).parents[1]
METRIC = "held_out/sampled_accuracy"
# 512 held-out responses have a standard error of 0.02; the rest is for other platforms, whose rounding sends single
# responses, and so the path, another way.
TOLERANCE = 0.1
ITERATIONS = 20


@pytest.mark.slow  # a warm start of 600 updates and 20 iterations
def test_grpo_follows_the_committed_curve(tmp_path, monkeypatch):
  monkeypatch.chdir(ROOT)
  expected = json.loads((ROOT / "experiments/results/grpo.json").read_text())["curves"][METRIC]
  config = configs.resolve("experiments/grpo.py", ["num_seeds=1", f"num_iterations={ITERATIONS}"])
  launch.train(config, tmp_path / "grpo")

  lines = read_metrics(find_run(tmp_path / "grpo").metrics)
  seen = {line["iteration"]: line[METRIC][0] for line in lines if METRIC in line}
  wanted = dict(zip(expected["iterations"], expected["mean"], strict=True))
  assert sorted(seen) == [i for i in sorted(wanted) if i <= ITERATIONS]
  for iteration, value in seen.items():
    assert abs(value - wanted[iteration]) <= TOLERANCE, (iteration, value, wanted[iteration])
  rise = np.mean([wanted[i] for i in seen if i]) - wanted[0]
  assert rise > 2 * TOLERANCE, "a policy that learns nothing would pass"
