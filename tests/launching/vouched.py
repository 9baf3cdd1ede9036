"""A run of four iterations with checkpoints of the second and the fourth, and what is done to its files."""

from __future__ import annotations

import functools
import io
from pathlib import Path

from rl_jax.configuration import configs
from rl_jax.launching import launch
from rl_jax.launching.launch import Terminal
from rl_jax.launching.stop import Stop
from rl_jax.launching.vouching import checkpoint_fault
from rl_jax.runs.directory import find_run
from rl_jax.runs.files import read_json, write_json
from rl_jax.training.checkpoints import Checkpoints
from tests import commands

OVERRIDES = (
  *commands.SMALL, "init_from=", "num_seeds=1", "evaluation.greedy=False", "logging.every_iterations=1",
  "checkpoint.every_iterations=2", "evaluation.every_iterations=2", "model.layers=1",
)  # fmt: skip


def config(*overrides: str):
  """A method that moves any policy, also one that no reward has ever come to."""
  return configs.resolve("experiments/no_reward.py:smoke", [*OVERRIDES, *overrides])


def train(folder: Path, iterations: int, stop: Stop | None = None) -> str:
  """Train so far; return what was said."""
  stream = io.StringIO()
  launch.train(config(f"num_iterations={iterations}"), folder, Terminal(["test"], stream, stop or Stop()))
  return stream.getvalue()


def edit_file(file: Path, change) -> None:
  lines = file.read_text().splitlines(keepends=True)
  file.write_text("".join(change(lines)))


def edit_early(run: Path) -> None:
  edit_file(run / "metrics.jsonl", lambda lines: [lines[0].replace("0.", "1.", 1), *lines[1:]])


def edit_late(run: Path) -> None:
  edit_file(run / "metrics.jsonl", lambda lines: [*lines[:-1], lines[-1].replace("0.", "1.", 1)])


def tear(run: Path) -> None:
  file = run / "metrics.jsonl"
  file.write_bytes(file.read_bytes()[:-40])


def edit_json(file: Path, change) -> None:
  content = read_json(file)
  change(content)
  write_json(file, content)


def kill(run: Path) -> None:
  """Edit the manifest as if the launch had been killed."""
  edit_json(run / "manifest.json", lambda manifest: manifest["launches"][-1].pop("end", None))


def age(run: Path) -> None:
  """As if a version had written the record whose launches vouch for no files, checkpoints and timings."""

  def change(manifest):
    for entry in manifest["launches"]:
      entry.pop("files", None)
      for name in ("checkpoints", "log"):
        entry.get("end", {}).pop(name, None)

  edit_json(run / "manifest.json", change)


def newest(run: Path) -> tuple[int | None, list[str]]:
  """The checkpoint that a resume takes, and its warnings."""
  fault = functools.partial(checkpoint_fault, find_run(run), configs.identity(config())[0])
  return Checkpoints(run / "checkpoints", fault=fault)._newest_intact()
