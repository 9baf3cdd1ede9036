"""The mesh changes where numbers lie, not the numbers. Eight devices of a CPU, in processes of their own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from rl_jax.training import mesh
from tests import commands, compilation

REFUSED = [
  (["mesh.data=16"], "mesh: data=16, fsdp=1, tensor=1 does not fit 8 devices"),
  (["mesh.fsdp=3"], "mesh: data=-1, fsdp=3, tensor=1 does not fit 8 devices"),
  (["mesh.fsdp=-1"], "mesh: data=-1, fsdp=-1, tensor=1: sizes are positive, and at most one is -1"),
  (["prompts_per_iteration=3"], "rows of an iteration (12) is not a multiple of the mesh's shards of rows (8): change"),
  (["minibatches_per_epoch=2"], "rows of a minibatch (4) is not a multiple of the mesh's shards of rows (8)"),
  (["mesh.rules.widht=fsdp"], "mesh rules: there is no logical axis 'widht' (known: batch, time,"),
  (["mesh.rollout_rules.width=fdsp"], "mesh rules: width='fdsp': name axes of the mesh (data, fsdp, tensor), each"),
  (["rows_per_microbatch=4"], "rows_per_microbatch (4) is not a multiple of the mesh's shards of rows (8)"),
]


SHAPES = ((2, 2, 2),)
"""All three axes at once."""
OTHER_SHAPES = ((8, 1, 1), (1, 8, 1), (1, 1, 8), (4, 2, 1), (4, 1, 2), (2, 4, 1), (2, 1, 4), (1, 4, 2), (1, 2, 4))
"""With those above all that 8 devices can have."""
WITHOUT_LOGITS = (1, 1, 8)
"""Along tensor lies a vocabulary that 8 devices do not divide evenly."""


def _run(what: list[str], cache, tmp_path_factory) -> dict[tuple[str, str], dict]:
  command = [sys.executable, "-m", "tests.training.on_eight_devices", *what]
  env = commands.environment(cache, XLA_FLAGS=compilation.devices(8))

  def make(folder):
    done = subprocess.run(command, cwd=commands.ROOT, env=env, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-4000:]
    (folder / "out.jsonl").write_text(done.stdout)

  name = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:8]
  written = (commands.once(tmp_path_factory, f"mesh_{name}", make) / "out.jsonl").read_text()
  lines = map(json.loads, written.splitlines())
  return {(line["kind"], json.dumps(line["shape"])): line["found"] for line in lines}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
  return commands.shared_cache(tmp_path_factory)


@pytest.fixture(scope="module")
def learned(cache, tmp_path_factory):
  wanted = [("learn", shape) for shape in SHAPES] + [("without_logits", WITHOUT_LOGITS), ("shared", (2, 2, 2))]
  return _run(["learn", json.dumps(wanted)], cache, tmp_path_factory)


@pytest.fixture(scope="module")
def learned_elsewhere(cache, tmp_path_factory):
  wanted = [("learn", shape) for shape in OTHER_SHAPES] + [("without_logits", (2, 2, 2))]
  wanted += [(kind, (2, 2, 2)) for kind in ("packed", "trees")]
  wanted += [(kind, (1, 1, 1)) for kind in ("packed_alone", "trees_alone")]
  wanted += [(kind, shape) for kind in ("levels", "branches") for shape in ((1, 1, 1), (2, 2, 2))]
  return _run(["learn", json.dumps(wanted)], cache, tmp_path_factory)


@pytest.fixture(scope="module")
def iterated(cache, tmp_path_factory):
  return _run(["whole", json.dumps([overrides for overrides, _ in REFUSED])], cache, tmp_path_factory)


def assert_close(found: dict, expected: dict, tolerance: float) -> None:
  """|a - b| <= tolerance max(1, |b|)."""
  assert found.keys() == expected.keys()
  for name, values in expected.items():
    np.testing.assert_allclose(found[name], values, rtol=tolerance, atol=tolerance, err_msg=name)


def assert_those_of_one_device(learned, shapes) -> None:
  """Losses and metrics to 1e-6, moments (the gradients) to 1e-6, parameters after the update to 1e-5."""
  one = learned["learn", "[1, 1, 1]"]
  assert any("loss" in name for name in one["metrics"]) and one["metrics"]["gradient_norm"] > 0.01
  for shape in shapes:
    found = learned["learn", json.dumps(shape)]
    # A difference of two sums that are equal up to rounding, whose bound is the one of the first iteration.
    assert found["metrics"].pop("ratio_error") < 1e-5
    assert_close(found["metrics"], {k: v for k, v in one["metrics"].items() if k != "ratio_error"}, 1e-6)
    assert_close(found["moments"], one["moments"], 1e-6)
    assert_close(found["params"], one["params"], 1e-5)


def test_losses_gradients_and_parameters_on_fixed_tokens_are_those_of_one_device(learned):
  assert_those_of_one_device(learned, SHAPES)


@pytest.mark.slow
def test_they_are_on_every_other_shape(learned_elsewhere):
  assert_those_of_one_device(learned_elsewhere, OTHER_SHAPES)
  assert_logprobs_without_logits_are_those_of_one_device(learned_elsewhere, (2, 2, 2))


def test_logprobs_without_logits_are_those_of_one_device(learned):
  assert_logprobs_without_logits_are_those_of_one_device(learned, WITHOUT_LOGITS)


def test_what_rows_share_gives_what_rows_alone_give_on_one_device(learned):
  """Four shards of a group each."""
  assert_shared_is_alone(learned, "learn", "shared")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["packed", "trees"])
def test_packed_responses_and_trees_give_what_rows_alone_give_on_one_device(learned_elsewhere, kind):
  assert_shared_is_alone(learned_elsewhere, f"{kind}_alone", kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["levels", "branches"])
def test_texts_that_go_on_from_others_are_those_of_one_device(learned_elsewhere, kind):
  """Stems of a group, or of a row, lie on the devices of its rows."""
  one, found = learned_elsewhere[kind, "[1, 1, 1]"], learned_elsewhere[kind, "[2, 2, 2]"]
  assert found["tokens"] == one["tokens"] and len(one["logprobs"]) > len(one["tokens"]) >= 16
  np.testing.assert_allclose(found["logprobs"], one["logprobs"], atol=1e-5)


def assert_shared_is_alone(learned, alone, shared) -> None:
  one, found = learned[alone, "[1, 1, 1]"], learned[shared, "[2, 2, 2]"]
  assert found["metrics"].pop("ratio_error") < 1e-5
  assert_close(found["metrics"], {k: v for k, v in one["metrics"].items() if k != "ratio_error"}, 1e-5)
  assert_close(found["moments"], one["moments"], 1e-5)
  assert_close(found["params"], one["params"], 1e-5)


def assert_logprobs_without_logits_are_those_of_one_device(learned, shape) -> None:
  one, found = learned["learn", "[1, 1, 1]"], learned["without_logits", json.dumps(shape)]
  assert found["metrics"].pop("ratio_error") < 1e-5
  assert_close(found["metrics"], {k: v for k, v in one["metrics"].items() if k != "ratio_error"}, 1e-5)
  assert_close(found["moments"], one["moments"], 1e-6)
  assert_close(found["params"], one["params"], 1e-5)


def test_parameters_moments_and_rows_are_split_over_the_mesh(learned):
  """Width over fsdp, heads, feed-forward and vocabulary over tensor, rows over data and fsdp."""
  assert_split(learned, {"[1, 1, 1]": ([1, 16, 16], 16), "[2, 2, 2]": ([1, 8, 8], 4)})


@pytest.mark.slow
def test_they_are_split_along_single_axes(learned_elsewhere):
  shapes = {"[8, 1, 1]": ([1, 16, 16], 2), "[1, 8, 1]": ([1, 2, 16], 2), "[1, 1, 8]": ([1, 16, 2], 16)}
  assert_split(learned_elsewhere, shapes)


def assert_split(learned, expected) -> None:
  gate = "['policy']['layer_0']['feed_forward']['gate']"  # [seed, 16, 16]
  query = "['critic']['layer_0']['attention']['query']"
  for shape, (weights, rows) in expected.items():
    found = learned["learn", shape]
    assert found["layout"][gate] == found["layout"][query] == weights, shape
    moments = [part for name, part in found["moments_layout"].items() if name.endswith("['gate']")]
    assert moments == [weights, weights], shape
    assert found["rows"][1] == rows, shape


def test_whole_iterations_sample_the_same_tokens(iterated):
  """A token may differ only after a near-tie; with these seeds none does. Then metrics agree to 1e-4."""
  one = iterated["iterate", "[1, 1, 1]"]
  found = iterated["iterate", "[2, 2, 2]"]
  for here, there in zip(found["tokens"], one["tokens"], strict=True):
    differing = sum(a != b for a, b in zip(here, there, strict=True))
    assert len(here) == 16 and differing == 0, f"{differing} of {len(here)} rows differ"
  for here, there in zip(found["metrics"], one["metrics"], strict=True):
    assert there["gradient_norm"] > 0
    assert_close(here, there, 1e-4)


def test_a_checkpoint_of_one_mesh_is_restored_on_another_bit_for_bit(iterated):
  """What two iterations have moved."""
  sharded = iterated["restore", "[[2, 2, 2], [2, 2, 2]]"]
  drawn = iterated["iterate", "[2, 2, 2]"]["before"]
  assert sharded.keys() == drawn.keys() and not [name for name in drawn if sharded[name] == drawn[name]]
  assert iterated["restore", "[[2, 2, 2], [1, 1, 1]]"] == sharded
  assert_close(iterated["restore", "[[1, 1, 1], [2, 2, 2]]"], sharded, 1e-4)


def test_generation_has_a_layout_of_its_own_and_samples_the_same_tokens(iterated):
  """Split 8 ways in updates, whole in generation; what a rollout samples is what it samples without."""
  found = iterated["generate", "[1, 8, 1]"]
  gate = "['layer_0']['feed_forward']['gate']"
  assert (found["trained"][gate], found["generating"][gate]) == ([1, 2, 16], [1, 16, 16])
  assert found["tokens"]["anew"] == found["tokens"]["as trained"]
  # All parameters once and little else (row-sized sums), instead of their share or their sums at every token.
  assert found["sent"]["anew"] <= 1.25 * found["held"] < found["sent"]["as trained"], (found["sent"], found["held"])


def test_rules_change_rows_of_one_table():
  changed = dict(mesh.rules({"width": "", "heads": "fsdp, tensor"}, {"heads": "data"}))
  assert changed == dict(mesh.RULES) | {"width": None, "heads": "data"}


@pytest.mark.parametrize("overrides, expected", REFUSED)
def test_sizes_that_do_not_go_together_are_named(overrides, expected, iterated):
  """In one line, and before the warm start, which takes its time, is trained."""
  status, told, made = iterated["refused", json.dumps(overrides)]
  (line,) = told.splitlines()
  assert status == 1 and line.startswith(f"rl_jax.train: {expected}"), told
  assert "stages" not in made
