"""The notebooks: run on their smoke settings without Jupyter, and committed with small outputs that name no machine."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys

import pytest

from tests import byte_checkpoint
from tests.commands import ROOT, environment, shared_cache

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BYTES = 200_000
MACHINE = re.compile(r"(?<![\w./:~])/(?:root|home|Users|tmp|var|work|workspace|opt|mnt|private|usr)/|\b[A-Z]:\\")
"""Beginnings of absolute paths; `https://example.org/tmp/` is none."""


def cells_of(notebook, kind="code"):
  return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == kind]


def texts(cell):
  """What a reader sees of a cell: its source, what it printed, its results as text."""
  yield "".join(cell["source"])
  for output in cell.get("outputs", ()):
    yield "".join(output.get("text", ()))
    yield from ("".join(data) for kind, data in output.get("data", {}).items() if kind.startswith("text/"))


def test_there_are_five():
  names = {"dense_rewards", "explore_a_run", "from_reward_to_curve", "kernels_in_a_plain_loop", "your_own_advantage"}
  assert {path.stem for path in NOTEBOOKS} == names


SLOW = ("dense_rewards", "explore_a_run", "from_reward_to_curve", "your_own_advantage")
"""They train, the last with a method of its own; tests/methods has such a method too."""


@pytest.mark.parametrize(
  "notebook",
  [pytest.param(path, marks=[pytest.mark.slow] if path.stem in SLOW else [], id=path.stem) for path in NOTEBOOKS],
)
def test_it_runs_on_its_smoke_settings(notebook, tmp_path, tmp_path_factory):
  """All cells as one program, in an empty folder. Jupyter is not needed, so no cell may use its magics."""
  program = tmp_path / "notebook.py"
  program.write_text("\n\n".join("".join(cell["source"]) for cell in cells_of(notebook)))
  settings = {"RL_JAX_NOTEBOOK": "smoke", "TMPDIR": str(tmp_path), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
  if "RL_JAX_NOTEBOOK_MODEL" in program.read_text():
    byte_checkpoint.write(tmp_path / "model")
    settings["RL_JAX_NOTEBOOK_MODEL"] = str(tmp_path / "model")
  done = subprocess.run(
    [sys.executable, program],
    cwd=tmp_path,
    env=environment(shared_cache(tmp_path_factory), **settings),
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_with_small_outputs(notebook):
  cells = cells_of(notebook)
  outputs = [output for cell in cells for output in cell["outputs"]]
  assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), "run `make notebooks`"
  assert any("image/png" in output.get("data", {}) for output in outputs), "no figure"
  assert not [output for output in outputs if output["output_type"] == "error"]
  assert notebook.stat().st_size < BYTES


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_begins_with_a_badge_and_installs_itself_on_colab(notebook):
  badge, install = json.loads(notebook.read_text())["cells"][:2]
  repository = re.search(r"git\+https://github\.com/([^\"]+)", "".join(install["source"]))
  assert repository, "run `python docs/colab.py`"
  (link,) = re.findall(r"\]\((https://colab\.research\.google\.com/\S+)\)", "".join(badge["source"]))
  assert link.endswith(f"/github/{repository[1]}/blob/main/notebooks/{notebook.name}")
  assert badge["cell_type"] == "markdown" and install["cell_type"] == "code" and not install["outputs"]


def test_the_first_cells_are_those_of_the_script():
  """Rewritten for another repository in one command."""
  done = subprocess.run([sys.executable, "docs/colab.py", "--check"], cwd=ROOT, capture_output=True, text=True)
  assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("found", [True, False])
def test_the_first_cell_installs_only_where_the_package_is_missing(found, monkeypatch):
  commands: list[list[str]] = []
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if found and name == "rl_jax" else None)
  monkeypatch.setattr(subprocess, "run", lambda command, **options: commands.append(command))
  exec("".join(cells_of(NOTEBOOKS[0])[0]["source"]), {})
  assert [command[1:4] for command in commands] == ([] if found else [["-m", "pip", "install"]])


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_finding_27_what_a_cell_prints_is_one_block(notebook):
  for cell in cells_of(notebook):
    streams = [output["name"] for output in cell["outputs"] if output["output_type"] == "stream"]
    assert len(streams) == len(set(streams)), "run `make notebooks`"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_names_no_path_of_a_machine(notebook):
  for cell in cells_of(notebook) + cells_of(notebook, "markdown"):
    for text in texts(cell):
      assert not MACHINE.search(text), text


def test_a_path_of_a_machine_is_seen():
  for path in ("/tmp/x/grpo: cpu x1", "in '/home/me/runs'", "C:\\runs\\grpo", "--workdir=/mnt/runs"):
    assert MACHINE.search(path), path
  for path in ("runs/tmp/grpo", "https://example.org/tmp/", "experiments/results/", "~/mnt/runs"):
    assert not MACHINE.search(path), path
