"""The table of papers names functions that exist, all that cite a paper, and is what README shows."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

from rl_jax import kernels
from rl_jax.kernels import _papers

FOLDER = Path(kernels.__file__).parent
ARXIV = re.compile(r"\b\d{4}\.\d{5}\b")
ROWS = kernels.papers()
PLAIN = {"analysis/agreement.py"}
"""Files of statistics that are nobody's."""
CITED: dict[str, set[str]] = {}
for row in ROWS:
  CITED.setdefault(row.function.partition("(")[0], set()).add(row.arxiv)


def families():
  """Name and namespace of those with papers: `logprobs` has none."""
  return [(name, getattr(kernels, name)) for name in sorted({function.partition(".")[0] for function in CITED})]


def test_functions_and_files_exist():
  for row in ROWS:
    family, name = row.function.partition("(")[0].split(".")
    assert inspect.isfunction(getattr(getattr(kernels, family), name))
    assert (FOLDER / row.file).is_file()


def test_a_paper_comes_once_and_its_functions_too():
  entries = json.loads((FOLDER / "papers.json").read_text())
  for names in ([e["paper"] for e in entries], [e["arxiv"] for e in entries if e["arxiv"]], ROWS):
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("name", "family"), families())
def test_what_cites_a_paper_is_in_the_table(name, family):
  functions = inspect.getmembers(family, inspect.isfunction)
  for function, kernel in [f for f in functions if not f[0].startswith("_")]:
    own, module = (set(ARXIV.findall(doc or "")) for doc in (kernel.__doc__, inspect.getmodule(kernel).__doc__))
    cited = CITED.get(f"{name}.{function}", set())
    assert own <= cited, f"{name}.{function} is not in the rows of {own - cited}"
    assert cited or not module, f"{name}.{function} is in no row, its file names {module}"


def test_every_file_of_a_family_has_a_paper():
  files = {row.file for row in ROWS} | PLAIN
  names = [name for name, family in families() if hasattr(family, "__path__")]
  assert not [path for name in names for path in FOLDER.glob(f"{name}/[!_]*.py") if f"{name}/{path.name}" not in files]


def test_the_readme_shows_the_table():
  table = _papers.markdown()
  assert table in (FOLDER / "README.md").read_text(), f"its table is to be:\n{table}"
