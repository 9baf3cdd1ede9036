"""Pages for readers: what they link and name exists, and each of their commands runs, in a small variant, in order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rl_jax.configuration import parts
from rl_jax.tasks.task import missing
from tests import commands

ROOT = Path(__file__).parents[2]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
"""Pages whose commands are run."""
PAGES = [
  *GUIDES,
  *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "kernels/README.md")),
  *(ROOT / "rl_jax").glob("*/README.md"),
]
BLOCKS = {page: re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE) for page in GUIDES}
PYTHON = {
  text.splitlines()[0].removeprefix("# ").partition(":")[0]: text
  for blocks in BLOCKS.values()
  for language, text in blocks
  if language == "python"
}
"""Files that the pages show, by name."""


def commands_of(page: Path) -> list[str]:
  """Lines of the blocks in bash; those in sh want a machine of their own."""
  lines = [line for language, text in BLOCKS[page] if language == "bash" for line in text.splitlines()]
  return [line.partition("  #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


COMMANDS = list(dict.fromkeys(command for page in GUIDES for command in commands_of(page)))
RUN = [
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
"""What the pages write, and what runs here in its place."""
ELSEWHERE = ("rl_jax.study", "rl_jax benchmark", "rl_jax.kernels.benchmarks", "rl_jax.plan", "smollm2", "--follow")
"""Minutes long, endless, or in need of what a test machine may not have: their flags and files alone are checked."""


def anchors(page: Path) -> set[str]:
  """Anchors of a page's headings, as GitHub and the site make them."""
  headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.M)
  return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.strip().lower())) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_linked_exists(page):
  targets = re.findall(r"\]\(((?!https?://)[^)\s]+)\)", page.read_text())
  for target in targets:
    file, _, anchor = target.partition("#")
    path = (page.parent / file).resolve() if file else page
    assert path.exists() and path.is_relative_to(ROOT), f"{page.name} links to {target}"
    assert not anchor or anchor in anchors(path), f"{page.name} links to {target}: {path.name} has {anchors(path)}"


def test_every_page_is_reached_from_the_front():
  front = (ROOT / "README.md").read_text()
  assert not [page.name for page in GUIDES[1:] if f"(docs/{page.name})" not in front]


def test_the_front_page_is_short():
  lines = len((ROOT / "README.md").read_text().splitlines())
  assert lines <= 150, f"{lines} lines: a page of docs/ may take some"


def test_targets_of_make_exist():
  targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
  named = {name for page in PAGES for name in re.findall(r"`make ([a-z0-9-]+)", page.read_text())}
  named |= {words[1] for words in map(str.split, COMMANDS) if words[0] == "make"}
  assert {"train", "test", "docs"} <= named <= targets, named - targets


def test_each_command_is_of_a_kind_that_is_known():
  assert len(RUN) > 10
  for command in COMMANDS:
    program, *arguments = shlex.split(command)
    assert program in ("make", "python", "rl-jax", "source", "git", "cd"), command
    if program == "rl-jax":
      program, arguments = "python", ["-m", f"rl_jax.{arguments[0]}", *arguments[1:]]
      if arguments[1] in ("rl_jax.train", "rl_jax.study"):
        assert parts.experiment_file(arguments[2].partition(":")[0]), command
    if program == "python" and arguments[0] == "-m":
      module = ROOT / (arguments[1].replace(".", "/") + ".py")
      assert module.exists() or (module.with_suffix("") / "__main__.py").exists(), command
      source = module.read_text() if module.exists() else ""
      for flag in re.findall(r"--(\w+)=", command):
        assert flag == "config" or flag == "workdir" or f'"--{flag}"' in source or flag in source, (command, flag)
    for file in re.findall(r"(?:experiments|docs)/[\w/]+\.py", command):
      assert (ROOT / file).exists(), command


def test_the_task_that_a_page_shows_is_a_task():
  names: dict = {}
  exec(PYTHON["my_task.py"], names)  # noqa: S102
  task = names["build"](names["get_config"]())
  assert missing(task) == []


@pytest.mark.slow
@pytest.mark.integration
def test_every_command_runs_in_the_order_of_the_pages(tmp_path, tmp_path_factory):
  """In a folder that has the experiments, the files that pages show, and a `runs` of its own."""
  for name in ("experiments", "notebooks", "docs"):
    (tmp_path / name).symlink_to(ROOT / name)
  for name, text in PYTHON.items():
    (tmp_path / name).write_text(text)
  environment = commands.environment(commands.shared_cache(tmp_path_factory))
  ran = []
  for command in RUN:
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
