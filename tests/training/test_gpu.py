"""What the settings of a GPU in README promise; skipped where JAX sees no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from signal import SIGKILL

import pytest

from tests import commands

pytestmark = [pytest.mark.slow, pytest.mark.integration]

PLATFORM = "cuda"
DETERMINISTIC = {
  "JAX_PLATFORMS": PLATFORM,
  "XLA_FLAGS": "--xla_gpu_deterministic_ops=true",
  "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
  seen = subprocess.run(
    [sys.executable, "-c", f"import jax; jax.devices({PLATFORM!r})"],
    env=os.environ | {"JAX_PLATFORMS": PLATFORM},
    capture_output=True,
    check=False,
  )
  if seen.returncode:
    pytest.skip("needs a GPU and 'rl-jax[cuda]'")
  return commands.shared_cache(tmp_path_factory)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_with_deterministic_operations_a_run_that_is_cut_off_ends_as_one_that_is_not(dtype, cache, tmp_path):
  """Equal to the bit: states of the last checkpoint, metrics and samples."""
  env = commands.environment(cache, **DETERMINISTIC)
  options = (*commands.SMALL, "init_from=", "num_iterations=4", "logging.every_iterations=1", "model.remat=block")
  command = lambda name: commands.flags("experiments/ppo.py:smoke", tmp_path / name, *options, f"model.dtype={dtype}")
  whole = commands.train(command("whole"), cache, env=env)
  assert whole.returncode == 0, whole.stderr
  cut = commands.interrupted(command("run"), cache, "checkpoint", 2, SIGKILL, env=env)
  assert cut.returncode == -SIGKILL, cut.stderr
  rest = commands.train(command("run"), cache, env=env)
  assert rest.returncode == 0 and "resuming from iteration 2" in rest.stderr, rest.stderr
  commands.assert_same_end(tmp_path / "whole", tmp_path / "run")
