"""README.md: what it names exists, and each of its commands runs, in a small variant, in the order of the page."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rl_jax.configuration import parts
from tests import commands

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
COMMANDS = [
  line.partition("  #")[0].strip()
  for language, text in BLOCKS
  if language == "bash"
  for line in text.splitlines()
  if line.strip() and not line.startswith("#")
]
PYTHON = [
  command.replace("rl-jax ", "python -m rl_jax ", 1)
  for command in COMMANDS
  if command.startswith(("python ", "rl-jax "))
]

SMALLER = {
  "train grpo": "train grpo:smoke",
  "train rloo": "train rloo:smoke",
  "--iterations=20": "--iterations=2",
  "--config.learning_rate=3e-4": "--config.learning_rate=3e-4 --config.num_seeds=2",
}
"""What the page writes, and what runs here in its place."""
ELSEWHERE = ("rl_jax.study", "rl_jax benchmark", "rl_jax.kernels.benchmarks", "rl_jax.plan", "smollm2")
"""Minutes long, or in need of what a test machine may not have: their flags and files alone are checked."""


def test_what_is_linked_and_made_exists():
  for link in re.findall(r"\]\(((?!https?://)[^)#]+)\)", README):
    assert (ROOT / link).exists(), link
  targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
  named = set(re.findall(r"`make ([a-z0-9-]+)`", README))
  named |= {words[1] for words in map(str.split, COMMANDS) if words[0] == "make"}
  assert {"train", "test"} <= named <= targets, named - targets


def test_each_command_is_of_a_kind_that_is_known():
  assert len(PYTHON) > 10
  for command in COMMANDS:
    program, *arguments = shlex.split(command)
    assert program in ("make", "python", "rl-jax", "source", "git", "cd"), command
    if program == "rl-jax":
      program, arguments = "python", ["-m", f"rl_jax.{arguments[0]}", *arguments[1:]]
      if arguments[1] in ("rl_jax.train", "rl_jax.study"):
        assert parts.experiment_file(arguments[2].partition(":")[0]), command
    if program == "python":
      module = ROOT / (arguments[1].replace(".", "/") + ".py")
      assert arguments[0] == "-m" and (module.exists() or (module.with_suffix("") / "__main__.py").exists()), command
      source = module.read_text() if module.exists() else ""
      for flag in re.findall(r"--(\w+)=", command):
        assert flag == "config" or flag == "workdir" or f'"--{flag}"' in source or flag in source, (command, flag)
    for file in re.findall(r"experiments/[\w/]+\.py", command):
      assert (ROOT / file).exists(), command


@pytest.mark.slow
@pytest.mark.integration
def test_every_command_runs_in_the_order_of_the_page(tmp_path, tmp_path_factory):
  """In a folder that has the experiments, the user's method of the page, and a `runs` of its own."""
  for name in ("experiments", "notebooks"):
    (tmp_path / name).symlink_to(ROOT / name)
  (method,) = (text for language, text in BLOCKS if language == "python" and text.startswith("# my_method.py"))
  (tmp_path / "my_method.py").write_text(method)
  environment = commands.environment(commands.shared_cache(tmp_path_factory))
  ran = []
  for command in PYTHON:
    if any(part in command for part in ELSEWHERE):
      continue
    for written, smaller in SMALLER.items():
      command = re.sub(rf"{re.escape(written)}(?![\w:.])", smaller, command)
    arguments = shlex.split(command)[1:]
    done = subprocess.run(
      [sys.executable, *arguments], cwd=tmp_path, env=environment | {"PATH": os.environ["PATH"]},
      capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"
    ran.append(command)
  assert len(ran) >= 10 and (tmp_path / "runs/comparison.html").exists()
