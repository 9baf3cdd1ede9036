"""Metrics, timings and samples: exact round trip, cuts, kills, full disks."""

import json
import math
import os
import struct

import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.runs import json_lines
from rl_jax.runs.directory import open_run
from rl_jax.runs.metrics import MetricsWriter, read_metrics, read_timings
from rl_jax.runs.samples import printable, read_samples, show, write_samples


@pytest.fixture
def run(tmp_path):
  with open_run(tmp_path / "run", {}, "a", {}) as directory:
    yield directory


def _strict(text):
  def refuse(name):
    raise ValueError(name)

  return json.loads(text, parse_constant=refuse)


def _sample(iteration, **more):
  return {"iteration": iteration, "seed": 0, "prompt": "1+1=", "response": "2#", "reward": 1.0, **more}


def test_line_by_hand(run):
  MetricsWriter(run, tensorboard=False).write("train", 4, {"reward": [0.5, 0.1], "skipped": np.array([0, 3])})
  expected = '{"kind": "train", "iteration": 4, "reward": [0.5, 0.1], "skipped": [0, 3]}\n'
  assert run.metrics.read_text() == expected


def test_every_bit_comes_back(run):
  bits = np.random.default_rng(0).integers(0, 2**64, 4000, dtype=np.uint64)
  values = [x for x in bits.view(np.float64) if math.isfinite(x)]
  values += [
    0.0,
    -0.0,
    5e-324,
    1.7976931348623157e308,
    float(np.float32(0.1)),
    0.1 + 0.2,
    math.inf,
    -math.inf,
    math.nan,
  ]
  writer = MetricsWriter(run, tensorboard=False)
  writer.write("train", 1, {"x": values})
  single = np.resize(np.array([0.1, 1e-8], np.float32), len(values))
  writer.write("train", 2, {"x": single})
  for line in run.metrics.read_text().splitlines():
    _strict(line)
  first, second = read_metrics(run.metrics)
  assert [struct.pack("d", x) for x in first["x"][:-1]] == [struct.pack("d", x) for x in values[:-1]]
  assert math.isnan(first["x"][-1])
  assert np.array_equal(np.array(second["x"], np.float32), single)


def test_bad_values_are_refused_and_nothing_is_written(run):
  writer = MetricsWriter(run, tensorboard=False)
  for values, message in (
    ({"kind": [1.0]}, "cannot be named 'kind'"),
    ({"x": 1.0}, r"'x' needs a list with one number per seed, got shape \(\)"),
    ({"x": []}, "one number per seed"),
    ({"x": ["high"]}, "needs numbers"),
    ({"x": [1.0, 2.0], "y": [1.0]}, "got 1 for 'y' and 2 for 'x' at iteration 1"),
  ):
    with pytest.raises(UserError, match=message):
      writer.write("train", 1, values)
  assert not run.metrics.exists()


def _filled(run):
  writer = MetricsWriter(run, tensorboard=False)
  for iteration in range(1, 6):
    writer.write("train", iteration, {"reward": [iteration / 7, math.nan]})
    if iteration % 2 == 0:
      writer.write("evaluation", iteration, {"held_out/sampled_accuracy": [0.1, 0.2]})
    writer.write_timings(iteration, {"seconds": 0.5})
    write_samples(run, [_sample(iteration), _sample(iteration)])
  return writer


@pytest.mark.parametrize("cut", range(7))
def test_every_cut(run, cut):
  writer = _filled(run)
  files = (run.metrics, run.timings, run.samples)
  whole = {path: path.read_bytes() for path in files}
  notes = writer.cut_after(cut)
  for path in files:
    lines = [line for line in whole[path].splitlines(keepends=True) if json.loads(line)["iteration"] <= cut]
    assert path.read_bytes() == b"".join(lines)
  assert len(notes) == (0 if cut >= 5 else 3)
  for iteration in range(cut + 1, 6):  # going on gives the file of the straight run
    writer.write("train", iteration, {"reward": [iteration / 7, math.nan]})
    if iteration % 2 == 0:
      writer.write("evaluation", iteration, {"held_out/sampled_accuracy": [0.1, 0.2]})
  assert run.metrics.read_bytes() == whole[run.metrics]


def test_every_torn_end(run):
  """A kill may leave any beginning of the last line."""
  writer = _filled(run)
  whole = run.metrics.read_bytes()
  before = whole[: whole[:-1].rindex(b"\n") + 1]
  for size in range(len(before), len(whole)):
    run.metrics.write_bytes(whole[:size])
    complete = size == len(whole) - 1  # only the line's end is missing: the record is whole
    assert len(read_metrics(run.metrics)) == 7 - (not complete)
    notes = writer.cut_after(99)
    assert run.metrics.read_bytes() == (whole if complete else before)
    torn = size > len(before) and not complete
    assert notes == (["metrics.jsonl: dropped 1 unfinished line"] if torn else [])
    run.metrics.write_bytes(whole[:size])
    writer.write("train", 6, {"reward": [1.0, 1.0]})  # also without a cut, no line is glued to another
    assert [line["iteration"] for line in read_metrics(run.metrics)][-2:] == [5 if complete else 4, 6]


def test_torn_end_and_later_lines_together(run):
  writer = _filled(run)
  with run.metrics.open("ab") as file:
    file.write(b'{"kind": "tr')
  assert writer.cut_after(4)[0] == "metrics.jsonl: dropped 1 line after iteration 4 and 1 unfinished line"


def test_zeros_after_a_power_cut(run):
  writer = _filled(run)
  whole = run.metrics.read_bytes()
  run.metrics.write_bytes(whole + b"\0" * 50)
  assert len(read_metrics(run.metrics)) == 7
  writer.cut_after(5)
  assert run.metrics.read_bytes() == whole


def test_damage_before_a_kept_line_is_an_error(run):
  writer = _filled(run)
  lines = run.metrics.read_bytes().splitlines(keepends=True)
  run.metrics.write_bytes(b"".join([lines[0], b"gibberish\n", *lines[2:]]))
  with pytest.raises(UserError, match="metrics.jsonl, line 2 is not a JSON object with an iteration"):
    read_metrics(run.metrics)
  with pytest.raises(UserError, match="line 2"):
    writer.cut_after(4)
  assert writer.cut_after(1)[0].startswith("metrics.jsonl: dropped")  # behind the cut nobody needs it


def test_full_disk_leaves_whole_lines(run, monkeypatch):
  writer = _filled(run)
  whole = run.metrics.read_bytes()
  real, calls = os.write, []

  def full(file, data):
    calls.append(1)
    if len(calls) > 1:
      raise OSError(28, "No space left on device")
    return real(file, data[:10])

  monkeypatch.setattr(os, "write", full)
  with pytest.raises(UserError, match="No space left on device"):
    writer.write("train", 6, {"reward": [1.0, 1.0]})
  assert run.metrics.read_bytes() == whole


def test_missing_files(run):
  writer = MetricsWriter(run)
  assert read_metrics(run.metrics) == [] and read_samples(run.samples) == []
  assert writer.cut_after(0) == []
  writer.sync()
  writer.close()
  assert json_lines.read(run.timings) == []


def test_timings(run):
  writer = MetricsWriter(run, tensorboard=False)
  writer.write_timings(3, {"rollout/tokens_per_second": 48200.0})
  (line,) = read_timings(run.timings)
  assert line["rollout/tokens_per_second"] == 48200.0 and line["wall_clock"] > 1.7e9 and not run.metrics.exists()
  with pytest.raises(UserError, match="cannot be named 'wall_clock'"):
    writer.write_timings(3, {"wall_clock": 1.0})


def _events(run):
  from tensorboardX import proto
  from tensorboardX.event_file_writer import EventFileWriter  # noqa: F401  loads the message types

  found, starts = {}, []
  for path in sorted(run.tensorboard.iterdir(), key=lambda path: path.name.rsplit(".", 1)[-1]):
    data = path.read_bytes()
    while data:
      (size,) = struct.unpack("<Q", data[:8])
      event = proto.event_pb2.Event.FromString(data[12 : 12 + size])
      data = data[16 + size :]
      if event.session_log.status == 1:
        starts.append(event.step)
      for value in event.summary.value:
        found[value.tag, event.step] = value.simple_value
  return found, starts


def test_tensorboard_mean_spread_and_purge(run):
  writer = MetricsWriter(run)
  writer.write("train", 1, {"reward": [1.0, 2.0, 6.0]})
  writer.write("train", 2, {"reward": [1.0, 1.0, 1.0]})
  assert writer.cut_after(1) == ["metrics.jsonl: dropped 1 line after iteration 1"]
  writer.write("train", 2, {"reward": [2.0, 2.0, 2.0]})
  writer.write("evaluation", 2, {"single": [0.5]})
  writer.close()
  found, starts = _events(run)
  assert found["train/reward", 1] == 3.0 and found["train/reward_spread", 1] == pytest.approx(math.sqrt(7))
  assert found["train/reward", 2] == 2.0 and found["evaluation/single", 2] == 0.5
  assert ("evaluation/single_spread", 2) not in found and starts == [2]


def test_samples_round_trip(run):
  strange = 'a"\\\n\x1b[31m\u2028é漢\ud800'
  samples = [
    _sample(1, response=strange, level="easy", reward=None, credit=[0.5, math.nan]),
    _sample(2, reward=np.float32(0.5), prompt="NaN"),
  ]
  write_samples(run, samples)
  write_samples(run, [])
  first, second = read_samples(run.samples)
  assert first["response"] == strange and first["reward"] is None and first["level"] == "easy"
  assert first["credit"][0] == 0.5 and math.isnan(first["credit"][1])
  assert second["reward"] == 0.5 and second["prompt"] == "NaN"
  with pytest.raises(UserError, match="got none for response, reward"):
    write_samples(run, [{"iteration": 1, "seed": 0, "prompt": ""}])


def test_show():
  assert printable("a\n\x1b[31m é") == "a\\n\\x1b[31m é"
  by_token = {"tokens": ["2", "#"], "credit": [0.5, 0.5]}
  text = show([_sample(3, level="easy", **by_token), _sample(4, reward=None, response="ab " * 40)], width=60)
  head = (
    "iteration 3, seed 0, reward 1, level easy\n  prompt    1+1=\n  response  2#\niteration 4, seed 0, reward unscored"
  )
  assert text.startswith(head) and max(map(len, text.splitlines())) <= 60


NO_RECORD = " is not a JSON object with an iteration"
ODD_LINES = {
  "nested too deeply": ("metrics", "[" * 100_000, f"{NO_RECORD}: restore the file, or remove that line"),
  "iteration of no array": ("metrics", '{"kind": "train", "iteration": 9223372036854775808}', NO_RECORD),
  "iteration before the start": ("metrics", '{"kind": "train", "iteration": -1}', NO_RECORD),
  "kind is no text": ("timings", '{"kind": [1], "iteration": 5}', " has no kind: restore the file from a copy"),
  "timing is text": (
    "timings", '{"kind": "timings", "iteration": 5, "seconds": "x"}', ", 'seconds': want a number, got 'x': restore"
  ),
  "lists in lists": (
    "metrics", '{"kind": "train", "iteration": 5, "reward": [[0.0], [0.0]]}',
    ", 'reward': want a list of numbers, got [[0.0], [0.0]]: restore the file from a copy",
  ),
  "number of no float": (
    "metrics", f'{{"kind": "train", "iteration": 5, "x": [1{"0" * 400}, 0]}}', ", 'x': want a list of numbers, got [10"
  ),
  "seeds differ": (
    "metrics", '{"kind": "train", "iteration": 5, "reward": [0.0]}', ", 'reward': want a number for each of 2 seeds: "
  ),
}  # fmt: skip
"""By name: the file that gets a line, the line, and what is said of it."""


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", ODD_LINES)
def test_an_odd_line_is_one_error_that_names_file_and_line(run, name, last):
  kind, line, message = ODD_LINES[name]
  _filled(run)
  path, reader = (run.metrics, read_metrics) if kind == "metrics" else (run.timings, read_timings)
  lines = path.read_text().splitlines()
  lines.insert(len(lines) if last else 1, line)
  path.write_text("".join(f"{line}\n" for line in lines))
  with pytest.raises(UserError) as refused:
    reader(path)
  assert str(refused.value).startswith(f"{path}, line {len(lines) if last else 2}{message}")


@pytest.mark.parametrize("name, value, kind", [
  ("seed", [1], "a whole number from 0 on"), ("prompt", ["1"], "text"),
  ("reward", "high", "a number, which may be NaN"),
  ("credit", 5, "a list, each a number, which may be NaN"), ("tokens", [1], "a list, each text"),
])  # fmt: skip
def test_a_sample_with_a_field_of_another_type_is_one_error(run, name, value, kind):
  write_samples(run, [_sample(1), _sample(1, **{name: value})])
  with pytest.raises(UserError) as refused:
    read_samples(run.samples)
  assert str(refused.value).startswith(f"{run.samples}, line 2, '{name}': want {kind}")
