"""Checkpoints of older formats: a run cannot go on from one, but its models start others."""

from __future__ import annotations

import hashlib
import json

import jax
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.launching import initialization, launch
from rl_jax.training import manifests
from rl_jax.training.checkpoints import Checkpoints
from tests.training import saved, small

OPTIONS = ("num_seeds=1", "num_iterations=4", "logging.every_iterations=2")


@pytest.fixture(scope="module")
def config():
  return small.make_config(*OPTIONS)


@pytest.fixture
def run(config, tmp_path):
  """A run at iteration 2, and its state."""
  return tmp_path / "run", saved.save(config, tmp_path / "run")


def rewrite(run, *, format, checked=True):
  """The newest manifest in another format, with a checksum of its own as `manifests.write` makes it."""
  file = run / "checkpoints" / "2" / manifests.NAME
  content = json.loads(file.read_text())
  body = {**content["body"], "format": format}
  canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
  digest = hashlib.sha256(canonical).hexdigest() if checked else content["sha256"]
  file.write_text(json.dumps({"body": body, "sha256": digest}, sort_keys=True))


def test_a_run_of_an_older_version_does_not_go_on_and_is_told_what_can_be_done(run, config):
  folder, _ = run
  rewrite(folder, format=1)
  with pytest.raises(UserError) as refused:
    launch.train(config, folder)
  line = str(refused.value)
  assert line.startswith(f"checkpoint 2 in {(folder / 'checkpoints').absolute()} has format 1, written by rl_jax 0.1.0")
  assert "continue with that version, or start a new run from it (init_from)" in line and "\n" not in line


def test_its_policy_starts_another_run(run, tmp_path):
  folder, state = run
  rewrite(folder, format=1)
  experiment = initialization.build(small.make_config(*OPTIONS, f"init_from={folder}"))
  found = initialization.find(experiment, tmp_path / "other", lambda config, folder: pytest.fail("there is no stage"))
  assert found is not None and found.keys() == {"policy"} and not found["policy"].warnings
  small.assert_same(found["policy"].params, state.seeds.models["policy"].params)


def test_a_part_of_its_state_is_read(run):
  folder, state = run
  rewrite(folder, format=1)
  params = state.seeds.models["policy"].params
  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
  restored = Checkpoints(folder / "checkpoints").restore_subtree("seeds/models/policy/params", shapes)
  assert restored.step == 2
  small.assert_same(restored.state, params)


def test_the_format_of_this_version_goes_on(run, config, tmp_path):
  folder, state = run
  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)
  rewrite(folder, format=manifests.FORMAT)
  small.assert_same(Checkpoints(folder / "checkpoints").restore_latest(shapes).state, state)


@pytest.mark.parametrize("format, checked, fault", [
  (3, True, "format 3, this version reads format 2"), (1, False, "manifest.json checksum differs"),
])  # fmt: skip
def test_an_unknown_format_and_an_edited_manifest_are_damage(run, config, format, checked, fault):
  folder, _ = run
  rewrite(folder, format=format, checked=checked)
  with pytest.raises(UserError, match=f"every checkpoint .* is damaged .*{fault}"):
    launch.train(config, folder)


def test_formats_are_numbered_up(config):
  assert manifests.FORMAT not in manifests.OLDER and max(manifests.OLDER) == manifests.FORMAT - 1
  assert np.all([name.startswith("rl_jax ") for name in manifests.OLDER.values()])
