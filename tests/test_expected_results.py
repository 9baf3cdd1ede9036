"""Docstrings of experiments and studies: question, command, hardware, time, expected numbers as in the results."""

from __future__ import annotations

import ast
import json
import re
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments/results"
FILES = {
  path.relative_to(ROOT / "experiments").with_suffix("").as_posix(): path
  for folder in ("experiments", "experiments/studies")
  for path in sorted((ROOT / folder).glob("*.py"))
  if path.stem not in ("__init__", "common")
}
DOCSTRINGS = {
  name: " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split()) for name, path in FILES.items()
}
AT_TOKENS = re.compile(r"(\S+) after ([\d,]+) tokens: ([^;]+); (\d+) seeds \(results/(\w+)\.json\)")
AT_ITERATION = re.compile(r"(\S+) at iteration (\d+): ([\d.]+)(?: ± ([\d.]+))?; (\d+) seeds? \(results/(\w+)\.json\)")
HARDWARE = re.compile(r"Hardware: (\d+) threads of an ([^;]+); ([\d,]+) s\b")


def result(name: str) -> dict:
  return json.loads((RESULTS / f"{name}.json").read_text())


def processor(origin: dict) -> str:
  return origin["cpu_model"].replace("(R)", "").removesuffix(" Processor")


def shown(values: list[float]) -> str:
  return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


@pytest.mark.parametrize("name", FILES)
def test_what_it_asks_and_how_to_run_it(name):
  text = DOCSTRINGS[name]
  assert "?" in text.partition("Command: ")[0], "begin with the question, or write Question: …?"
  assert re.search(r"Command: (rl-jax|python -m rl_jax\.)\w*", text), "write Command: rl-jax train …"
  is_run = AT_TOKENS.search(text) or AT_ITERATION.search(text)
  assert bool(is_run) == bool(HARDWARE.search(text)), "an expected number comes with its hardware and time"
  assert "Expected: " in text, "say what is expected, or: no result yet"


BLOCKS = [
  (name, f"Command: {block}")
  for name, text in DOCSTRINGS.items()
  for block in text.split("Command: ")[1:]
  if AT_TOKENS.search(block)
]
"""Docstrings from each command on: a study has one for each of its variants that has been run."""


@pytest.mark.parametrize(("name", "text"), BLOCKS, ids=[f"{name}-{i}" for i, (name, _) in enumerate(BLOCKS)])
def test_numbers_at_a_budget_of_tokens(name, text):
  metric, tokens, numbers, seeds, file = AT_TOKENS.search(text).groups()
  saved = result(file)
  entries = saved["entries"]
  written = dict(part.split(" ", 1) for part in numbers.split(", "))
  expected = {entry: shown(entries[entry]["at_budget"][metric]) for entry in written}
  assert written == expected
  assert int(tokens.replace(",", "")) == saved["study"]["token_budget"]
  assert {len(entries[entry]["at_budget"][metric]) for entry in written} == {int(seeds)}
  is_study = name.startswith("studies/")
  origins = list(entries.values()) if is_study else [entries[entry] for entry in written]
  threads, cpu, seconds = HARDWARE.search(text).groups()
  assert {(str(origin["cpu_threads_allowed"]), processor(origin)) for origin in origins} == {(threads, cpu)}
  assert seconds == f"{sum(origin['seconds'] for origin in origins):,.0f}"
  assert not is_study or f"Command: {saved['command']} " in text


@pytest.mark.parametrize("name", [name for name, text in DOCSTRINGS.items() if AT_ITERATION.search(text)])
def test_numbers_at_an_iteration(name):
  for metric, iteration, mean, spread, seeds, file in AT_ITERATION.findall(DOCSTRINGS[name]):
    curve = result(file)["curves"][metric]
    values = curve["seeds"][curve["iterations"].index(int(iteration))]
    assert (f"{statistics.mean(values):.3f}", len(values)) == (mean, int(seeds))
    assert spread == (f"{statistics.stdev(values):.3f}" if len(values) > 1 else "")
  first = result(AT_ITERATION.search(DOCSTRINGS[name])[6])
  threads, cpu, seconds = HARDWARE.search(DOCSTRINGS[name]).groups()
  assert (str(first["cpu_threads_allowed"]), processor(first), f"{first['seconds']:,.0f}") == (threads, cpu, seconds)
  assert f"Command: {' '.join(first['command'])} " in DOCSTRINGS[name]


def suggestion(name: str) -> str:
  """Lines for the docstring of a study whose result is not cited."""
  saved = result(name)
  if "entries" not in saved:
    return f"Command: {' '.join(saved['command'])}"
  study, entries = saved["study"], saved["entries"]
  metric = study["metrics"][0]
  numbers = {entry: found["at_budget"].get(metric) for entry, found in entries.items()}
  seconds = sum(entry["seconds"] for entry in entries.values())
  some = next(iter(entries.values()))
  return (
    f"Command: {saved['command']}\n"
    f"Hardware: {some['cpu_threads_allowed']} threads of an {processor(some)}; {seconds:,.0f} s in all, tuning not "
    "counted.\n"
    f"Expected: {metric} after {study['token_budget']:,} tokens: "
    + ", ".join(f"{entry} {shown(values)}" for entry, values in numbers.items() if values)
    + f"; {len(some['at_budget'][metric])} seeds (results/{name}.json)."
  )


@pytest.mark.parametrize("name", sorted(path.stem for path in RESULTS.glob("*.json")))
def test_every_result_is_expected_by_an_experiment(name):
  of_studies = [text for file, text in DOCSTRINGS.items() if file.startswith("studies/") or AT_ITERATION.search(text)]
  assert any(f"(results/{name}.json)" in text for text in of_studies), f"its docstring may end in:\n{suggestion(name)}"


def test_a_suggestion_has_the_form_that_is_read():
  text = " ".join(suggestion("adora").split())
  assert AT_TOKENS.search(text) and HARDWARE.search(text)
