"""List the names that a config can use: python -m rl_jax.list methods.

Lists methods, tasks, models, experiments or studies, or all of them: name, first line of the docstring, papers. The
source is parsed and nothing is imported, so the command is fast.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from rl_jax.configuration.command_line import Parser
from rl_jax.launching.commands import command
from rl_jax.models.fetch import KNOWN
from rl_jax.runs.visible import say

ROOT = Path(__file__).parent
_ARXIV = r"\d{4}\.\d{5}"


class Entry(NamedTuple):
  """One line of the list."""

  name: str
  """Name as written in a config or a command."""
  about: str
  papers: tuple[str, ...]


def entry_of(name: str, tree: ast.Module) -> Entry:
  """Entry of a module: the first line of its docstring, without brackets that hold files or arXiv ids."""
  text = ast.get_docstring(tree) or ""
  line = text.splitlines()[0] if text else ""
  about = re.sub(r"\s*\((?:[^()]*\barXiv\b|rl_jax/)[^()]*\)", "", line)
  return Entry(name, about.strip().rstrip("."), tuple(dict.fromkeys(re.findall(_ARXIV, line))))


def roles(folder: str) -> list[Entry]:
  """The modules in rl_jax/<folder>, and below, that a config can name: those with get_config() and build()."""
  modules = _modules((ROOT / folder).rglob("*.py"), ("get_config", "build"))
  name = lambda path: ".".join(("rl_jax", *path.relative_to(ROOT).with_suffix("").parts))
  return [entry_of(name(path), tree) for path, tree in modules]


def models() -> list[Entry]:
  """Models that section `model` can name, and checkpoints that its field `checkpoint` accepts by name."""
  architecture = ast.parse((ROOT / "models/transformer.py").read_text(encoding="utf-8"))
  own = "rl_jax.models.model"  # builds the architecture
  entries = [entry_of(own, architecture) if entry.name == own else entry for entry in roles("models")]
  of_file = lambda model: f"a checkpoint: {Path(model.member).name} of {model.requirement}"
  return entries + [Entry(name, of_file(model), ()) for name, model in KNOWN.items()]


def experiments() -> list[Entry]:
  """The experiments, by the names that --config takes."""
  return [entry_of(path.stem, tree) for path, tree in _modules((ROOT / "experiments").glob("*.py"), ("get_config",))]


def studies() -> list[Entry]:
  """The studies, by the names that `rl-jax study` takes."""
  files = (ROOT / "experiments/studies").glob("*.py")
  return [entry_of(path.stem, tree) for path, tree in _modules(files, ("get_config",))]


def _modules(files: Iterable[Path], required: tuple[str, ...]) -> Iterator[tuple[Path, ast.Module]]:
  for path in sorted(files):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if functions.issuperset(required):
      yield path, tree


KINDS: dict[str, Callable[[], list[Entry]]] = {
  "methods": lambda: roles("methods"),
  "tasks": lambda: roles("tasks"),
  "models": models,
  "experiments": experiments,
  "studies": studies,
}


def table(entries: list[Entry]) -> str:
  """Text with one line per entry, in columns."""
  width = max((len(entry.name) for entry in entries), default=0)
  lines = []
  for entry in entries:
    papers = f" [arXiv {', '.join(entry.papers)}]" if entry.papers else ""
    lines.append(f"  {entry.name:{width}}  {entry.about}{papers}")
  return "\n".join(lines)


@command("rl_jax.list")
def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  parser = Parser("list", __doc__.splitlines()[0])
  parser.add_argument("kind", nargs="?", choices=tuple(KINDS), help="all of them if left out")
  kind = parser.parse(argv).kind
  for name in [kind] if kind else KINDS:
    say(f"{name}:\n{table(KINDS[name]())}")
  return 0


if __name__ == "__main__":
  sys.exit(main())
