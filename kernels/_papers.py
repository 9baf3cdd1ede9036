"""Papers of the functions: papers.json, which kernels/README.md shows as a table."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, NamedTuple

_FILE = Path(__file__).with_name("papers.json")
"""Papers: each with its short name, arXiv id, confidence, and functions by the names they are called, followed by the
options that make the method; title, year and authors, which citations read, where they are known."""


class Paper(NamedTuple):
  """One function of one paper."""

  paper: str
  arxiv: str
  """Empty where there is none."""
  function: str
  """Name as called from rl_jax.kernels: "advantages.canon"; with the options that make it the paper's, if any."""
  file: str
  """Path within the folder kernels."""
  confidence: str


def papers() -> list[Paper]:
  """Papers and their functions; a function of several papers comes once for each.

  >>> print([row.function for row in papers() if row.paper == "SALT"])
  ['advantages.salt']
  """
  return [
    Paper(entry["paper"], entry["arxiv"], function, _file(function), entry["confidence"])
    for entry in _entries()
    for function in entry["functions"]
  ]


def _entries() -> list[dict[str, Any]]:
  return json.loads(_FILE.read_text(encoding="utf-8"))


def _file(function: str) -> str:
  family, name = function.partition("(")[0].split(".")
  namespace = importlib.import_module(f"rl_jax.kernels.{family}")
  if not hasattr(namespace, name):
    raise ValueError(f"papers.json names {family}.{name}, which kernels/{family}/__init__.py lacks: export it")
  module = getattr(namespace, name).__module__
  return module.removeprefix("rl_jax.kernels.").replace(".", "/") + ".py"


def markdown() -> str:
  """The table of kernels/README.md: a row for each paper, its functions by the file they are in."""
  lines = ["| paper | functions | confidence |", "|---|---|---|"]
  for entry in _entries():
    paper, arxiv = entry["paper"], entry["arxiv"]
    by_file: dict[str, list[str]] = {}
    for function in entry["functions"]:
      by_file.setdefault(_file(function), []).append(f"`{function.partition('.')[2]}`")
    cells = [f"[{file}]({file}): {', '.join(names)}" for file, names in by_file.items()]
    name = f"{paper} [{arxiv}](https://arxiv.org/abs/{arxiv})" if arxiv else paper
    lines.append(f"| {name} | {'; '.join(cells)} | {entry['confidence']} |")
  return "\n".join(lines)
