"""The source of the site, as docs/stage.py writes it: a page for each part, and links that lead to pages."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]


def loaded(name: str):
  """A module of docs/, which is no package."""
  spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / f"docs/{name}.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


stage, docstrings = loaded("stage"), loaded("docstrings")
PAGES = stage.pages()
NOTEBOOKS = {f"notebooks/{path.stem}.md" for path in (ROOT / "notebooks").glob("*.ipynb")}


def test_every_link_leads_to_a_page():
  broken, places = [], PAGES.keys() | NOTEBOOKS
  for place, text in PAGES.items():
    if isinstance(text, str) and not place.startswith("source/"):
      prose = "".join(part for part in stage._CODE.split(text) if not part.startswith("```"))
      for _, target, _ in stage._LINK.findall(re.sub(r"``.*?``|`[^`]*`", "", prose)):
        page = os.path.normpath(PurePosixPath(place).parent / target.partition("#")[0])
        broken += [(place, target)] * (page not in places)
  assert not broken


def test_every_page_is_in_a_table_of_contents():
  named = set()
  for place, text in PAGES.items():
    if isinstance(text, str):
      for names in re.findall(r"```\{toctree\}\n(?::[^\n]*\n)*\n(.*?)\n```", text, re.S):
        named |= {os.path.normpath(PurePosixPath(place).parent / f"{name}.md") for name in names.splitlines()}
  pages = {place for place in PAGES if place.endswith(".md") and not place.startswith("source/")}
  assert pages | NOTEBOOKS == named | {"index.md"}


def test_every_method_and_kernel_has_a_page():
  for folder, section in (("rl_jax/methods", "methods"), ("kernels", "kernels")):
    modules = (path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*.py"))
    public = {path for path in modules if not any(part.startswith("_") for part in path.parts)}
    public = {path for path in public if "benchmarks" not in path.parts}
    assert {path for path in public if f"{section}/{path.with_suffix('.md')}" not in PAGES} == set()


def test_the_page_of_a_method_links_its_experiments():
  assert "Experiments: [canon](../experiments/canon.md)" in PAGES["methods/canon.md"]
  assert "automodule:: rl_jax.methods.canon" in PAGES["methods/canon.md"]


@pytest.mark.parametrize(
  "text, want",
  [
    ("One line.", "One line."),
    ("A:\n\n  a = b\n  c = d\n", "A:\n\n.. code-block:: text\n\n   a = b\n   c = d"),
    ("Metrics:\n  loss: of all.\n  mu: of\n    one.", "Metrics:\n\n- ``loss``: of all.\n- ``mu``: of\n  one."),
    ("|o_i| of `x|y` * 2_", "\\|o_i\\| of ``x|y`` \\* 2\\_"),
    ("Sum.\n\n>>> f(1)\n1", "Sum.\n\n>>> f(1)\n1"),
    ("F.\n\nArgs:\n  a: b\n    c", "F.\n\nArgs:\n    a: b\n      c"),
    ("F.\n\nRaises: ValueError: d.", "F.\n\nRaises:\n    ValueError: d."),
    ("A:\n- b\n  c\nd", "A:\n\n- b\n  c\n\nd"),
  ],
)
def test_a_docstring_as_markup(text, want):
  assert docstrings.rst(text) == want
