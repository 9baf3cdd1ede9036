"""Rewrite the generated tables of README.md, kernels/README.md and docs/: python docs/tables.py [--check].

A table is between the lines `<!-- NAME: made by ... -->` and `<!-- end -->`. With --check nothing is written, and the
exit status is 1 if a table is stale.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from stage import experiments_of  # noqa: E402

from rl_jax import list as listing  # noqa: E402
from rl_jax.experiments import smollm2_agent  # noqa: E402
from rl_jax.kernels import _papers  # noqa: E402
from rl_jax.runs import metric_names, study_page  # noqa: E402
from rl_jax.runs.comparison import Estimate, paired_difference  # noqa: E402
from rl_jax.runs.intervals import wilson  # noqa: E402
from rl_jax.runs.metric_names import ACCURACY  # noqa: E402
from rl_jax.runs.study_results import Entry  # noqa: E402

RESULTS = ROOT / "experiments/results"
DISCUSSED = ("horizon", "rates", "credit", "credit_rows", "curriculum", "settings", "sharpening", "turns")
"""Studies with a text of their own in docs/studies.md."""


def pages() -> list[Path]:
  """Files that may hold generated tables."""
  return [ROOT / "README.md", ROOT / "kernels/README.md", *sorted((ROOT / "docs").glob("*.md"))]


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  """A Markdown table."""
  lines = [f"| {' | '.join(line)} |" for line in (header, *rows)]
  return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])


def docstring(path: Path) -> str:
  """A module's docstring, without importing it."""
  return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def named(stem: str) -> tuple[str, str]:
  """Name and idea of a method by its docstring: "GRPO", "group relative policy optimisation"."""
  about = listing.entry_of(stem, ast.parse((ROOT / f"rl_jax/methods/{stem}.py").read_text(encoding="utf-8"))).about
  name, _, idea = about.partition(": ")
  return name, idea


def methods() -> str:
  """Methods in the order of their papers, controls last: idea, papers, experiments, source of the formulas."""
  confidence = {entry["arxiv"]: entry["confidence"] for entry in json.loads((ROOT / "kernels/papers.json").read_text())}
  rows = []
  for entry in listing.roles("methods"):
    stem = entry.name.rpartition(".")[2]
    name, idea = named(stem)
    papers = ", ".join(f"[{arxiv}](https://arxiv.org/abs/{arxiv})" for arxiv in entry.papers)
    said = re.search(r"^Source: (.*?)\.?(?:\n\n|\Z)", docstring(ROOT / f"rl_jax/methods/{stem}.py"), re.M | re.S)
    source = " ".join(said[1].split()) if said else confidence.get(entry.papers[0], "") if entry.papers else ""
    row = (
      f"[{name}](rl_jax/methods/{stem}.py)",
      idea,
      papers,
      ", ".join(f"[{path.stem}]({path})" for path in experiments_of(stem)),
      source,
    )
    rows.append(((entry.papers or ("9999",))[-1], stem, row))
  return markdown(
    ("method", "idea", "paper", "experiments", "formulas checked against"), [row for *_, row in sorted(rows)]
  )


def page_table(study: str) -> list[dict[str, str]]:
  """The first table of a study's page, a dictionary for each row."""
  text = (RESULTS / f"{study}.md").read_text(encoding="utf-8")
  header, _, *rows = re.search(r"(?:^\|.*\n)+", text, re.M)[0].splitlines()
  cells = lambda line: [cell.strip() for cell in line.strip("|").split("|")]
  return [dict(zip(cells(header), cells(row), strict=True)) for row in rows]


def horizon(study: str) -> str:
  """Accuracy of a study of long horizons, and how far each method's curve is above GRPO's."""
  entries, budget = study_page.read(RESULTS, study), json.loads((RESULTS / f"{study}.json").read_text())["study"]
  tokens = budget["token_budget"]
  updates = min(entry.end("updates", tokens) for entry in entries.values())
  order = [name for name in budget["entries"] if name in entries]
  rows_by_name = {row["method"]: row for row in page_table(study)}
  rows = []
  for name in order:
    page, entry = rows_by_name[name], entries[name]
    row = [_method_name(name), re.search(r"[\d.e-]+", page["tuned"].partition("=")[2])[0]]
    row += [page[ACCURACY], page["held_out/greedy_accuracy"].partition(" ")[0], page["updates at the budget"]]
    for axis, end, column in (
      ("tokens", tokens, "mean accuracy over tokens"),
      ("updates", updates, f"mean accuracy over {updates:.0f} updates"),
    ):
      row += [page[column].partition(" ")[0], _above(entry, entries["grpo"], axis, end) if name != "grpo" else ""]
    rows.append(row)
  over = f"mean over {updates:.0f} updates"
  header = (
    "method",
    "rate",
    "sampled accuracy",
    "greedy",
    "updates",
    "mean over tokens",
    "minus GRPO",
    over,
    "minus GRPO",
  )
  return markdown(header, rows)


def rates() -> str:
  """How far each curve of `horizon` is above GRPO's over tokens, at either rate of the study `rates`."""
  entries, baselines = (study_page.read(RESULTS, study) for study in ("horizon", "rates"))
  config = json.loads((RESULTS / "horizon.json").read_text())["study"]
  baselines = {name: entry for name, entry in baselines.items() if name.startswith("grpo")}
  rate = lambda entry: dict(each.split("=", 1) for each in entry.specification["overrides"])["learning_rate"]
  order = [name for name in config["entries"] if name in entries and name != "grpo"]
  ordered = sorted(baselines.values(), key=lambda entry: float(rate(entry)))
  rows = [
    [_method_name(name), *(_above(entries[name], one, "tokens", config["token_budget"]) for one in ordered)]
    for name in order
  ]
  return markdown(("method", *(f"minus GRPO at {rate(one)}" for one in ordered)), rows)


def _above(entry: Entry, baseline: Entry, axis: str, end: float) -> str:
  heights = [each.mean_over(ACCURACY, axis, end) for each in (entry, baseline)]
  return _signed(paired_difference(*heights, entry.starts))


def _signed(difference: Estimate) -> str:
  return f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


def _method_name(name: str) -> str:
  """The method's name, or the entry's own for a control."""
  known = (ROOT / f"rl_jax/methods/{name}.py").exists() and name not in ("oracle", "no_reward")
  return named(name)[0] if known else f"`{name}`"


def credit_rows() -> str:
  """Credit that the truth leaves unexplained, at the start and half way."""
  rows = {row["method"]: row for row in page_table("credit_rows")}
  names = [name for name in rows if not name.endswith("_half_way")]
  lines = []
  for label, suffix in (("at the start", ""), ("half way", "_half_way")):
    value = lambda name, metric, suffix=suffix: rows[name + suffix][metric].partition(" ")[0]
    cells = [value(name, "credit/unexplained") for name in names]
    lines.append([label, *cells, value(names[0], "credit/noise_floor")])
  return markdown(("policy", *map(_method_name, names), "noise floor"), lines)


_CLAIM = re.compile(
  r"^- (?P<claim>.*): (?:\*\*(?P<verdict>[\w ]+)\*\*|(?P<why>not (?:judged|measured) \([^)]*\)))"
  r"(?: \(.*?, (?:\w+ minus|both of) \w+: (?P<difference>\S+ \[[^]]*\])(?:; at .*?\], (?P<together>[\w ]+))?\))?$",
  re.M,
)


def claims() -> str:
  """Verdicts on the claims of the papers that have a study of their own."""
  rows = []
  for study in sorted(path.stem for path in (ROOT / "experiments/studies").glob("[!_]*.py")):
    page = RESULTS / f"{study}.md"
    if study in DISCUSSED or not page.exists():
      continue
    name = f"[{_method_name(study)}](../experiments/results/{study}.md)"
    for claim in _CLAIM.finditer(page.read_text(encoding="utf-8")):
      verdict, together = claim["verdict"] or claim["why"], claim["together"]
      verdict += f" ({together} together)" if together and together != verdict else ""
      rows.append((name, claim["claim"], verdict, claim["difference"] or ""))
      name = ""
  return markdown(("study", "claim", "verdict", "difference"), rows)


def smollm2() -> str:
  """Accuracy of SmolLM2 on easy arithmetic, before and after."""
  rows = [("before", *_evaluation("smollm2_base"), "")]
  for seed in (0, 1):
    name = f"smollm2_grpo_seed{seed}"
    minutes = json.loads((RESULTS / f"{name}.json").read_text())["seconds"] / 60
    rows.append((f"50 iterations, seed {seed}", *_evaluation(name), f"{minutes:.0f}"))
  return markdown(("policy", "pass@1", "pass@4", "greedy", "minutes on 2 cores"), rows)


def agent() -> str:
  """Accuracy of SmolLM2 with a calculator by method, seed and iteration."""
  rows: list[Sequence[str]] = []
  problems = smollm2_agent.get_config().evaluation.prompts
  for method, label in (("", "IGPO"), ("_grpo", "GRPO")):
    for seed in (0, 1):
      saved = json.loads((RESULTS / f"smollm2_agent{method}_seed{seed}.json").read_text())
      curve = saved["curves"][ACCURACY]
      cells = (
        f"{mean:.2f} [{low:.2f}, {high:.2f}]" for mean in curve["mean"] for low, high in [wilson(mean, problems)]
      )
      rows.append((f"{label}, seed {seed}", *cells, f"{saved['seconds'] / 60:.0f}"))
      header = ("run", *(f"iteration {iteration}" for iteration in curve["iterations"]), "minutes on 2 cores")
  return markdown(header, rows)


def _evaluation(name: str) -> list[str]:
  """Estimates of an evaluation, with their intervals."""
  summary = json.loads((RESULTS / f"evaluations/{name}.json").read_text())["summary"]
  estimates = [summary["pass_at"]["1"], summary["pass_at"]["4"], summary["greedy"]]
  return [f"{e['value']:.3f} [{e['low']:.3f}, {e['high']:.3f}]" for e in estimates]


def times() -> str:
  """Seconds of training of the committed results, tuning not counted."""
  rows = []
  for path in sorted(RESULTS.glob("*.json")):
    result = json.loads(path.read_text(encoding="utf-8"))
    link = f"[{path.stem}](../experiments/results/{path.name})"
    if "entries" not in result:
      seeds = len(next(iter(result["curves"].values()))["seeds"][0])
      rows.append((link, "1", f"{seeds}", "", f"{result['seconds']:.0f}", _hardware(result)))
      continue
    entries = list(result["entries"].values())
    seconds = [entry["seconds"] for entry in entries]
    seeds, tokens = len(entries[0]["tokens"][0]), result["study"]["token_budget"]
    spread = f"{min(seconds):.0f} to {max(seconds):.0f}"
    rows.append((link, f"{len(entries)}", f"{seeds}", f"{tokens:,}", spread, _hardware(entries[0])))
  header = ("result", "runs", "seeds per run", "tokens per seed", "seconds per run", "hardware")
  return markdown(header, rows)


def memory() -> str:
  """Peak memory of experiments, as docs/measure.py found it."""
  results = json.loads((ROOT / "docs/memory.json").read_text(encoding="utf-8"))
  rows = [
    (f"[{name}](../experiments/{name}.py)", f"{result['peak_mib']:,}") for name, result in sorted(results.items())
  ]
  return markdown(("experiment", "peak memory, MiB"), rows)


def _hardware(origin: dict[str, Any]) -> str:
  return f"{origin['cpu_model'].replace('(R)', '').removesuffix(' Processor')}, {origin['cpu_threads_allowed']} threads"


TABLES: dict[str, Callable[[], str]] = {
  "methods": methods,
  "papers": _papers.markdown,
  "metrics": metric_names.table,
  "horizon": partial(horizon, "horizon"),
  "horizon_16": partial(horizon, "horizon_16"),
  "rates": rates,
  "credit_rows": credit_rows,
  "claims": claims,
  "smollm2": smollm2,
  "agent": agent,
  "times": times,
  "memory": memory,
}
_BLOCK = re.compile(r"^(<!-- (\w+): made by [^\n]* -->\n).*?^(<!-- end -->)$", re.M | re.S)


def rewritten(text: str) -> str:
  """A page with its tables made anew. Raises ValueError for a block that no function makes."""

  def block(match: re.Match[str]) -> str:
    if match[2] not in TABLES:
      raise ValueError(f"no table {match[2]!r} (known: {', '.join(TABLES)})")
    return f"{match[1]}{TABLES[match[2]]()}\n{match[3]}"

  return _BLOCK.sub(block, text)


def main(argv: list[str]) -> int:
  """Rewrite the pages; return 1 if --check finds a stale one."""
  stale = []
  for page in pages():
    text = page.read_text(encoding="utf-8")
    if (new := rewritten(text)) != text:
      stale.append(str(page.relative_to(ROOT)))
      if "--check" not in argv:
        page.write_text(new, encoding="utf-8")
  print(
    "\n".join(
      [*(f"{name}: {'stale' if '--check' in argv else 'rewritten'}" for name in stale)] or ["all tables are current"]
    )
  )
  return int(bool(stale) and "--check" in argv)


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
