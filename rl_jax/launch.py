"""Training with its record: joins `training`, which knows no files, with `runs`, which knows no training."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import jax
import numpy as np
from ml_collections import ConfigDict

from rl_jax import configs, machine, processes, starts
from rl_jax.runs.content import content_sha256
from rl_jax.runs.directory import RunDirectory, open_run
from rl_jax.runs.errors import RunError
from rl_jax.runs.files import write_atomically
from rl_jax.runs.gates import already_right
from rl_jax.runs.manifest import append_launch, end_launch, manifest, now, read_launches
from rl_jax.runs.metrics import MetricsWriter
from rl_jax.runs.progress import Progress
from rl_jax.runs.report import write_report
from rl_jax.runs.samples import show, write_samples
from rl_jax.stop import Stop
from rl_jax.training import mesh
from rl_jax.training.checkpoints import Checkpoints
from rl_jax.training.errors import TrainingError
from rl_jax.training.experiment import Experiment
from rl_jax.training.trainer import Trainer, check_batch


class Terminal(NamedTuple):
  """Who launched a run: for its record, and for the line that says how to go on."""

  command: list[str]
  stream: TextIO
  stop: Stop


class Result(NamedTuple):
  """Where a launch left its run."""

  directory: Path
  iterations: int
  finished: bool


def train(config: ConfigDict, workdir: str | Path, terminal: Terminal | None = None) -> Result:
  """Trains the run of a resolved config in `workdir`, or goes on with it; first the stage that it starts from.

  Raises:
    ConfigError, RunError, TrainingError, CheckpointError: one line that says what was got and what to do.
  """
  terminal = terminal or Terminal(["rl_jax.launch.train"], sys.stderr, Stop())
  workdir = Path(workdir)
  identity, fields = configs.identity(config)
  with _opened(workdir, json.loads(configs.to_json(config)), identity, fields) as directory:
    run = _Run(config, identity, workdir, directory, terminal)
    return run.go()


@contextlib.contextmanager
def _opened(workdir: Path, config: dict[str, Any], identity: str, fields: dict[str, Any]) -> Iterator[RunDirectory]:
  """The folder of the run, held by its first process. The others write all but checkpoints into one that goes with
  them, so that every process does the same and the record is written once."""
  if processes.first():
    directory = None
    try:
      directory = open_run(workdir, config, identity, fields)
    finally:
      processes.largest(directory is None)
    with directory:
      yield directory
  elif processes.largest(False):
    raise RunError(f"process 0 did not open {workdir}: its message says why")
  else:
    with processes.scratch() as folder, open_run(folder / "run", config, identity, fields) as directory:
      directory.checkpoints = workdir / "checkpoints"
      yield directory


class _Run:
  """One launch of one run, whose folder is held."""

  def __init__(self, config: ConfigDict, identity: str, workdir: Path, directory: RunDirectory, terminal: Terminal):
    self.config, self.identity, self.workdir = config, identity, workdir
    self.directory, self.terminal = directory, terminal
    self.progress = Progress(config.num_iterations, terminal.stream)
    self.metrics = MetricsWriter(directory, tensorboard=config.logging.tensorboard)
    section = config.checkpoint
    self.checkpoints = Checkpoints(
      directory.checkpoints, keep=section.keep, keep_best=section.keep_best, best_metric=section.best_metric
    )
    self.held_out: dict[str, np.ndarray] = {}

  def go(self) -> Result:
    with contextlib.closing(self.progress), contextlib.closing(self.metrics), self.checkpoints:
      with processes.ending_together(self._how_to_go_on), contextlib.ExitStack() as held:
        prepared = self._prepared(held)
        if isinstance(prepared, Trainer):
          started = time.monotonic()
          prepared.compile()
          self._begin(prepared, time.monotonic() - started)
          self._iterate(prepared)
          self._record_end(prepared, time.monotonic() - started)
          result = Result(self.workdir, prepared.iterations, self._finished(prepared))
        else:
          result = prepared
    if isinstance(prepared, Result) and not prepared.finished:
      return result  # stopped before it began: there is nothing to report
    if processes.first() and self.config.logging.get("report", True):  # recorded configs may be older than the field
      write_report(self.directory)
      self._say(f"report: {self.directory.report_html}")
    return result

  def _how_to_go_on(self) -> str:
    newest = max(self.checkpoints.steps(), default=0)
    return f"iteration {newest} is saved; go on with all processes: {shlex.join(self.terminal.command)}"

  def _say(self, text: str) -> None:
    self.progress.message(text)

  def _prepared(self, held: contextlib.ExitStack) -> Trainer | Result:
    """The trainer where the run goes on, its task held open; or the end of a run that is done, or stopped already."""
    newest = self.checkpoints.newest_intact() or 0
    if newest >= self.config.num_iterations:
      self._say(f"{self.workdir}: done before ({newest} iterations); raise num_iterations to go on")
      return Result(self.workdir, newest, True)
    experiment, device_mesh = starts.build(self.config), mesh.make_mesh(self.config.mesh)
    check_batch(experiment, device_mesh)  # before the stages take their time
    self._check_cadence(newest)
    found = {} if newest else self._starts(experiment)
    if self.terminal.stop.check() or found is None:
      if found is not None:  # a stage that was stopped has said it
        self._say_stopped("nothing done yet")
      return Result(self.workdir, 0, False)
    held.enter_context(contextlib.closing(experiment.task))
    given = {role: start.params for role, start in found.items()}
    trainer = self._restored(Trainer(experiment, device_mesh, given))
    self._record(trainer, found)
    return trainer

  def _begin(self, trainer: Trainer, seconds: float) -> None:
    """Say how long the compilation took; evaluate a run that is at its start."""
    self._say(f"{self.workdir}: {machine.devices()}, compiled in {seconds:.0f} s")
    if trainer.iterations == 0:
      self._evaluate(trainer)
      self.progress.update(0, self.held_out)
      if warning := already_right(self.held_out):
        self._say(warning)

  def _iterate(self, trainer: Trainer) -> None:
    """Advance until the run is finished or stopped."""
    while not self._finished(trainer):
      self._advance(trainer)
      if self.terminal.stop.check():
        self._save(trainer)
        self.checkpoints.wait()
        self._say_stopped(f"saved at iteration {trainer.iterations}")
        break

  def _share(self, trainer: Trainer) -> float:
    """Of the run that is done, 1 at its end: of its iterations, or of the tokens that every seed generates."""
    tokens = self.config.num_tokens
    by_tokens = float(trainer.generated_tokens.min()) / tokens if tokens else 0.0
    return max(trainer.iterations / self.config.num_iterations, by_tokens)

  def _finished(self, trainer: Trainer) -> bool:
    return self._share(trainer) >= 1

  def _say_stopped(self, state: str) -> None:
    stop = self.terminal.stop.requested
    assert stop is not None
    self._say(f"{stop.name}: {state}; go on with: {shlex.join(self.terminal.command)}")

  def _check_cadence(self, newest: int) -> None:
    """A run goes on in steps of `logging.every_iterations`, which may have changed since the checkpoint."""
    every = self.config.logging.every_iterations
    if newest % every:
      raise TrainingError(
        f"{self.workdir}: the newest checkpoint is of iteration {newest}, which is not a multiple of "
        f"logging.every_iterations ({every}): {math.gcd(newest, every)} would do"
      )

  def _starts(self, experiment: Experiment) -> dict[str, starts.Start] | None:
    train_stage = lambda config, folder: train(config, folder, self.terminal).finished
    found = starts.find(experiment, self.workdir, train_stage)
    for start in (found or {}).values():
      for warning in start.warnings:
        self._say(f"{start.origin}: {warning}")
    return found

  def _restored(self, trainer: Trainer) -> Trainer:
    """The trainer at the newest good checkpoint, or at the beginning as it is."""
    restored = self.checkpoints.restore_latest(trainer.abstract_state)
    iterations = 0
    if restored is not None:
      for warning in restored.warnings:
        self._say(warning)
      self._check_data(trainer, restored.metadata.get("data", ""))
      trainer.state, iterations = restored.state, restored.step
      self.held_out = {name: np.asarray(values, np.float32) for name, values in restored.metadata["held_out"].items()}
      self._say(f"{self.workdir}: going on from iteration {iterations}")
    for note in self.metrics.cut_after(iterations if restored is not None else -1):
      self._say(note)
    return trainer

  def _check_data(self, trainer: Trainer, before: str) -> None:
    now = trainer.experiment.task.fingerprint
    if now != before:
      raise TrainingError(
        f"{self.workdir}: the data of {self.config.task.name} has changed since the checkpoint (fingerprint "
        f"{before[:12]}, now {now[:12]}): bring the old data back, or start a run in another --workdir"
      )

  def _record(self, trainer: Trainer, found: dict[str, starts.Start]) -> None:
    method = configs.source(configs.resolve_role(self.config.method.name))
    write_atomically(self.directory.path / "method.py", method.encode())
    digest = hashlib.sha256(method.encode()).hexdigest()
    extra: dict[str, Any] = {
      "identity": self.identity,
      "config_sha256": hashlib.sha256(configs.to_json(self.config).encode()).hexdigest(),
      "method_sha256": digest,
      "papers": list(trainer.experiment.method.papers),
      "data_fingerprint": trainer.experiment.task.fingerprint,
      "guessing_floor": trainer.experiment.task.guessing_floor,
      "settings": machine.settings(),
      "processes": jax.process_count(),
    }
    launches = read_launches(self.directory.manifest) if self.directory.manifest.exists() else []
    if launches and launches[-1].get("method_sha256", digest) != digest:
      self._say(f"{self.config.method.name} has changed since the last launch: this is no longer one experiment")
    if "policy" in found:
      extra |= {"started_from": found["policy"].origin, "start_sha256": found["policy"].sha256}
    others = {role: [start.origin, start.sha256] for role, start in found.items() if role != "policy"}
    if others:
      extra["models_started_from"] = others
    append_launch(self.directory.manifest, manifest(self.terminal.command, machine.devices(), extra=extra))

  def _record_end(self, trainer: Trainer, seconds: float) -> None:
    """Where this launch left the run, and the hash that shows a later change of its metrics or samples."""
    end = {
      "ended": now(),
      "wall_seconds": round(seconds, 3),
      "iterations": trainer.iterations,
      "finished": self._finished(trainer),
      "content_sha256": content_sha256(self.directory),
    }
    end_launch(self.directory.manifest, end)

  def _advance(self, trainer: Trainer) -> None:
    config, first, before = self.config, trainer.iterations, trainer.generated_tokens
    with self._profile(first):
      done = trainer.advance()
    for note in trainer.experiment.task.notes():
      self._say(note)
    for offset, row in enumerate(done.metrics):
      self.metrics.write("train", first + offset + 1, row)
    wrote = trainer.generated_tokens - before
    iterations = trainer.iterations
    samples = [{"iteration": iterations, **sample} for sample in done.samples]
    write_samples(self.directory, samples)
    speed = wrote.sum() / done.seconds
    self.metrics.write_timings(
      iterations,
      {"seconds": done.seconds, "iteration_seconds": done.seconds / len(done.metrics), "tokens_per_second": speed},
    )
    last = self._finished(trainer)
    if last or iterations % config.evaluation.every_iterations == 0:
      self._evaluate(trainer)
    shown_speed = float(speed) if wrote.any() else None
    self.progress.update(iterations, done.metrics[-1] | self.held_out, shown_speed, self._share(trainer))
    if done.stuck:
      self._save(trainer)
      self.checkpoints.wait()
      raise TrainingError(
        f"iteration {iterations}: loss or gradient was not finite in the last {config.optimizer.max_skipped_updates} "
        f"or more updates of seed {', '.join(str(config.seed + s) for s in done.stuck)}; the parameters before "
        f"them are saved in {self.directory.checkpoints}: lower learning_rate or look at the rewards"
      )
    if last or iterations % config.checkpoint.every_iterations == 0:
      self._save(trainer)
    if last:
      self._say(show(samples[: config.logging.samples]))

  @contextlib.contextmanager
  def _profile(self, first: int):
    """A profiler trace of the call that holds the iteration asked for."""
    wanted = self.config.logging.profile_iteration
    if wanted is None or not first <= wanted < first + self.config.logging.every_iterations:
      yield
      return
    folder = self.directory.path / "profile"
    with jax.profiler.trace(str(folder)):
      yield
    self._say(f"profile: {folder} (tensorboard or xprof shows it)")

  def _evaluate(self, trainer: Trainer) -> None:
    self.held_out = trainer.evaluate()
    self.metrics.write("evaluation", trainer.iterations, self.held_out)

  def _save(self, trainer: Trainer) -> None:
    self.metrics.sync()
    metadata = {
      "identity": self.identity,
      "data": trainer.experiment.task.fingerprint,
      "held_out": {name: np.asarray(values).tolist() for name, values in self.held_out.items()},
    }
    best = {name: float(np.mean(values)) for name, values in self.held_out.items()}
    self.checkpoints.save(trainer.iterations, trainer.state, metadata, best)
