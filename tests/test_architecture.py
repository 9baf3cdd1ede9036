"""The house rules that a reader relies on, read from the source: floors, cycles, an ignorant trainer, file sizes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENTRY = 6
"""Floor of the modules at the top of rl_jax, and of packages that are parts of one of them."""
FLOORS = {
  "trajectories": 2, "tasks": 2, "models": 2, "rollouts": 3, "curricula": 3, "methods": 4, "training": 5,
  "planning": ENTRY,
}  # fmt: skip
APART = "runs"
METHOD_WORDS = "grpo|ppo|rloo|reinforce|dapo|gspo|cispo|prime|vapo|spo|remax|opo|gdpo"


def name_of(path):
  """The module's dotted name; that of a package for its __init__."""
  parts = path.relative_to(ROOT).with_suffix("").parts
  return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(p): p for top in ("kernels", "rl_jax", "experiments") for p in sorted((ROOT / top).rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}
OURS = [name for name in FILES if not name.startswith("experiments")]


def imports(name):
  """Modules of this repository that a module imports, wherever in it, by their most exact name."""
  found = set()
  for node in ast.walk(TREES[name]):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{name}: relative import"
      found |= {f"{node.module}.{alias.name}" for alias in node.names}
  exact = {next((n for n in (i, i.rpartition(".")[0]) if n in FILES), i) for i in found}
  return {i for i in exact if i.split(".")[0] in ("kernels", "rl_jax", "experiments")} - {name}


def floor(name):
  """Floor of a module of rl_jax; None for `runs`, which stands apart."""
  _, _, rest = name.partition(".")
  first = rest.split(".")[0]
  return None if first == APART else FLOORS.get(first, ENTRY)


def test_the_files_are_found():
  assert {"kernels.reductions", "rl_jax.trajectories", "rl_jax.training.update", "experiments.common"} <= set(FILES)
  assert "kernels.reductions" in imports("rl_jax.methods.policy_gradient")
  packages = {path.name for path in (ROOT / "rl_jax").iterdir() if (path / "__init__.py").exists()}
  assert packages == set(FLOORS) - {"trajectories"} | {APART}, "a new package needs a floor"


@pytest.mark.parametrize("name", FILES)
def test_imports_go_down(name):
  top = name.split(".")[0]
  for other in imports(name):
    kind = other.split(".")[0]
    if top == "kernels":
      assert kind == "kernels", f"{name} imports {other}"
    elif top == "experiments":
      assert kind == "experiments", f"{name} imports {other}: configs are plain data"
    elif kind == "experiments":
      pytest.fail(f"{name} imports {other}")
    elif kind == "rl_jax" and floor(name) is None:
      assert floor(other) is None, f"{name} imports {other}: runs knows no training"
    elif kind == "rl_jax" and name != "rl_jax":
      assert floor(name) == ENTRY or floor(other) is not None, f"{name} imports {other}: only entry points know runs"
      assert (floor(other) or 0) <= floor(name), f"{name} (floor {floor(name)}) imports {other} (floor {floor(other)})"


def test_the_update_knows_no_trajectories_and_no_experiment():
  assert not imports("rl_jax.training.update") & {"rl_jax.trajectories", "rl_jax.training.experiment"}


def test_no_import_goes_in_a_circle():
  edges = {name: imports(name) & set(FILES) for name in FILES}
  done, path = set(), []

  def visit(name):
    assert name not in path, " -> ".join([*path[path.index(name) :], name])
    if name not in done:
      path.append(name)
      for other in sorted(edges[name]):
        visit(other)
      path.pop()
      done.add(name)

  for name in FILES:
    visit(name)


TRAINING = [name for name in FILES if name.startswith("rl_jax.training")]


@pytest.mark.parametrize("name", TRAINING)
def test_the_trainer_names_no_method_and_no_paper(name):
  text = FILES[name].read_text()
  words = [METHOD_WORDS] + [path.stem for path in (ROOT / "rl_jax/methods").glob("[a-z]*.py") if path.stem != "method"]
  found = re.findall(rf"(?<![a-z])(?:{'|'.join(words)})(?![a-z])", text, re.IGNORECASE)
  # arXiv ids of estimators and optimisers that belong to the trainer itself.
  papers = set(re.findall(r"\b\d{4}\.\d{5}\b", text)) - {"2107.03374", "1711.05101"}
  assert not found and not papers, f"{name}: {found} {sorted(papers)}"


def mentions_method(node):
  return any(
    (isinstance(n, ast.Attribute) and n.attr == "method") or (isinstance(n, ast.Name) and n.id == "method")
    for n in ast.walk(node)
  )


@pytest.mark.parametrize("name", TRAINING)
def test_the_trainer_has_no_branch_on_a_method(name):
  for node in ast.walk(TREES[name]):
    tests = []
    if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
      tests = [node.test]
    elif isinstance(node, ast.comprehension):
      tests = node.ifs
    elif isinstance(node, ast.Match):
      tests = [node.subject]
    elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "cond":
      tests = node.args[:1]
    for test in tests:
      assert not mentions_method(test), f"{name}:{test.lineno}: branch on {ast.unparse(test)}"


def test_files_are_short():
  lines = {name: len(FILES[name].read_text().splitlines()) for name in OURS}
  assert {name: n for name, n in lines.items() if n > 400} == {}
  assert {name: n for name, n in lines.items() if name.startswith("rl_jax.methods.") and n > 120} == {}, "one screen"


def test_no_file_is_a_bag_of_things():
  vague = {"utils", "util", "helpers", "misc", "common", "base", "core"}
  assert not [name for name in OURS if name.split(".")[-1] in vague]


def public(body, prefix=""):
  """(name, node) of public functions, classes and methods. A dataclass may say all in its fields' comments."""
  for node in body:
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
      if isinstance(node, ast.FunctionDef):
        yield prefix + node.name, node
      else:
        yield from public(node.body, f"{prefix}{node.name}.")


@pytest.mark.parametrize("top", ["kernels", "rl_jax"])
def test_every_public_function_says_what_it_does(top):
  silent = [
    f"{name}:{function}"
    for name in OURS
    if name.split(".")[0] == top
    for function, node in public(TREES[name].body)
    if not ast.get_docstring(node)
  ]
  assert silent == []


def test_nothing_is_left_for_later():
  later = re.compile(r"\bTODO\b|\bFIXME\b|\bXXX\b|NotImplementedError")
  assert not [name for name in FILES if later.search(FILES[name].read_text())]
