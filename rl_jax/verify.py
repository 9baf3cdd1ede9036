"""Repeat a run and compare: python -m rl_jax.verify runs/grpo experiments/results/grpo.json --iterations=20.

A run is rebuilt from its config and manifest, a committed curve from its command, a study entry by entry. On the same
platform, with a config whose fields and defaults have not changed, every number must be bit-identical; elsewhere it
must be within the tolerance of `rl_jax.runs.agreement`. The first number that differs is named, and the exit status is
1. Where CHANGELOG says that numbers have changed, they are bit-identical only at the commit of their record.
A stage that the run starts from is read from its recorded folder if its hash still agrees, and otherwise trained again.
Nothing is written into the runs.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rl_jax.configuration.command_line import Parser, add_runs, runs_of
from rl_jax.errors import UserError
from rl_jax.launching import initialization, launch, machine
from rl_jax.launching.commands import command, say_error
from rl_jax.launching.recorded import RecordedRun, read
from rl_jax.launching.stop import Stop
from rl_jax.models.model import Params
from rl_jax.runs import agreement
from rl_jax.runs.manifest import manifest
from rl_jax.runs.progress import Progress
from rl_jax.training import mesh
from rl_jax.training.experiment import Experiment
from rl_jax.training.trainer import Trainer


def starts_of(record: RecordedRun, experiment: Experiment, scratch: Path) -> tuple[dict[str, Params], bool]:
  """Starting parameters of the models, and whether they are bit-identical to the recorded ones.

  Raises: UserError: the start no longer exists.
  """
  config, digest = record.config, record.first("start_sha256")
  train_stage = lambda stage, folder: (
    launch.train(stage, folder, launch.Terminal(["rl_jax.verify"], sys.stderr, Stop()), is_stage=True).finished
  )
  if initialization.parsed(config.init_from).place in config.stages and digest:
    for folder in _stage_folders(record):
      init_from = {"policy": f"{folder.resolve()}@{digest}"}
      with contextlib.suppress(UserError):
        return _compared(record, initialization.find(experiment, scratch / "run", train_stage, init_from=init_from))
  return _compared(record, initialization.find(experiment, scratch / "run", train_stage))


def _compared(record: RecordedRun, starts: dict[str, initialization.Start] | None) -> tuple[dict[str, Params], bool]:
  """Parameters of the starts, and whether all have the recorded hashes."""
  starts = starts or {}
  other_models = record.first("models_started_from") or {}
  digests = {"policy": record.first("start_sha256")} | {role: digest for role, (_, digest) in other_models.items()}
  identical = all(start.sha256 == digests.get(role) for role, start in starts.items())
  return {role: start.params for role, start in starts.items()}, identical


def _stage_folders(record: RecordedRun) -> list[Path]:
  """Folders that may hold the stage: the recorded one, or one next to the run, which may have been moved."""
  origin = record.first("started_from")
  if origin is None:
    name = initialization.parsed(record.config.init_from).place
    candidates = [initialization.stage_folder(record.config, name, Path("runs") / "run")]
  else:
    candidates = [Path(origin)]
    if record.folder is not None:
      candidates.append(record.folder.parent / "stages" / Path(origin).name)
  return [folder for folder in candidates if folder.is_dir()]


def repeat(trainer: Trainer, record: RecordedRun, iterations: int, progress: Progress) -> Iterator[dict[str, Any]]:
  """Lines of the repeated run, with evaluations where the record has them, up to `iterations` or the next beyond."""
  if ("evaluation", 0) in record.lines:
    yield _line("evaluation", 0, trainer.evaluate())
  while trainer.iterations < iterations:
    first = trainer.iterations
    result = trainer.advance()
    for offset, row in enumerate(result.metrics):
      yield _line("train", first + offset + 1, row)
    progress.update(trainer.iterations, result.metrics[-1])
    if ("evaluation", trainer.iterations) in record.lines:
      yield _line("evaluation", trainer.iterations, trainer.evaluate())


def _line(kind: str, iteration: int, metrics: dict[str, Any]) -> dict[str, Any]:
  return {"kind": kind, "iteration": iteration} | {name: np.asarray(x).tolist() for name, x in metrics.items()}


class Verdict(NamedTuple):
  """Result of a comparison: whether the numbers agree, and a line that says so."""

  agrees: bool
  text: str


def compare(
  record: RecordedRun, lines: Iterator[dict[str, Any]], iterations: int, differs: list[str], same_start: bool
) -> Verdict:
  """Compare repeated lines with the record.

  Args:
    differs: differences of platform and config; empty: every number must be bit-identical.
    same_start: whether the start is bit-identical to the recorded one.
  """
  exact, compared, evaluations = not differs, 0, []
  for line in lines:
    key = (line["kind"], line["iteration"])
    if key not in record.lines:
      if record.complete and line["iteration"] <= record.iterations:
        return Verdict(False, f"the record has no {key[0]} line of iteration {key[1]}")
      continue
    recorded = record.lines[key]
    if key[0] == "evaluation":
      evaluations.append((recorded, line))
    if exact or (same_start and key == ("train", 1)):
      tolerance = 0.0 if exact else agreement.FIRST
      departure = agreement.departure(recorded, line, tolerance=tolerance, rounded=record.rounded)
      if departure:
        return Verdict(False, str(departure))
      compared += sum(len(values) for name, values in recorded.items() if name not in ("kind", "iteration"))
  summary = f"{iterations} of {record.iterations} iterations made again"
  if exact:
    return Verdict(compared > 0, f"{summary}: {compared} numbers, bit-identical")
  agreed = [f"iteration 1 within {agreement.FIRST}"] if compared else []
  if evaluations:
    section = record.config.evaluation
    answers = section.prompts * section.samples_per_prompt
    departure = agreement.within_seed_spread([recorded for recorded, _ in evaluations], evaluations[-1][1], answers)
    if departure:
      return Verdict(False, str(departure))
    agreed.append(f"held-out accuracy of iteration {evaluations[-1][1]['iteration']} within the spread over seeds")
  return Verdict(bool(agreed), f"{summary} in another setting: {', '.join(agreed) or 'nothing that could be compared'}")


def recorded_from(lines: Collection[tuple[str, int]], iteration: int) -> int:
  """First iteration from this one on that the record has numbers for; this one, if there is none.

  >>> recorded_from([("evaluation", 0), ("evaluation", 25), ("evaluation", 50)], 20)
  25
  """
  return min((recorded for _, recorded in lines if recorded >= iteration), default=iteration)


def verify(record: RecordedRun, iterations: int | None, scratch: Path) -> bool:
  """Print findings, one per line; return whether everything is as recorded.

  Args:
    iterations: number to repeat, up to the next that the record has numbers of; None: all of the record; 0: only the
      log is checked.
    scratch: a folder for stages that must be trained again; runs verified with one folder share them.
  """
  say = lambda text: print(f"{record.name}: {text}", flush=True)
  for note in (*record.notes, *record.faults):
    say(note)
  num_iterations = record.iterations if iterations is None else min(iterations, record.iterations)
  if not num_iterations:
    genuine = record.vouched and not record.faults
    unknown = "not as recorded" if record.faults else "make its iterations again to know (--iterations)"
    say("the log is as its launch left it" if genuine else unknown)
    return genuine
  if record.edited:
    say("not as recorded, and not made again: what it is made of was edited")
    return False
  num_iterations = recorded_from(record.lines, num_iterations)
  launch_here = manifest([], machine.devices(), extra={"settings": machine.settings()})
  differs = list(dict.fromkeys(text for entry in record.launches for text in agreement.differences(entry, launch_here)))
  if record.config_changed:
    differs.append("fields or defaults of the config")
  if differs:
    say(f"not in the same setting ({'; '.join(differs)})")
  commits = {str(entry["git_commit"]) for entry in record.launches if entry.get("git_commit")} - {
    launch_here.get("git_commit")
  }
  if commits and launch_here.get("git_commit"):
    hashes = ", ".join(sorted(commit[:12] for commit in commits))
    say(f"made at commit {hashes}: numbers that have changed since, see CHANGELOG, are those of that commit alone")
  experiment = initialization.build(record.config)
  params, same_start = starts_of(record, experiment, scratch)
  if not same_start:
    say("its start is made again, or is another: it is compared by what comes of it")
  progress = Progress(num_iterations, sys.stderr)
  with contextlib.closing(experiment.task), contextlib.closing(progress):
    if record.first("data_fingerprint") not in (None, experiment.task.fingerprint):
      say("the task's data has changed since (data_fingerprint)")
    trainer = Trainer(experiment, mesh.make_mesh(record.config.mesh), params)
    trainer.compile()
    verdict = compare(record, repeat(trainer, record, num_iterations, progress), num_iterations, differs, same_start)
  say(verdict.text)
  return verdict.agrees and not record.faults


@command("rl_jax.verify")
def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  parser = Parser("verify", __doc__.splitlines()[0])
  add_runs(parser, "a run's folder, or a .json file of results")
  many = "how many to make again, and on to the next recorded one; all by default; 0: look at the log alone"
  parser.add_argument("--iterations", metavar="N", type=int, help=many)
  parser.add_argument("--only", default="", metavar="A,B", help="some of a study's entries")
  flags = parser.parse(argv)
  only = flags.only.split(",") if flags.only else []
  if flags.iterations is not None and flags.iterations < 0:
    raise UserError(f"--iterations={flags.iterations}: 0 looks at the log alone, a number makes so many again")
  good = True
  with tempfile.TemporaryDirectory(prefix="rl_jax-verify-") as scratch:
    for target in runs_of(flags):
      try:
        for record in read(target, only):
          good &= verify(record, flags.iterations, Path(scratch))
      except UserError as error:
        text = str(error)
        say_error("rl_jax.verify", error if text.startswith(str(target)) else UserError(f"{target}: {text}"))
        good = False
  return 0 if good else 1


if __name__ == "__main__":
  sys.exit(main())
