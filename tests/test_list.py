"""The list of what a config can name."""

from __future__ import annotations

import ast
import builtins
import re
import subprocess
import sys
from pathlib import Path

from rl_jax import list as listing

ROOT = Path(__file__).parents[1]


def test_the_four_kinds(capsys):
  assert listing.main([]) == 0
  out = re.sub(r"(\S) {2,}", r"\1  ", capsys.readouterr().out)  # however wide the column of names is
  for line in (
    "rl_jax.methods.grpo  GRPO: group relative policy optimisation [arXiv 2402.03300]",
    "rl_jax.tasks.chain  Chains of modular arithmetic with worked steps",
    "Decoder-only transformer",
    "smollm2-135m-instruct",
    "  grpo  ",
  ):
    assert line in out
  assert "rl_jax.methods.policy_gradient" not in out and "rl_jax.tasks.host" not in out
  assert listing.main(["methods"]) == 0
  shown = capsys.readouterr().out.splitlines()
  assert shown[0] == "methods:" and all(line.startswith("  rl_jax.methods.") for line in shown[1:])


def test_the_papers_are_those_of_the_method():
  """The first line of a method's documentation names what `Method.papers` names first."""
  for named in listing.roles("methods"):
    tree = ast.parse((ROOT / f"{named.name.replace('.', '/')}.py").read_text())
    given = [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "papers"]
    constants = [n.value for value in given for n in ast.walk(value) if isinstance(n, ast.Constant)]
    assert named.papers == tuple(constants), named.name


def test_brackets_with_sources_are_left_out_and_others_stay():
  tree = ast.parse('"""PPO (Schulman 2017, arXiv 1707.06347) and GAE (arXiv 1506.02438), which (all) know."""')
  assert listing.entry_of("x", tree) == ("x", "PPO and GAE, which (all) know", ("1707.06347", "1506.02438"))
  assert listing.entry_of("x", ast.parse("a = 1")) == ("x", "", ())


def test_an_unknown_kind_ends_with_what_is_known():
  done = subprocess.run(
    [sys.executable, "-m", "rl_jax.list", "papers"], cwd=ROOT, capture_output=True, text=True, timeout=60
  )
  (line,) = done.stderr.splitlines()
  assert done.returncode == 1 and line.startswith("rl_jax.list: ") and "known: experiments, methods" in line


def test_the_name_shadows_nothing():
  assert builtins.list is type([]) and not hasattr(listing, "list")
