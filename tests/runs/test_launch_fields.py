"""Launches in manifest.json: whatever field is missing or of another type, the error is one line that names it."""

from __future__ import annotations

import json

import pytest

from rl_jax.errors import UserError
from rl_jax.runs import launch_fields
from rl_jax.runs.launch_fields import check_launch, check_origin
from rl_jax.runs.launch_history import lost_launches, saved_iterations
from rl_jax.runs.manifest import append_launch, end_launch, manifest, read_launches

HASH = "0" * 64
EXTRA = {
  "identity": HASH, "method_sha256": HASH, "papers": ["2402.03300"], "data_fingerprint": "", "guessing_floor": None,
  "parameters": {"policy": 3}, "settings": {"jax_enable_x64": False}, "processes": 1, "resumed_from": 0,
  "started_from": "runs/a", "start_sha256": HASH, "models_started_from": {"critic": ["runs/b", HASH]},
  "files": {"config.json": HASH},
}  # fmt: skip
END = {
  "ended": "2026-03-01T10:05:00+00:00", "wall_seconds": 3.5, "iterations": 4, "finished": True, "content_sha256": HASH,
  "checkpoints": {"4": HASH}, "log": {"timings.jsonl": [80, HASH]},
}  # fmt: skip
LAUNCH = manifest(["python", "-m", "rl_jax.train"], "cpu x1", extra=EXTRA) | {"end": END}
"""A launch with all fields that there are."""

WRONG = ("x", -1, 1.5, True, None, [], [1], {}, {"a": 1}, {"04": HASH}, {"critic": ["runs/b"]})
"""Values of which each is of another type than some field."""


def test_all_fields_are_known():
  assert LAUNCH.keys() == launch_fields._LAUNCH.keys() and END.keys() == launch_fields._END.keys()
  check_launch(LAUNCH, "here")


@pytest.mark.parametrize("field", [*launch_fields._LAUNCH, *(f"end.{name}" for name in launch_fields._END)])
def test_a_field_that_is_missing_or_of_another_type_is_named(field, tmp_path):
  path = tmp_path / "manifest.json"
  name = field.removeprefix("end.")
  where = f"{path}, launch 2" + (", end" if field != name else "")

  def changed(change) -> str:
    """What is said of a manifest whose second launch is changed; "" where it is read."""
    launch = json.loads(json.dumps(LAUNCH))
    change(launch["end"] if field != name else launch)
    path.write_text(json.dumps({"format": 1, "launches": [LAUNCH, launch]}))
    try:
      read_launches(path)
    except UserError as error:
      return str(error)
    return ""

  required = name in (launch_fields._EVERY_END_HAS if field != name else launch_fields._EVERY_LAUNCH_HAS)
  missing = f"{where} has no field {name!r}: restore the file from a copy" if required else ""
  assert changed(lambda fields: fields.pop(name)) == missing
  for wrong in WRONG:
    said = changed(lambda fields, wrong=wrong: fields.update({name: wrong}))
    kind = (launch_fields._END if field != name else launch_fields._LAUNCH)[name]
    if kind.fits(wrong):
      continue
    assert said == f"{where}, {name!r}: want {kind.name}, got {wrong!r:.60}: restore the file from a copy"
  assert not all(kind.fits(wrong) for wrong in WRONG)


@pytest.mark.parametrize("launch", [None, 1, "x", []])
def test_a_launch_or_an_end_that_is_no_object_is_one_line(launch):
  with pytest.raises(UserError, match="here is not a JSON object"):
    check_launch(launch, "here")
  with pytest.raises(UserError, match="here, 'end': want a value by name"):
    check_launch(LAUNCH | {"end": launch}, "here")


def test_a_committed_result_may_lack_fields_and_have_null():
  check_origin({"command": ["python"], "packages": None, "curves": 1}, "curve.json")
  with pytest.raises(UserError, match="curve.json, 'command': want a list, each text, got 'python'"):
    check_origin({"command": "python"}, "curve.json")


def test_what_launches_write_is_read(tmp_path):
  path = tmp_path / "manifest.json"
  append_launch(path, manifest([], "cpu"))
  end_launch(path, END)
  assert read_launches(path)[0]["end"] == END


def launch(began: int | None, ended: int | None) -> dict:
  """An entry; None where it does not say."""
  began_fields = {} if began is None else {"resumed_from": began}
  return began_fields if ended is None else began_fields | {"end": {"iterations": ended}}


@pytest.mark.parametrize("launches, lost", [
  ([launch(0, 4), launch(4, None), launch(6, 8)], []),
  ([launch(0, 4), launch(2, 8)], []),
  ([launch(None, 4), launch(None, 8)], []),
  ([launch(4, 8)], ["manifest.json lacks the launches before iteration 4, where its first entry begins"]),
  ([launch(0, 4), launch(6, 8)], [
    "manifest.json lacks a launch between 1, which ended at iteration 4, and 2, which began at 6"
  ]),
  ([], ["manifest.json names no launch: the run's history is lost"]),
])  # fmt: skip
def test_launches_that_are_lost_are_noticed(launches, lost):
  assert lost_launches(launches, 8) == lost
  assert not lost_launches([], 0)


def test_what_has_been_saved_is_what_launches_began_and_ended_with():
  assert saved_iterations([]) == saved_iterations([launch(0, None)]) == saved_iterations([launch(None, 0)]) == 0
  assert saved_iterations([launch(0, None), launch(4, None)]) == saved_iterations([launch(0, 4)]) == 4
