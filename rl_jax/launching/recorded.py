"""Records of runs to be repeated: a run's folder, a committed curve, a committed study."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from rl_jax.configuration import command_line, configs
from rl_jax.errors import UserError
from rl_jax.launching import processes, vouching
from rl_jax.runs import curve, study_results
from rl_jax.runs.directory import RunDirectory, find_run, read_identity
from rl_jax.runs.file_hashes import edited_files
from rl_jax.runs.files import decode_number, read_json
from rl_jax.runs.manifest import read_launches
from rl_jax.runs.metrics import read_metrics
from rl_jax.runs.result_fields import check_curves, check_entry, check_study


class RecordedRun(NamedTuple):
  """Record of a run to be repeated."""

  name: str
  config: ConfigDict
  launches: list[dict[str, Any]]
  lines: dict[tuple[str, int], dict[str, Any]]
  """Lines of the record by kind and iteration."""
  rounded: Callable[[float], float] | None
  """Rounding applied to the numbers before they were written, or None."""
  complete: bool
  """True if the record has a line for every iteration."""
  folder: Path | None
  faults: list[str]
  notes: list[str]
  vouched: bool = True
  """True if hashes prove that no line has changed since it was written."""
  edited: bool = False
  """True if identity.json, config.json or method.py has changed since its launch."""
  config_changed: bool = False
  """True if fields or defaults of the config have changed since: the numbers then hold within a tolerance."""

  @property
  def iterations(self) -> int:
    """Last iteration of the record."""
    return max((iteration for _, iteration in self.lines), default=0)

  def first(self, field: str) -> Any:
    """Value of a field in the first launch that has it."""
    return next((value for entry in self.launches if (value := entry.get(field)) is not None), None)


def read(target: Path, only: Collection[str] = ()) -> list[RecordedRun]:
  """Read a run's folder, a curve made by `rl_jax.curve`, or the entries of a study made by `rl_jax.study`.

  Args:
    only: names of some of a study's entries.

  Raises: UserError: it is none of these, has no such entry, or its config can no longer be used.
  """
  saved = read_json(target) if target.suffix == ".json" else {}
  kinds = saved.keys() & {"curves", "study"} if isinstance(saved, dict) else set()
  if only and "study" not in kinds:
    raise UserError(f"{target} is not a study: it has no entries to select {', '.join(only)} of")
  if target.suffix != ".json":
    return [_read_run(target)]
  if "curves" in kinds:
    return [_read_curve(target, saved)]
  if "study" in kinds:
    check_study(saved, str(target))
    unknown = sorted(set(only) - saved["entries"].keys())
    if unknown:
      raise UserError(f"{target} has no entry {', '.join(unknown)} (there are: {', '.join(saved['entries'])})")
    entries = {name: entry for name, entry in saved["entries"].items() if name in only or not only}
    return [_read_entry(target, saved["study"], name, entry) for name, entry in entries.items()]
  raise UserError(f"{target} holds no results: make them with python -m rl_jax.curve or rl_jax.study")


def _read_run(folder: Path) -> RecordedRun:
  directory = find_run(folder)
  launches = read_launches(directory.manifest)
  edited = edited_files(directory, launches)
  try:
    config, method_notes = _config_of(directory)
  except UserError as error:
    raise UserError("; ".join([*edited, str(error)])) from error
  vouched = vouching.check(directory, launches)
  doubt = [vouched.doubt] if vouched.doubt else []
  notes = [*doubt, *vouched.notes, *method_notes]
  lines = {(line["kind"], line["iteration"]): line for line in read_metrics(directory.metrics)}
  record = RecordedRun(str(folder), config, launches, lines, None, True, folder, vouched.faults, notes)
  record = record._replace(vouched=not vouched.doubt)
  # Edited files do not tell which version wrote them.
  return record._replace(edited=True) if edited else _with_source_notes(record, read_identity(directory))


def _config_of(directory: RunDirectory) -> tuple[ConfigDict, list[str]]:
  """Config of a run, with the folder's copy of a method whose own file is missing, and notes on that."""
  values = _tuples(read_json(directory.config))
  section = values.get("method") if isinstance(values, dict) else None
  if not isinstance(section, dict) or not isinstance(section.get("name"), str):
    raise UserError(f"{directory.config} is no config of a run (method.name is missing): restore it from a copy")
  name, colon, attribute = section["name"].partition(":")
  if not name.endswith(".py") or Path(name).expanduser().is_file():
    return configs.resolve_config(values), []
  section["name"] = f"{directory.method}{colon}{attribute}"
  return configs.resolve_config(values), [f"{name} is missing: the method is the copy in the run's folder"]


def _read_curve(file: Path, saved: dict[str, Any]) -> RecordedRun:
  check_curves(saved, str(file))
  parser = command_line.make_parser("train", positional=True)
  processes.add_flags(parser)
  try:
    flags = command_line.parse_flags(saved["command"][3:], parser, required=("config",))
  except SystemExit:
    raise UserError(f"{file}, 'command' asks for help and trains nothing: restore the file from a copy") from None
  config = configs.resolve(flags.config, flags.overrides)
  lines: dict[tuple[str, int], dict[str, Any]] = {}
  for name, points in saved["curves"].items():
    kind = "evaluation" if name.startswith(("held_out/", "credit/")) else "train"
    for iteration, seeds in zip(points["iterations"], points["seeds"], strict=True):
      line = lines.setdefault((kind, iteration), {"kind": kind, "iteration": iteration})
      line[name] = [decode_number(value) for value in seeds]
  launches = [{name: value for name, value in saved.items() if name != "curves"}]
  record = RecordedRun(str(file), config, launches, dict(sorted(lines.items())), curve.rounded, False, None, [], [])
  return _with_source_notes(record, saved["identity"])


def _read_entry(file: Path, study: dict[str, Any], name: str, saved: dict[str, Any]) -> RecordedRun:
  check_entry(study, name, saved, f"{file}, entry {name}")
  entry = study["entries"][name]
  overrides = [*study["overrides"], *entry["overrides"], *study["final_overrides"], *saved["chosen"]]
  config = configs.resolve(entry["config"], [*overrides, f"num_tokens={study['token_budget']}"])
  lines = {
    ("evaluation", iteration): {"kind": "evaluation", "iteration": iteration}
    | {metric: [decode_number(value) for value in values[index]] for metric, values in saved["values"].items()}
    for index, iteration in enumerate(saved["iterations"])
  }
  record = RecordedRun(f"{file} {name}", config, [saved], lines, study_results.rounded, False, None, [], [])
  return _with_source_notes(record, saved["identity"])


def _with_source_notes(record: RecordedRun, identity: str) -> RecordedRun:
  notes = list(record.notes)
  config_changed = configs.identity(record.config)[0] != identity
  if config_changed:
    notes.append("the config is not what it was: its fields or their defaults have changed since")
  method = record.config.method.name
  digest = hashlib.sha256(configs.source(configs.resolve_role(method)).encode()).hexdigest()
  if record.first("method_sha256") not in (None, digest):
    notes.append(f"the source of {method} has changed since (method_sha256)")
  return record._replace(notes=notes, config_changed=config_changed)


def _tuples(value: Any) -> Any:
  """Value of JSON as in a config, with tuples for lists."""
  if isinstance(value, dict):
    return {name: _tuples(item) for name, item in value.items()}
  return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
