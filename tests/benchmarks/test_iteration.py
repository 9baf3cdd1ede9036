"""The benchmark `iteration` beside peers: its table, and mistakes of `--peer`, with scripts that stand in for peers."""

from __future__ import annotations

import json
import re
import sys
import time

import pytest

from rl_jax import benchmark
from rl_jax.benchmarks import peer_process
from rl_jax.errors import UserError

SMALL = [
  *("--repeats=1", "--config.model.width=8", "--config.model.layers=1", "--config.model.heads=2"),
  *("--config.model.key_value_heads=1", "--config.model.head_width=4", "--config.model.feed_forward=16"),
  *("--config.prompts_per_iteration=2", "--config.completions_per_prompt=3", "--config.task.prompt_tokens=4"),
  "--config.task.response_tokens=5",
]
SIZES = {
  "width": 8, "layers": 1, "heads": 2, "key_value_heads": 1, "head_width": 4, "feed_forward": 16, "vocabulary": 64,
  "prompts": 2, "completions": 3, "prompt_tokens": 4, "new_tokens": 5,
}  # fmt: skip

# Says as its version what it was given, and that every iteration took 100 seconds.
PEER = """
import json, sys
print(json.dumps({"peer": " ".join(sys.argv[1:])}), flush=True)
for line in sys.stdin:
  print(json.dumps({"seconds": 100.0}), flush=True)
"""


@pytest.fixture
def python(tmp_path):
  """Makes a Python that runs a script of ours in place of the one it is given."""

  def make(name, source):
    script, program = tmp_path / f"{name}.py", tmp_path / name
    script.write_text(source)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')
    program.chmod(0o755)
    return str(program)

  return make


@pytest.fixture(autouse=True)
def rate(monkeypatch):
  monkeypatch.setattr("rl_jax.benchmarks.iteration.matmul_rate", lambda: 1e9)


def command(capsys, *argv):
  status = benchmark.main([*map(str, argv)])
  out, err = capsys.readouterr()
  return status, out, err


def test_the_table_has_a_line_for_each_peer(python, capsys):
  program = python("peer", PEER)
  status, out, err = command(capsys, "iteration", f"--peer=tunix={program}", f"--peer=trl={program}", *SMALL)
  assert status == 0, err
  *_, ours, _, _, head, tunix, trl = out.splitlines()
  assert head.split()[:3] == ["peer", "seconds", "ratio"]
  for line, name in ((tunix, "tunix"), (trl, "trl")):
    found = re.fullmatch(rf"{name} +100\.000 +([\d.]+)  {name}_iteration\.py (.*)", line)
    assert found, line
    assert float(found[1]) == pytest.approx(100 / float(ours.split()[1]), rel=0.5)
    assert json.loads(found[2]) == SIZES


HELLO = "import json; print(json.dumps({'peer': 'a peer'}), flush=True)"


@pytest.mark.parametrize(
  ("source", "expected"),
  [
    ("raise ImportError('no tunix')", "failed: ImportError: no tunix"),
    ("print('Python 3')", "failed: it printed 'Python 3', no answer"),
    ("print(7)", "failed: it printed '7', no answer"),
    (HELLO, "failed: it ended without a word"),
    (f"{HELLO}; input(); raise ValueError('bad sizes')", "failed: ValueError: bad sizes"),
  ],
)
def test_a_peer_that_fails_is_one_line(source, expected, python):
  program = python("peer", source)
  with pytest.raises(UserError) as error, peer_process.conversation("tunix", "tunix_iteration.py", program) as (_, ask):
    time.sleep(0.5)  # one that ends by itself has then ended: the request finds nobody
    ask()
  assert str(error.value) == f"--peer=tunix={program} {expected}"


@pytest.mark.parametrize(
  ("arguments", "expected"),
  [
    (["iteration", "--peer=tunix=/nowhere/python"], "--peer=tunix=/nowhere/python does not run: No such file"),
    (["iteration", "--peer=/a/python"], "--peer=/a/python: write --peer=tunix=PYTHON or --peer=trl=PYTHON"),
    (["iteration", "--peer=verl=/a/python"], "--peer=verl=/a/python: write --peer=tunix=PYTHON or --peer=trl=PYTHON"),
    (["iteration", "--peer=tunix="], "--peer=tunix=: write --peer=tunix=PYTHON or --peer=trl=PYTHON"),
    (["iteration", "--peer=trl=a", "--peer=trl=b"], "--peer=trl=b: trl is given twice"),
    (["iteration", "--peer=trl=a", "--config.epochs=2"], "overrides may only change sizes: leave out --config.epochs"),
    (["seeds", "--peer=trl=a"], "--peer=trl=a: seeds has no peers"),
  ],
)
def test_mistakes_are_one_line(arguments, expected, capsys):
  status, out, err = command(capsys, *arguments)
  (line,) = err.splitlines()
  assert status == 1 and not out and line.startswith("rl_jax.benchmark: ") and expected in line, err


def test_a_python_is_found_from_here(python, tmp_path, monkeypatch):
  """A relative path counts from the caller's folder, though the peer runs in another one."""
  python("peer", PEER)
  monkeypatch.chdir(tmp_path)
  with peer_process.conversation("tunix", "tunix_iteration.py", "./peer", "x") as (about, ask):
    assert about == "tunix_iteration.py x" and ask() == {"seconds": 100.0}
