"""All methods of the package, found by listing: each goes on from a checkpoint exactly, and is the same on any mesh."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from rl_jax.training.checkpoints import Checkpoints
from tests import commands, compilation
from tests.training import every_method, small
from tests.training.every_method import METHODS

pytestmark = [pytest.mark.slow, pytest.mark.integration]

RESUMED = (
  "logging.every_iterations=2",
  "epochs=2",
  "minibatches_per_epoch=2",
  "optimizer.parameter_average=0.9",
  "optimizer.schedule=cosine",
)
"""Whatever a state holds is at work: keys of passes, averages, the step of a schedule."""


def test_the_methods_are_found():
  assert {"grpo", "ppo", "prime", "spo_tree", "tppo", "igpo", "oracle", "supervised"} <= set(METHODS)
  assert not {"method", "policy_gradient"} & set(METHODS)


def built(name: str):
  """All parts anew, as another process would make them."""
  return every_method.trainer_of(every_method.built(every_method.config_of(name, *RESUMED)))


@pytest.mark.parametrize("name", METHODS)
def test_four_iterations_are_two_a_checkpoint_and_two_bit_for_bit(name, tmp_path):
  straight = built(name)
  drawn = small.leaves(straight.state.seeds.models)
  straight.advance()
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(2, straight.state, {})
  last = straight.advance()

  resumed = built(name)
  restored = Checkpoints(tmp_path).restore_latest(resumed.abstract_state)
  assert restored is not None and restored.step == 2
  resumed.state = restored.state
  again = resumed.advance()

  assert resumed.iterations == straight.iterations == 4
  small.assert_same(resumed.state, straight.state)
  small.assert_same(again.metrics, last.metrics)
  assert again.samples == last.samples
  at_end, roles = small.leaves(straight.state.seeds.models), straight.experiment.method.models
  learner = "policy" if roles["policy"].trained else next(role for role in roles if roles[role].trained)
  # A stage may train a part of its model.
  trained = straight.experiment.models[learner].trained(straight.state.seeds.models[learner].params)
  seen = small.leaves(trained).keys() - set(every_method.UNSEEN.get(name, ()))
  own = [f"['{learner}'].params{path}" for path in seen]
  still = [name for name in own if drawn[name].tobytes() == at_end[name].tobytes()]
  assert not still, "all parameters of the policy, or of what a stage trains beside it, have moved"


@pytest.fixture(scope="module")
def on_meshes(tmp_path_factory):
  """What one iteration of every method is, by method and shape of the mesh."""
  cases = json.dumps([[name, []] for name in METHODS])
  env = commands.environment(commands.shared_cache(tmp_path_factory), XLA_FLAGS=compilation.devices(8))

  def make(folder):
    command = [sys.executable, "-m", "tests.training.iterations_on_eight_devices", cases]
    done = subprocess.run(command, cwd=commands.ROOT, env=env, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stderr[-4000:]
    (folder / "out.jsonl").write_text(done.stdout)

  written = (commands.once(tmp_path_factory, "every_method", make) / "out.jsonl").read_text()
  lines = map(json.loads, written.splitlines())
  return {(line["case"], tuple(line["shape"])): line["found"] for line in lines}


def assert_close(found: dict, expected: dict, tolerance: float) -> None:
  """|a - b| <= tolerance max(1, |b|)."""
  assert found.keys() == expected.keys()
  for name, values in expected.items():
    np.testing.assert_allclose(found[name], values, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("name", METHODS)
def test_an_iteration_on_eight_devices_is_that_of_one(name, on_meshes):
  """The same tokens in all rows; metrics to 1e-4 and parameters to 1e-5, as whole iterations and updates in
  test_mesh.py."""
  one, found = on_meshes[name, (1, 1, 1)], on_meshes[name, (2, 2, 2)]
  gate = "['policy']['layer_0']['feed_forward']['gate']"
  assert (one["split"][gate], found["split"][gate]) == ([1, 16, 16], [1, 8, 8])
  assert found["tokens"] == one["tokens"]
  assert found["before"] == one["before"] != one["after"]
  assert_close(found["metrics"], one["metrics"], 1e-4)
  assert_close(found["after"], one["after"], 1e-5)
