"""The loop around training: restore, advance, evaluate, save, stop."""

from __future__ import annotations

import contextlib
import math
import shlex
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from rl_jax.configuration.parts import nearest
from rl_jax.errors import UserError
from rl_jax.launching import initialization, machine, processes, vouching
from rl_jax.launching.recorder import Recorder
from rl_jax.launching.stop import Stop
from rl_jax.launching.vouching import LOG
from rl_jax.runs.directory import RunDirectory
from rl_jax.runs.files import plain
from rl_jax.runs.gates import already_right
from rl_jax.runs.launch_history import last_iteration, saved_iterations
from rl_jax.runs.manifest import read_launches
from rl_jax.runs.metrics import read_metrics
from rl_jax.training import credit, evaluation, manifests, mesh
from rl_jax.training.checkpoints import Checkpoints
from rl_jax.training.experiment import Experiment
from rl_jax.training.trainer import Trainer, check_batch


class Result(NamedTuple):
  """State of a run at the end of a launch."""

  directory: Path
  iterations: int
  finished: bool
  done_before: bool = False
  """True if the run was finished before this launch."""


class RunLoop:
  """One launch of a run, which holds its folder.

  Args:
    stop: request for an early end.
    train_stage: trains a stage in a folder; False if it was stopped.
    is_stage: the run is a stage, from which other runs start.
  """

  def __init__(
    self,
    config: ConfigDict,
    workdir: Path,
    recorder: Recorder,
    checkpoints: Checkpoints,
    stop: Stop,
    train_stage: Callable[[ConfigDict, Path], bool],
    is_stage: bool = False,
  ):
    self.config, self.workdir, self.recorder = config, workdir, recorder
    self.checkpoints, self.stop, self.train_stage, self.is_stage = checkpoints, stop, train_stage, is_stage
    self.say = recorder.say
    self.held_out: dict[str, np.ndarray] = {}
    self.skipping = False
    """True if the last updates of a seed were skipped, so that its parameters are those of an earlier iteration."""
    self.compiling = False
    """True if the next iterations compile, so that their time does not count as speed."""
    self.last_good: int | None = None
    """Last iteration of this launch after which no seed was skipping updates; None if there is none."""

  def go(self) -> Result:
    """Train to the end, or until stopped."""
    with processes.ending_together(self._how_to_go_on), contextlib.ExitStack() as resources:
      prepared = self._prepared(resources)
      if isinstance(prepared, Result):
        return prepared
      started = time.monotonic()
      self._compile(prepared)
      if self.stop.check():
        self._say_stopped(f"nothing new to save at iteration {prepared.iterations}")
      else:
        self._begin(prepared)
        self._iterate(prepared)
      finished = self._finished(prepared)
      self.checkpoints.wait()
      digests = vouching.digests(self.checkpoints.folder) if processes.first() else {}
      self.recorder.end(prepared.iterations, finished, time.monotonic() - started, digests)
      return Result(self.workdir, prepared.iterations, finished)

  def _how_to_go_on(self) -> str:
    newest = max(self.checkpoints.steps(), default=None)
    saved = f"iteration {newest} is saved" if newest else "no checkpoint is saved"
    return f"{saved}; resume with all processes: {shlex.join(self.recorder.command)}"

  def _prepared(self, resources: contextlib.ExitStack) -> Trainer | Result:
    """Trainer of a run to continue, whose task is then open; or the result of a run that is finished or stopped."""
    directory = self.recorder.directory
    newest = self._newest_checkpoint(directory)
    if newest >= self.config.num_iterations:
      if self.is_stage:
        self.say(f"starts from {self.workdir} ({newest} iterations)")
      else:
        self._say_faults(directory)
        self.say(f"{self.workdir}: already finished ({newest} iterations); raise num_iterations to continue")
      return Result(self.workdir, newest, True, done_before=True)
    self._say_manifest_faults(directory, newest)
    self._check_places(newest)
    experiment, device_mesh = initialization.build(self.config), mesh.make_mesh(self.config.mesh)
    # Before the stages are trained.
    self._check_best_metric(evaluation.names(experiment) | credit.names(experiment), experiment.method.evaluations)
    for note in check_batch(experiment, device_mesh):
      self.say(note)
    self._check_cadence(newest)
    starts = {} if newest else self._starts(experiment)
    if self.stop.check() or starts is None:
      if starts is not None:  # the stage has already printed the message
        self._say_stopped("nothing done yet")
      return Result(self.workdir, 0, False)
    resources.enter_context(contextlib.closing(experiment.task))
    params = {role: start.params for role, start in starts.items()}
    trainer = self._restored(Trainer(experiment, device_mesh, params))
    self.recorder.begin(trainer, starts)
    return trainer

  def _newest_checkpoint(self, directory: RunDirectory) -> int:
    """Iteration to resume from; 0 if none has been saved."""
    newest, launches = self.checkpoints.newest_intact(), read_launches(directory.manifest, missing_ok=True)
    if newest is not None:
      for removed in vouching.removed_checkpoints(directory, launches):
        self.say(f"{self.workdir}: {removed}")
      return newest
    saved, logged = saved_iterations(launches), last_iteration(read_metrics(directory.metrics))
    if saved or (logged and not launches):  # starting over would discard the log
      raise UserError(
        f"{self.workdir}: no checkpoint is left of a run that had reached iteration {max(saved, logged)}: restore "
        f"{directory.checkpoints} from a copy, or choose another --workdir"
      )
    if logged:
      self.say(f"{self.workdir}: ended at iteration {logged} before its first checkpoint: starting from the beginning")
    return 0

  def _say_faults(self, directory: RunDirectory) -> None:
    """Print what was changed since the launches of a finished run."""
    if processes.first():
      for fault in vouching.check(directory, read_launches(directory.manifest, missing_ok=True)).faults:
        self.say(f"{self.workdir}: {fault}")

  def _say_manifest_faults(self, directory: RunDirectory, newest: int) -> None:
    """Print entries of the manifest that no earlier launch can have written."""
    if processes.first():
      for fault in vouching.manifest_faults(directory, read_launches(directory.manifest, missing_ok=True), newest):
        self.say(f"{self.workdir}: {fault}")

  def _check_places(self, newest: int) -> None:
    """Raise UserError if a future checkpoint could not be written, before any work is done."""
    for obstacle in manifests.obstacles(self.checkpoints.folder, newest):
      raise UserError(f"{obstacle} blocks a checkpoint because it is not a folder: remove it, or move it away")

  def _compile(self, trainer: Trainer) -> None:
    """Compile, with a line before and after: it may take a minute without other output."""
    where, started = f"{self.workdir}: {machine.devices()}", time.monotonic()
    self.compiling = not trainer.experiment.task.on_device
    if self.compiling:
      self.say(f"{where}, compiling during the first evaluation and iteration …")
    else:
      self.say(f"{where}, compiling …")
    trainer.compile()
    if not self.compiling:
      self.say(f"compiled in {time.monotonic() - started:.0f} s")

  def _begin(self, trainer: Trainer) -> None:
    """Evaluate a run before its first iteration."""
    if trainer.iterations == 0 and self.config.evaluation.every_iterations:
      self._evaluate(trainer)
      self._check_best_metric(self.held_out)
      self.recorder.progress.update(0, self.held_out)
      if warning := already_right(self.held_out):
        self.say(warning)

  def _check_best_metric(self, names: Iterable[str], own_evaluations: Iterable[str] = ()) -> None:
    """Raise UserError if no evaluation will have the metric.

    Args:
      own_evaluations: evaluations of the method, whose metrics are unknown before the first one.
    """
    metric = self.config.checkpoint.best_metric
    is_needed = self.config.checkpoint.keep_best and self.config.evaluation.every_iterations
    if is_needed and metric not in names and not metric.startswith(tuple(f"{name}/" for name in own_evaluations)):
      raise UserError(f"checkpoint.best_metric={metric!r} is no metric of an evaluation{nearest(metric, names)}")

  def _iterate(self, trainer: Trainer) -> None:
    """Advance until the run is finished or stopped."""
    while not self._finished(trainer):
      self._advance(trainer)
      if self.stop.check():
        self._save(trainer)
        self.checkpoints.wait()
        self._say_stopped(f"saved at iteration {trainer.iterations}")
        break

  def _share(self, trainer: Trainer) -> float:
    """Fraction of the run completed, by iterations or by tokens of the slowest seed, whichever is further."""
    tokens = self.config.num_tokens
    by_tokens = float(trainer.generated_tokens.min()) / tokens if tokens else 0.0
    return max(trainer.iterations / self.config.num_iterations, by_tokens)

  def _finished(self, trainer: Trainer) -> bool:
    return self._share(trainer) >= 1

  def _say_stopped(self, state: str) -> None:
    stop = self.stop.requested
    assert stop is not None
    self.say(f"{stop.name}: {state}; resume with: {shlex.join(self.recorder.command)}")

  def _check_cadence(self, newest: int) -> None:
    """Check that the run can resume in steps of `logging.every_iterations`, which may differ from the checkpoint's."""
    every = self.config.logging.every_iterations
    if newest % every:
      raise UserError(
        f"{self.workdir}: the newest checkpoint is of iteration {newest}, which is not a multiple of "
        f"logging.every_iterations ({every}): {math.gcd(newest, every)} would do"
      )

  def _starts(self, experiment: Experiment) -> dict[str, initialization.Start] | None:
    if not self.is_stage:
      list(initialization.stages_before(experiment, self.workdir))  # a mistake in any ends the launch here
    starts = initialization.find(experiment, self.workdir, self.train_stage)
    if starts is None:
      return None
    for start in starts.values():
      for warning in start.warnings:
        self.say(f"{start.origin}: {warning}")
    for name in initialization.random_for_good(experiment, starts):
      self.say(f"warning: model {name!r} is frozen and stays random: name a stage or a run in its init_from")
    return starts

  def _restored(self, trainer: Trainer) -> Trainer:
    """The trainer at the newest intact checkpoint, or unchanged at the beginning."""
    restored = self.checkpoints.restore_latest(trainer.abstract_state)
    iterations = 0
    if restored is not None:
      for warning in restored.warnings:
        self.say(warning)
      if LOG not in restored.metadata:
        self.say(f"checkpoint {restored.step} predates the hashes of the log: the log up to it is accepted unchecked")
      self._check_data(trainer, restored.metadata.get("data", ""))
      trainer.state, iterations = restored.state, restored.step
      self.skipping = bool(np.any(mesh.fetched(trainer.state.seeds.skipped_in_a_row)))
      self.last_good = None if self.skipping else iterations
      self.held_out = {name: np.asarray(values, np.float32) for name, values in restored.metadata["held_out"].items()}
      self.say(f"{self.workdir}: resuming from iteration {iterations}")
    last, vouched = (iterations, restored.metadata.get(LOG)) if restored is not None else (-1, None)
    for note in self.recorder.metrics.cut_after(last, vouched):
      self.say(note)
    return trainer

  def _check_data(self, trainer: Trainer, before: str) -> None:
    now = trainer.experiment.task.fingerprint
    if now != before:
      raise UserError(
        f"{self.workdir}: the data of {self.config.task.name} has changed since the checkpoint (fingerprint "
        f"{before[:12]}, now {now[:12]}): restore the old data, or start a run in another --workdir"
      )

  def _advance(self, trainer: Trainer) -> None:
    config, first, before = self.config, trainer.iterations, trainer.generated_tokens
    with self.recorder.profile(first):
      result = trainer.advance()
    for note in trainer.experiment.task.notes():
      self.say(note)
    wrote, iterations = trainer.generated_tokens - before, trainer.iterations
    self.recorder.iterations(first, result, wrote)
    speed = wrote.sum() / result.seconds
    last = self._finished(trainer)
    if _is_due(config.evaluation, iterations, last):
      self._evaluate(trainer)
    shown_speed = float(speed) if wrote.any() and not self.compiling else None
    if self.compiling:
      self.recorder.progress.start_over()
      self.compiling = False
    shown = result.metrics[-1] | self.held_out | {"skipped_in_a_row": result.skipped_in_a_row[-1]}
    self.recorder.progress.update(iterations, shown, shown_speed, self._share(trainer))
    self._look_for_skipped(first, result.skipped_in_a_row)
    if last or (_is_due(config.checkpoint, iterations) and not self.skipping):
      self._save(trainer)
    if last:
      self.recorder.show_samples(iterations, result)

  def _look_for_skipped(self, first: int, skipped_in_a_row: np.ndarray) -> None:
    """Note whether updates are being skipped. Raise UserError if a seed has skipped too many in a row. Its state is
    not saved: that of its last good iteration is, or can be recomputed from the checkpoint before."""
    good = np.flatnonzero(~skipped_in_a_row.any(axis=1))
    self.last_good = first + int(good[-1]) + 1 if len(good) else self.last_good
    self.skipping = bool(skipped_in_a_row[-1].any())
    most = self.config.optimizer.max_skipped_updates
    stuck = np.flatnonzero(skipped_in_a_row.max(axis=0) >= most)
    if not len(stuck):
      return
    self.checkpoints.wait()
    newest = max(self.checkpoints.steps(), default=None)
    good_iteration = f"iteration {self.last_good} was the last good one" if self.last_good else "none was good before"
    saved = f"checkpoint {newest} in {self.checkpoints.folder} is the newest" if newest else "no checkpoint is saved"
    raise UserError(
      f"iteration {first + len(skipped_in_a_row)}: loss, gradient or updated parameters were not finite in the last "
      f"{most} or more updates of seed {', '.join(str(self.config.seed + seed) for seed in stuck)}; {good_iteration}, "
      f"{saved}: lower learning_rate, or look at rewards and advantages"
    )

  def _evaluate(self, trainer: Trainer) -> None:
    self.held_out = trainer.evaluate()
    self.recorder.evaluation(trainer.iterations, self.held_out)

  def _save(self, trainer: Trainer) -> None:
    metadata = {
      LOG: self.recorder.log_on_disk(),
      "identity": self.recorder.identity,
      "data": trainer.experiment.task.fingerprint,
      "held_out": plain(self.held_out),
    }
    best = {name: float(np.mean(values)) for name, values in self.held_out.items()}
    self.checkpoints.save(trainer.iterations, trainer.state, metadata, best, prune=not self.skipping)


def _is_due(section: ConfigDict, iterations: int, last: bool = False) -> bool:
  """Return whether something is due after this iteration, by the cadence in its section; 0 means never."""
  every = section.every_iterations
  return every > 0 and (last or iterations % every == 0)
