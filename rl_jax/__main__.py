"""Command `rl-jax`: runs `python -m rl_jax.X` as `rl-jax X`."""

from __future__ import annotations

import ast
import difflib
import importlib
import sys
from pathlib import Path

import rl_jax
from rl_jax.errors import UserError
from rl_jax.launching.commands import command

HELP = ("-h", "--help")


def commands() -> dict[str, str]:
  """Name of each command and the first line of its docstring; nothing is imported."""
  modules = sorted(Path(__file__).parent.glob("[a-z]*.py"))
  trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in modules}
  has_main = lambda tree: any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)
  about = lambda tree: (ast.get_docstring(tree) or "").splitlines()[0].partition(": python -m")[0].rstrip(".")
  return {name: about(tree) for name, tree in trees.items() if has_main(tree)}


def usage() -> str:
  """Help text, printed by `rl-jax` without a command."""
  lines = [f"  {name:10} {about}" for name, about in commands().items()]
  return "\n".join(["usage: rl-jax COMMAND …, --version, or COMMAND --help", "", *lines])


@command("rl-jax")
def main(argv: list[str]) -> int:
  """Run a command; return its exit status, 1 if the command is unknown."""
  name, *rest = argv or [HELP[0]]
  if name in HELP:
    print(usage())
    return 0
  if name == "--version":
    print(f"rl-jax {rl_jax.__version__}")
    return 0
  if name not in commands():
    near = difflib.get_close_matches(name, commands(), n=1)
    advice = f": did you mean {near[0]!r}?" if near else f" (known: {', '.join(commands())})"
    raise UserError(f"no command {name!r}{advice}")
  return importlib.import_module(f"rl_jax.{name}").main(rest)


if __name__ == "__main__":
  sys.exit(main())
