"""Every loss, correction and estimator of the other trainers trains a real model: two iterations of SmolLM2-135M."""

from __future__ import annotations

import numpy as np
import pytest

from rl_jax.configuration import configs
from rl_jax.kernels.losses.off_policy import PRESETS
from rl_jax.launching import launch
from rl_jax.methods._clips import CLIPS
from rl_jax.models import pretrained_files
from rl_jax.models.errors import ModelFileError
from rl_jax.runs.directory import find_run
from rl_jax.runs.metrics import read_metrics
from tests.launching.test_launch import quiet

ESTIMATORS = {
  "gpg": (),
  "maxrl": (),
  "opo": (),
  "optimal_token_baseline": (),
  "passk": ("method.k=2",),
  "rae": (),
  "reinforce_pp": (),
}
"""Methods with options that suit four answers to a prompt."""
WIDE = {"geometric_rs": ("method.rejection_bounds=(0.9,1.1)",), "k3_rs": ("method.rejection_bounds=(0.0,1.0)",)}
"""Bounds for a policy that is a step old: the trainers', for one that differs in its rounding, reject all of it."""
CASES = {
  **{f"clip={clip}": ("grpo", f"method.clip={clip}") for clip in CLIPS},
  "GSPO": ("grpo", "method.ratio=sequence", "method.clip_low=3e-4", "method.clip_high=4e-4"),
  "LUSPO": ("grpo", "method.ratio=sequence", "method.aggregation=sequence_mean_token_sum"),
  **{
    f"correction={name}": ("grpo", "method.old_logprobs=trainer", f"method.correction={name}", *WIDE.get(name, ()))
    for name in PRESETS
  },
  "off_policy_mask": ("grpo", "method.old_logprobs=trainer", "method.off_policy_threshold=0.5"),
  **{name: (name, *options) for name, options in ESTIMATORS.items()},
}
SETTINGS = (
  "prompts_per_iteration=4",
  "learning_rate=1e-5",
  "optimizer.warmup_updates=0",
  "staleness=1",  # the second iteration's responses are those of the policy before the first
  "evaluation.every_iterations=0",
  "checkpoint.every_iterations=0",
  "logging.tensorboard=False",
  "logging.report=False",
  "logging.samples=0",
)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_iterations_move_the_model_and_every_number_is_finite(case, tmp_path):
  pytest.importorskip("reasoning_gym")
  method, *options = CASES[case]
  config = configs.resolve("smollm2_grpo:smoke", [*SETTINGS, f"method.name=rl_jax.methods.{method}", *options])
  try:
    pretrained_files.open_source(config.model.checkpoint)
  except ModelFileError as error:
    pytest.skip(str(error))
  assert launch.train(config, tmp_path / "run", quiet()).finished
  trained = [line for line in read_metrics(find_run(tmp_path / "run").metrics) if "gradient_norm" in line]
  assert len(trained) == 2
  for line in trained:
    assert line["gradient_norm"][0] > 0 and line["update_norm"][0] > 0 and line["skipped_updates"] == [0]
    assert all(np.isfinite(value).all() for name, value in line.items() if name.startswith(("loss/", "kl_", "clip_")))
  if case.startswith("correction="):
    assert trained[0]["kl_to_behaviour"][0] < 1e-9 < trained[1]["kl_to_behaviour"][0]
