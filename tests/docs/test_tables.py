"""The generated tables of README.md, kernels/README.md and docs/ are what docs/tables.py makes now."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("docs_tables", ROOT / "docs/tables.py")
tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tables)


@pytest.mark.parametrize("page", tables.pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_tables_of_a_page_are_current(page):
  text = page.read_text()
  assert tables.rewritten(text) == text, "run python docs/tables.py"


def test_every_table_has_a_place():
  written = "".join(page.read_text() for page in tables.pages())
  assert not [name for name in tables.TABLES if f"<!-- {name}: made by" not in written]


def test_every_method_has_a_row_with_its_experiment():
  rows = tables.methods().splitlines()[2:]
  names = {path.stem for path in (ROOT / "rl_jax/methods").glob("[a-z]*.py")} - {"method", "policy_gradient"}
  assert len(rows) == len(names)
  lacking = [row for row in rows if row.split(" | ")[3] == ""]
  assert {row.partition("methods/")[2].partition(".py")[0] for row in lacking} == {
    "refinement_start", "supervised", "value_pretraining", "verifier_training",
  }  # fmt: skip


def test_a_stale_table_is_found_and_rewritten():
  page = "a\n<!-- metrics: made by x -->\n| old |\n<!-- end -->\nb"
  assert tables.rewritten(page) == f"a\n<!-- metrics: made by x -->\n{tables.metric_names.table()}\n<!-- end -->\nb"
  with pytest.raises(ValueError, match="no table 'unknown'"):
    tables.rewritten("<!-- unknown: made by x -->\n<!-- end -->")


@pytest.mark.parametrize(
  "line, want",
  [
    ("- a: b: **holds** (m, a minus b: +1.0 [+0.5, +1.5])", ("a: b", "holds", None)),
    (
      "- a: **does not hold** (m over 2 updates, a minus b: -1.0 [-2.0, -0.5]; at 98.8 %, for all together: "
      "[-2.0, +0.1], undecided)", ("a", "does not hold", "undecided"),
    ),
    ("- a: not judged (gates: oracle) (m, a minus b: +1.0 [+0.5, +1.5])", ("a", None, None)),
    ("- a: **holds** (m minus n, both of b: +1.0 [+0.5, +1.5])", ("a", "holds", None)),
    ("- a: not measured (m)", ("a", None, None)),
  ],
)  # fmt: skip
def test_a_claim_is_read(line, want):
  found = tables._CLAIM.search(line)
  assert (found and (found["claim"], found["verdict"], found["together"])) == want


def test_a_claim_that_is_not_judged_stays_in_the_table():
  """Of the pages that the table is made of, every claim has its row, whatever became of it."""
  table, studies = tables.claims(), ROOT / "experiments/studies"
  names = {path.stem for path in studies.glob("[!_]*.py")} - set(tables.DISCUSSED)
  for page in (path for name in names if (path := tables.RESULTS / f"{name}.md").exists()):
    _, _, rest = page.read_text().partition("Claims (")
    for line in rest.partition("\n\nAt ")[0].splitlines():
      if line.startswith("- "):
        assert f"| {line.removeprefix('- ').rpartition(': **')[0] or line[2:].partition(': not ')[0]} |" in table
