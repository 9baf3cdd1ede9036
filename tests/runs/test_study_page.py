"""What a study writes, from entries made by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.runs import study_page
from rl_jax.runs.metric_names import ACCURACY
from rl_jax.runs.study_results import POINTS, Entry, specification

LENGTH = "held_out/response_length"
CONFIG = {
  "token_budget": 150,
  "metrics": (ACCURACY, LENGTH, "credit/unexplained"),
  "baseline": "plain",
  "tuning": {"grid": {"learning_rate": (1e-3, 1e-4)}, "overrides": ("num_seeds=2",)},
  "claims": {
    "dense is better": {"left": "dense", "right": "plain", "metric": ACCURACY},
    "dense is shorter": {"left": "dense", "right": "plain", "metric": LENGTH, "direction": "below"},
    "dense is longer": {"left": "dense", "right": "plain", "metric": LENGTH},
    "credit": {"left": "dense", "right": "plain", "metric": "credit/unexplained"},
    "absent": {"left": "other", "right": "plain", "metric": ACCURACY},
  },
}


def entry(last: float, length: float, seeds: int = 5) -> Entry:
  """Accuracy rises from 0 to `last` over 200 tokens; seeds differ a little."""
  tokens = np.array([[0.0], [100.0], [200.0]]) * np.ones(seeds)
  shift = np.linspace(-0.01, 0.01, seeds)
  accuracy = np.array([[0.0], [last / 2], [last]]) + shift
  at_budget = {ACCURACY: list(0.75 * last + shift), LENGTH: [length] * seeds}
  values = {ACCURACY: accuracy, LENGTH: np.full((3, seeds), length)}
  return Entry(tokens, values, at_budget, 3.0, {"git_commit": "abc", "git_clean": True}, ("learning_rate=0.001",))


def test_the_table_holds_intervals_differences_and_verdicts(tmp_path):
  entries = {"plain": entry(0.4, 20.0), "dense": entry(0.8, 10.0)}
  written = study_page.write(tmp_path / "results", "toy", CONFIG, entries, "python -m rl_jax.study toy.py")
  assert "| plain | learning_rate=0.001 | 0.300 [0.29" in written.table
  assert "| dense | learning_rate=0.001 | 0.600 [" in written.table and "| +0.300 [+0.300" in written.table
  assert "- dense is better: **holds**" in written.table and "- dense is shorter: **holds**" in written.table
  assert "- dense is longer: **does not hold**" in written.table
  assert "- credit: not measured (credit/unexplained)" in written.table and "absent" not in written.table
  assert "learning_rate in 0.001, 0.0001 (num_seeds=2, same budget) for every method, chosen by" in written.table
  small = json.loads((tmp_path / "results/toy.json").read_text())
  assert small["entries"]["dense"]["values"][ACCURACY][1] == pytest.approx([0.39, 0.395, 0.4, 0.405, 0.41])
  assert small["command"] == "python -m rl_jax.study toy.py"
  assert (tmp_path / "results/toy.png").read_bytes().startswith(b"\x89PNG")


def test_a_claim_that_seeds_cannot_decide_is_undecided(tmp_path):
  entries = {"plain": entry(0.4, 20.0), "dense": entry(0.4, 20.0)}
  table = study_page.write(tmp_path, "toy", CONFIG, entries, "").table
  assert "- dense is better: **undecided**" in table and "- dense is shorter: **undecided**" in table


GATED = CONFIG | {"gates": {"oracle": "oracle", "no_reward": "nothing"}, "note": "Provisional."}


def gated(last):
  found = entry(last, 20.0)
  values = found.values | {"held_out/greedy_accuracy": np.full((3, 5), 0.1)}
  return found._replace(values=values, iterations=(0, 5, 10), updates_per_iteration=4)


def test_a_study_with_gates_measures_shares_of_the_gap_and_judges_no_claim_when_one_fails(tmp_path):
  entries = {"plain": gated(0.4), "dense": gated(0.5), "oracle": gated(0.8), "nothing": gated(0.02)}
  written = study_page.write(tmp_path, "toy", GATED, entries, "")
  assert written.table.startswith("Provisional.\n")
  assert "| mean accuracy over 30 updates |" in written.table and "| 30 |" in written.table
  dense = next(line for line in written.table.splitlines() if line.startswith("| dense"))
  assert dense.count("| 0.25 [0.25, 0.25] |") == 2  # of the gap, over tokens and over updates
  assert "- oracle: holds (to 0.300 oracle needs 75 tokens, plain needs 150; wanted at most half)" in written.table
  assert "- dense is better: **holds**" in written.table
  entries["oracle"] = gated(0.45)
  failed = study_page.write(tmp_path, "toy", GATED, entries, "").table
  assert "- oracle: **fails**" in failed and "- dense is better: not judged (gates: oracle) (" in failed
  assert [gate["passed"] for gate in json.loads((tmp_path / "toy.json").read_text())["gates"]][-1] is False


def test_no_share_is_shown_of_a_gap_that_seeds_do_not_tell(tmp_path):
  entries = {"plain": gated(0.4), "dense": gated(0.5), "oracle": gated(0.4), "nothing": gated(0.02)}
  assert "| 0.25 [" not in study_page.write(tmp_path, "toy", GATED, entries, "").table


def test_a_study_of_something_else_does_not_compare_accuracy(tmp_path):
  entries = {"plain": entry(0.4, 20.0), "dense": entry(0.8, 10.0)}
  table = study_page.write(tmp_path, "toy", CONFIG | {"metrics": (LENGTH,), "claims": {}}, entries, "").table
  assert "minus plain" not in table


def test_several_starts_are_said(tmp_path):
  entries = {"plain": entry(0.4, 20.0, seeds=6)._replace(starts=2)}
  assert "per seed, 6 seeds of 2 starts: " in study_page.write(tmp_path, "toy", CONFIG, entries, "").table


def test_claims_without_gates_are_said_to_have_none(tmp_path):
  page = lambda config: study_page.write(tmp_path, "toy", config, {"plain": gated(0.4), "dense": gated(0.5)}, "").table
  assert "No gates: " in page(CONFIG) and "No gates: " not in page(CONFIG | {"claims": {}})
  gates = {"oracle": gated(0.8), "nothing": gated(0.02)}
  assert (
    "No gates: "
    not in study_page.write(tmp_path, "toy", GATED, {"plain": gated(0.4), "dense": gated(0.5)} | gates, "").table
  )


def test_entries_that_were_not_run_are_named(tmp_path):
  config = CONFIG | {"entries": {"plain": {}, "dense": {}, "other": {}}}
  page = study_page.write(tmp_path, "toy", config, {"plain": entry(0.4, 20.0), "dense": entry(0.5, 20.0)}, "").table
  assert "Not run: other; nor are their claims judged." in page


def test_what_tuning_tried_is_shown(tmp_path):
  tried = {"learning_rates=(0.1,)": 0.2, "learning_rates=(0.2,)": 0.3}
  entries = {"plain": entry(0.4, 20.0)._replace(tried=tried)}
  table = study_page.write(tmp_path, "toy", CONFIG, entries, "").table
  assert "| plain | 0.200 | 0.300 |" in table


def test_an_entry_keeps_its_colour_and_dash_where_another_lacks_the_metric(tmp_path, monkeypatch):
  drawn = []
  monkeypatch.setattr(study_page.figures, "png", lambda panels, title: drawn.extend(panels) or b"")
  without = lambda by_metric: {metric: value for metric, value in by_metric.items() if metric != LENGTH}
  short = lambda found: found._replace(values=without(found.values), at_budget=without(found.at_budget))
  entries = {"plain": short(gated(0.4)), "dense": gated(0.5), "oracle": short(gated(0.8)), "nothing": gated(0.02)}
  study_page.write(tmp_path, "toy", GATED, entries, "")
  styles = {panel.title: {curve.label: (curve.in_ink, curve.style) for curve in panel.curves} for panel in drawn}
  assert styles[ACCURACY] == {"plain": (False, 0), "dense": (False, 1), "oracle": (True, 0), "nothing": (True, 1)}
  assert styles[LENGTH] == {"dense": (False, 1), "nothing": (True, 1)}


def test_a_start_that_is_already_right_is_said(tmp_path):
  right = entry(0.4, 20.0)
  right = right._replace(values=right.values | {"held_out/greedy_accuracy": np.ones((3, 5))})
  table = study_page.write(tmp_path, "toy", CONFIG, {"plain": right, "dense": right}, "").table
  assert table.count("warning: the start is already right (greedy accuracy 1.00)") == 1


def test_the_page_is_that_of_the_committed_file(tmp_path):
  """Entries are committed singly: a later one must not change the figures of those before it."""
  rng, count = np.random.default_rng(0), 3 * POINTS
  tokens = np.linspace(0, 200, count)[:, None] * np.ones(6)
  noisy = lambda last: entry(last, 20.0, seeds=6)._replace(
    tokens=tokens,
    values={ACCURACY: last * tokens / 200 + 0.2 * rng.random((count, 6)), LENGTH: rng.random((count, 6))},
  )
  written = study_page.write(tmp_path, "toy", CONFIG, {"plain": noisy(0.4), "dense": noisy(0.45)}, "")
  again = study_page.write(tmp_path, "toy", CONFIG, study_page.read(tmp_path, "toy"), "")
  assert again.table == written.table
  assert again.files[1].read_bytes() == written.files[1].read_bytes()


def test_four_seeds_are_too_few(tmp_path):
  with pytest.raises(UserError, match="plain has 4 seeds: a study compares at least 5"):
    study_page.write(tmp_path, "toy", CONFIG, {"plain": entry(0.4, 1.0, seeds=4)}, "")


def test_an_entry_keeps_the_settings_that_it_was_run_with(tmp_path):
  """A later write has the study's settings of its time; a record older than the field has those of its file."""
  plain, dense = ({"config": "grpo", "overrides": [f"epochs={epochs}"]} for epochs in (1, 2))
  config = CONFIG | {"entries": {"plain": plain, "dense": dense}}
  entries = {"plain": entry(0.4, 20.0), "dense": entry(0.8, 10.0)}
  settings = {name: specification(json.loads(json.dumps(config)), name) for name in entries}
  entries = {name: entries[name]._replace(specification=settings[name]) for name in entries}
  assert "other settings" not in study_page.write(tmp_path, "toy", config, entries, "").table
  record = json.loads((tmp_path / "toy.json").read_text())
  del record["entries"]["dense"]["specification"]
  (tmp_path / "toy.json").write_text(json.dumps(record))
  there = study_page.read(tmp_path, "toy")
  assert {name: read.specification for name, read in there.items()} == settings
  changed = config | {"entries": {"plain": plain, "dense": dense | {"overrides": ["epochs=3"]}}}
  line = "Run with other settings than the study has now: dense (with epochs=2 for epochs=3)."
  for _ in range(2):  # what a write has changed is not forgotten by the next one
    assert line in study_page.write(tmp_path, "toy", changed, study_page.read(tmp_path, "toy"), "").table
  fewer = config | {"entries": {"plain": plain | {"config": "experiments/grpo.py"}, "dense": dense | {"overrides": []}}}
  line = "Run with other settings than the study has now: dense (with epochs=2 for nothing)."
  assert line in study_page.write(tmp_path, "toy", fewer, study_page.read(tmp_path, "toy"), "").table


def test_settings_of_the_whole_study_are_those_of_its_entries(tmp_path):
  """Entries that differ from today's study in the same way stand together; words of the page are no settings, and
  neither are fields without a value. Overrides of all runs, of final ones and of tuning are told apart."""
  own = {name: {"config": "grpo", "overrides": []} for name in ("plain", "dense")}
  tuning = {"grid": {}, "overrides": ["seed=5"], "learning_rates": [0.1, 0.2]}
  config = CONFIG | {"entries": own, "tuning": tuning}
  study_page.write(tmp_path, "toy", config, {"plain": entry(0.4, 20.0), "dense": entry(0.8, 10.0)}, "")
  changed = config | {"tuning": tuning | {"learning_rates": [0.1, 0.3], "metric": ""}, "note": "words"}
  page = study_page.write(tmp_path, "toy", changed, study_page.read(tmp_path, "toy"), "").table
  change = "with tuning.learning_rates=[0.1, 0.2] for tuning.learning_rates=[0.1, 0.3]"
  assert f"Run with other settings than the study has now: plain, dense ({change})." in page
  changed = config | {"final_overrides": ["num_seeds=6"], "tuning": tuning | {"overrides": ["seed=6"]}}
  page = study_page.write(tmp_path, "toy", changed, study_page.read(tmp_path, "toy"), "").table
  change = "with tuning.overrides: seed=5 for final_overrides: num_seeds=6, tuning.overrides: seed=6"
  assert f"plain, dense ({change})." in page


def test_a_metric_that_no_entry_has_is_named(tmp_path):
  """As a name that is written wrong."""
  entries = {"plain": entry(0.4, 20.0), "dense": entry(0.8, 10.0)}
  page = lambda config: study_page.write(tmp_path, "toy", config, entries, "").table
  assert "No entry on this page has credit/unexplained." in page(CONFIG)
  assert "No entry on this page" not in page(CONFIG | {"metrics": (ACCURACY, LENGTH)})


def test_seconds_of_tuning_are_told_where_they_are_known(tmp_path):
  entries = {"plain": entry(0.4, 20.0)._replace(tuning_seconds=7.4), "dense": entry(0.8, 10.0)}
  table = study_page.write(tmp_path, "toy", CONFIG, entries, "").table
  assert "| train seconds | seconds of tuning |" in table and "| 3 | 7 |\n" in table and "| 3 |  |\n" in table
  assert study_page.read(tmp_path, "toy")["plain"].tuning_seconds == 7.4
