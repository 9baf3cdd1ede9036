"""The house rules that a reader relies on, read from the source: floors, cycles, an ignorant trainer, file sizes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMAND = 7
"""Floor of the modules at the top of rl_jax: each is a command."""
FLOORS = {
  "": 0, "errors": 0, "inputs": 0, "kernels": 1, "trajectories": 2, "tasks": 2, "models": 2, "interop": 2,
  "rollouts": 3, "curricula": 3, "methods": 4,
  "training": 5, "planning": 6, "configuration": 6, "launching": 6, "benchmarks": 6,
}  # fmt: skip
WORDS = ("", "errors", "trajectories")
"""The package itself, and modules at the top that are no commands, as all rooms speak of what is in them."""
KNOW_RUNS = ("launching", "benchmarks")
"""Rooms that may read and write runs, beside commands."""
LINKED = ("kernels", "experiments")
"""Folders at the top that rl_jax holds a link to, and by which they are imported."""
APART = "runs"
METHOD_WORDS = "grpo|ppo|rloo|reinforce|dapo|gspo|cispo|prime|vapo|spo|remax|opo|gdpo"


def name_of(path):
  """The module's dotted name; that of a package for its __init__."""
  parts = path.relative_to(ROOT).with_suffix("").parts
  parts = ("rl_jax", *parts) if parts[0] in LINKED else parts
  return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def files():
  own = [path for path in (ROOT / "rl_jax").iterdir() if path.is_dir() and not path.is_symlink()]
  tops = [*own, *(ROOT / name for name in LINKED)]
  return [*(ROOT / "rl_jax").glob("*.py"), *(path for top in tops for path in top.rglob("*.py"))]


FILES = {name_of(path): path for path in sorted(files())}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}
OURS = [name for name in FILES if not name.startswith("rl_jax.experiments")]


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


def room(name):
  """The first part of a module's name behind rl_jax: a package, or a module at the top."""
  return name.partition(".")[2].split(".")[0]


def floor(name):
  """Floor of a module of rl_jax; None for `runs`, which stands apart."""
  return None if room(name) == APART else FLOORS.get(room(name), COMMAND)


def test_the_files_are_found():
  known = {"kernels.reductions", "trajectories", "training.update", "experiments.common"}
  assert {f"rl_jax.{name}" for name in known} <= set(FILES)
  assert "rl_jax.kernels.reductions" in imports("rl_jax.methods.policy_gradient")
  packages = {path.name for path in (ROOT / "rl_jax").iterdir() if (path / "__init__.py").exists()}
  assert packages == set(FLOORS) - set(WORDS) | {APART, "experiments"}, "a new package needs a floor"


@pytest.mark.parametrize("name", LINKED)
def test_a_link_leads_to_the_folder_at_the_top(name):
  link = ROOT / "rl_jax" / name
  assert link.is_symlink() and link.readlink() == Path("..") / name


@pytest.mark.parametrize("name", [name for name in FILES if name.count(".") == 1 and FILES[name].stem != "__init__"])
def test_modules_at_the_top_are_commands(name):
  functions = {node.name for node in TREES[name].body if isinstance(node, ast.FunctionDef)}
  assert "main" in functions or room(name) in FLOORS, f"{name} has no main: it belongs into a room"


@pytest.mark.parametrize("name", FILES)
def test_imports_go_down(name):
  for other in imports(name):
    assert other.split(".")[0] == "rl_jax", f"{name} imports {other}: it is called rl_jax.{other}"
    if room(name) in LINKED:
      assert room(other) == room(name), f"{name} imports {other}: it stands alone"
    elif room(other) == "experiments":
      pytest.fail(f"{name} imports {other}: a config is found by its name")
    elif floor(name) is None:
      assert not floor(other), f"{name} imports {other}: runs knows no training"
    elif name != "rl_jax":
      knows_runs = floor(name) == COMMAND or room(name) in KNOW_RUNS
      assert knows_runs or floor(other) is not None, f"{name} imports {other}: it knows no runs"
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
  assert not found and not papers, f"{name} names methods {found}, papers {sorted(papers)}: move what is theirs to them"


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
  documented = lambda name: len((ast.get_docstring(ast.parse(FILES[name].read_text())) or "").splitlines())
  of_methods = {name: n - documented(name) for name, n in lines.items() if name.startswith("rl_jax.methods.")}
  assert {name: n for name, n in of_methods.items() if n > 110} == {}, "one screen beside its page"


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


def test_every_public_function_says_what_it_does():
  silent = [
    f"{name}:{function}" for name in OURS for function, node in public(TREES[name].body) if not ast.get_docstring(node)
  ]
  assert silent == []


FRAGMENTS = re.compile(
  r"(Against|As|By|From|How|Into|Its|Of|That|The same|Those|Under|What|Where|Whether|Which|Who|Whose|With|Without)\b"
)
"""First words of a docstring that is no noun phrase and no imperative. A study's may be a question."""


def docstrings(tree):
  """(line, text) of the docstrings of a module, its classes, functions and attributes."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
      yield node.lineno, node.value.value


def fragments(tree):
  first_sentence = lambda text: re.split(r"(?<=[.?])\s", text.strip(), maxsplit=1)[0]
  return [(line, text) for line, text in docstrings(tree) if FRAGMENTS.match(text) and first_sentence(text)[-1] != "?"]


@pytest.mark.parametrize("name", FILES)
def test_docstrings_begin_with_a_noun_or_an_imperative(name):
  assert fragments(TREES[name]) == [], "name the thing first, or write Return whether …, True if …"


@pytest.mark.parametrize(
  "source, count",
  [
    ('"""What it is."""', 1),
    ('"""Which is best?\n\nThe best."""', 0),
    ('class A:\n  x: int\n  """Of a row."""\n  y: int\n  """Length of a row."""', 1),
    ('def f():\n  """Whether it is."""', 1),
    ('def f():\n  """Return whether it is."""\n  return lambda x: x', 0),
    ('"""Offsets of rows."""', 0),
  ],
)
def test_what_begins_as_a_fragment(source, count):
  assert len(fragments(ast.parse(source))) == count


PEERS = ("rl_jax.kernels.benchmarks.peers", "rl_jax.benchmarks.peers.")
TYPED = [name for name in OURS if not name.startswith(PEERS)]
"""All but programs of other packages, which run in a Python of theirs."""


def untyped(name, function):
  """Parameters of a public function without a type, and "return" where its result has none; overloads say no more."""
  decorators = {ast.unparse(decorator).split(".")[-1] for decorator in function.decorator_list}
  a = function.args
  named = [*a.posonlyargs, *a.args]
  bound = "." in name and "staticmethod" not in decorators  # a method: self or cls comes first
  parameters = [*named[bound:], *a.kwonlyargs, *(x for x in (a.vararg, a.kwarg) if x)]
  found = [x.arg for x in parameters if x.annotation is None] + ["return"] * (function.returns is None)
  return [] if "overload" in decorators else found


def test_every_public_function_has_types():
  lacking = [
    f"{name}:{function} ({', '.join(found)})"
    for name in TYPED
    for function, node in public(TREES[name].body)
    if (found := untyped(function, node))
  ]
  assert lacking == []


@pytest.mark.parametrize(
  "source, want",
  [
    ("def f(a, b: int, *, c, **d): ...", ["a", "c", "d", "return"]),
    ("class A:\n  def f(self, a, *b) -> int: ...", ["a", "b"]),
    ("class A:\n  @staticmethod\n  def f(a) -> int: ...", ["a"]),
    ("@typing.overload\ndef f(a): ...", []),
    ("class A:\n  @classmethod\n  def f(cls, a: int, /, b: int = 0, *c: int, d: int, **e: int) -> None: ...", []),
  ],
)
def test_what_is_untyped(source, want):
  assert [found for name, node in public(ast.parse(source).body) for found in untyped(name, node)] == want


def test_nothing_is_left_for_later():
  later = re.compile(r"\bTODO\b|\bFIXME\b|\bXXX\b|NotImplementedError")
  assert not [name for name in FILES if later.search(FILES[name].read_text())]
