"""Citation of a run: its hash, code, command and headline number, its stages, and the papers that they implement."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from rl_jax.errors import UserError
from rl_jax.runs.content import SHORT, content_sha256
from rl_jax.runs.directory import RunDirectory
from rl_jax.runs.formatting import mean_and_spread
from rl_jax.runs.metric_names import ACCURACY
from rl_jax.runs.papers import Paper, look_up
from rl_jax.runs.record import load
from rl_jax.runs.stages import stages, starts
from rl_jax.runs.statistics import mean, spread
from rl_jax.runs.visible import visible


class CitedRun(NamedTuple):
  """Data of a cited run."""

  name: str
  content_sha256: str
  method: str
  command: str
  date: str
  """Date of the last launch's end, or else of its start, as in "2026-03-01"."""
  commits: tuple[str, ...]
  """Commits of its launches, each once; "unknown" where rl_jax was not run from a checkout."""
  uncommitted: tuple[str, ...]
  """SHA-256 of uncommitted changes, for launches that had any."""
  accuracy: tuple[float, ...]
  """Final held-out accuracy of each seed; empty if it was never measured."""
  iterations: int
  papers: tuple[str, ...]
  starts: tuple[str, ...] = ()
  """Starts of its models in words; empty if all models were randomly initialised."""
  stages: tuple[CitedRun, ...] = ()
  """The runs that it comes from, in the order of training; their own stages are left out."""
  missing: tuple[str, ...] = ()
  """Names of stages that are gone, or have changed since the run started from them."""
  faults: tuple[str, ...] = ()
  """Faults of the record: parts that have changed since its launches."""

  @property
  def short(self) -> str:
    """Short name of the run, for users."""
    return self.content_sha256[:SHORT]

  @property
  def headline(self) -> str:
    """Final number as text."""
    if not self.accuracy:
      return "held-out accuracy was not measured"
    seeds = len(self.accuracy)
    number = mean_and_spread(self.accuracy, 3)
    return f"held-out accuracy {number} ({seeds} seed{'s' * (seeds != 1)}, {self.iterations} iterations)"

  @property
  def notes(self) -> list[str]:
    """Caveats about the number and the recorded commit."""
    notes = [f"not as recorded ({'; '.join(self.faults)})"] if self.faults else []
    if self.uncommitted:
      changes = ", ".join(digest[:SHORT] for digest in self.uncommitted)
      notes.append(f"run with uncommitted changes (SHA-256 {changes}): the commit alone does not give this number")
    if len(self.commits) > 1:
      notes.append(f"its launches were of {len(self.commits)} commits")
    notes += [f"stage {name} is gone, or is no longer what this run started from" for name in self.missing]
    return notes

  @property
  def as_stage(self) -> str:
    """Description of the run as a stage of another run."""
    papers = "".join(f", arXiv:{paper}" for paper in self.papers)
    return f"{self.name} ({self.short}): {self.method}{papers}, {self.headline}; {self.beginning}"

  @property
  def beginning(self) -> str:
    """Starts of its models, in words."""
    return ", ".join(self.starts) or "from random parameters"


def cited(directory: RunDirectory) -> CitedRun:
  """Read a run with its stages; the caller adds its faults.

  Raises: UserError: the run was never launched, or one of its files or of its stages' files is damaged.
  """
  found = stages(directory)
  before = tuple(_alone(stage.directory) for stage in found if stage.directory is not None)
  missing = tuple(stage.name for stage in found if stage.directory is None)
  return _alone(directory)._replace(stages=before, missing=missing)


def _alone(directory: RunDirectory) -> CitedRun:
  record = load(directory)
  if not record.launches:
    raise UserError(f"{directory.path} has no launch in manifest.json: there is nothing to cite yet")
  series = record.series.get("evaluation", {}).get(ACCURACY)
  last = record.launches[-1]
  end_time = last.get("end", {}).get("ended") or last.get("started", "")
  launched = lambda field: (launch.get(field) for launch in record.launches)
  return CitedRun(
    name=record.name,
    content_sha256=content_sha256(directory),
    method=record.config.get("method", {}).get("name", ""),
    command=shlex.join(record.launches[0].get("command", [])),
    date=end_time[:10],
    commits=tuple(dict.fromkeys(commit or "unknown" for commit in launched("git_commit"))),
    uncommitted=tuple(dict.fromkeys(digest for digest in launched("uncommitted_sha256") if digest)),
    accuracy=() if series is None else tuple(series.values[-1].tolist()),
    iterations=0 if series is None else int(series.iterations[-1]),
    papers=tuple(dict.fromkeys(paper for papers in launched("papers") for paper in papers or ())),
    starts=tuple(start.text for start in starts(record.launches)),
  )


def as_text(runs: Sequence[CitedRun]) -> str:
  """Citations as text: each run, then the papers of all runs."""
  lines = []
  for run in runs:
    lines += [
      _line(f"{run.name} ({run.short}): {run.headline}"),
      _line(f"  method {run.method}, {run.date}, commit {', '.join(run.commits)}"),
      _line(f"  {run.command}"),
      *([_line(f"  {run.beginning}")] if run.starts else []),
      *(_line(f"  stage {stage.as_stage}") for stage in run.stages),
      *(f"  note: {note}" for note in run.notes),
    ]
  return "\n".join([*lines, *references(runs)])


def references(runs: Sequence[CitedRun]) -> list[str]:
  """One line for each paper of the runs and their stages."""
  title = lambda paper: f"{_names(paper)}: {paper.title} ({paper.year}), " if paper.title else ""
  return [f"{title(paper)}arXiv:{paper.arxiv}" for paper in _papers(runs)]


def as_record(runs: Sequence[CitedRun]) -> dict[str, Any]:
  """Citations as plain JSON values."""
  return {
    "runs": [_run_record(run) for run in runs],
    "papers": [paper._asdict() for paper in _papers(runs)],
  }


def _run_record(run: CitedRun) -> dict[str, Any]:
  return run._asdict() | {
    "headline": run.headline,
    "mean": mean(run.accuracy),
    "spread": spread(run.accuracy),
    "notes": run.notes,
    "stages": [_run_record(stage) for stage in run.stages],
  }


def as_bibtex(runs: Sequence[CitedRun]) -> str:
  """Entries for a .bib file: each run as @misc, then the papers of all runs, each once."""
  return "\n\n".join([*(_run_entry(run) for run in runs), *(_paper_entry(paper) for paper in _papers(runs))])


def _line(text: str) -> str:
  return visible(text, keep="")


def _papers(runs: Sequence[CitedRun]) -> list[Paper]:
  return look_up(paper for run in runs for one in (run, *run.stages) for paper in one.papers)


def _run_entry(run: CitedRun) -> str:
  year, _, rest = run.date.partition("-")
  about = [f"{run.headline[0].upper()}{run.headline[1:]}", f"content {run.content_sha256}"]
  about += [f"commit {', '.join(run.commits)}", *run.notes, *([run.beginning] if run.starts else [])]
  about += [f"stage {stage.as_stage}" for stage in run.stages]
  fields = {
    "key": _line(run.name),
    "title": f"{{{latex(f'rl_jax run {run.name} ({run.method}), {run.short}')}}}",
    "howpublished": rf"\texttt{{{latex(run.command)}}}",
    "note": latex(". ".join(f"{part[0].upper()}{part[1:]}" for part in about)),
    "year": year,
    "month": rest[:2],
  }
  return _entry("misc", f"rl_jax:{run.short}", fields)


def _paper_entry(paper: Paper) -> str:
  fields = {
    "title": f"{{{latex(paper.title)}}}" if paper.title else "",
    "author": latex(" and ".join(paper.authors)),
    "year": str(paper.year or ""),
    "eprint": paper.arxiv,
    "archivePrefix": "arXiv",
  }
  return _entry("misc", paper.key, fields)


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
  lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
  return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def _names(paper: Paper) -> str:
  if not paper.authors:
    return "?"
  if paper.authors[-1] == "others":
    return f"{', '.join(paper.authors[:-1])} and others"
  return " and ".join(filter(None, [", ".join(paper.authors[:-1]), paper.authors[-1]]))


_SPECIAL = {
  "\\": r"\textbackslash{}",
  "~": r"\textasciitilde{}",
  "^": r"\textasciicircum{}",
  "±": r"$\pm$",
  **{character: f"\\{character}" for character in "&%$#_{}"},
}
_ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u030c": "v"}


def latex(text: str) -> str:
  """Text for a BibTeX field, with TeX characters escaped and accents as commands."""
  escaped = "".join(_SPECIAL.get(character, character) for character in _line(text))
  return re.sub(r"[^\x00-\x7f]", lambda match: _accented(match.group()), escaped)


def _accented(letter: str) -> str:
  parts = unicodedata.normalize("NFD", letter)
  if len(parts) != 2 or parts[1] not in _ACCENTS:
    return letter
  return f"{{\\{_ACCENTS[parts[1]]}{{{parts[0]}}}}}"
