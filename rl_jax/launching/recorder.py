"""Record of one launch: files in the run's folder and lines in the terminal."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

import jax
import numpy as np
from ml_collections import ConfigDict

from rl_jax.configuration import configs
from rl_jax.launching import machine, processes, vouching
from rl_jax.launching.initialization import Start
from rl_jax.models.model import param_count
from rl_jax.runs.content import content_sha256
from rl_jax.runs.directory import RunDirectory
from rl_jax.runs.file_hashes import edited_files, file_hashes
from rl_jax.runs.files import write_atomically, write_json
from rl_jax.runs.log_hashes import LogHashes
from rl_jax.runs.manifest import append_launch, end_launch, manifest, now, read_launches
from rl_jax.runs.metrics import MetricsWriter
from rl_jax.runs.progress import Progress
from rl_jax.runs.report import write_report
from rl_jax.runs.samples import show, write_samples
from rl_jax.runs.trackers.group import Trackers
from rl_jax.training.trainer import AdvanceResult, Trainer


class Recorder:
  """Writer of the metrics, samples, timings and manifest of a run.

  Args:
    command: command that launched the run.
    stream: stream of the terminal.
  """

  def __init__(self, config: ConfigDict, identity: str, directory: RunDirectory, command: list[str], stream: TextIO):
    self.config, self.identity, self.directory, self.command = config, identity, directory, command
    self.progress = Progress(config.num_iterations, stream)
    # Recorded configs may predate the field.
    self.trackers = Trackers(config.logging.get("trackers", ()) if processes.first() else (), self.say)
    self.metrics = MetricsWriter(directory, tensorboard=config.logging.tensorboard, trackers=self.trackers)
    self._hashes = LogHashes(directory)

  def close(self) -> None:
    """Close the files and end the progress line."""
    self.trackers.close(finished=False)  # of a launch that did not come to its end
    self.metrics.close()
    self.progress.close()

  def say(self, text: str) -> None:
    """Print a line above the progress line."""
    self.progress.message(text)

  def begin(self, trainer: Trainer, starts: Mapping[str, Start]) -> None:
    """Append this launch to the manifest, and open the trackers.

    Args:
      starts: initial parameters by role; empty for a resumed run.
    """
    self.directory.check_in_place()
    method = configs.source(configs.resolve_role(self.config.method.name))
    digest = hashlib.sha256(method.encode()).hexdigest()
    task = trainer.experiment.task
    extra: dict[str, Any] = {
      "identity": self.identity,
      "method_sha256": digest,
      "papers": list(trainer.experiment.method.papers),
      "data_fingerprint": task.fingerprint,
      "guessing_floor": task.guessing_floor,
      "parameters": {
        role: param_count(model.params) // self.config.num_seeds for role, model in trainer.state.seeds.models.items()
      },
      "settings": machine.settings(),
      "processes": jax.process_count(),
      "resumed_from": trainer.iterations,
    }
    launches = read_launches(self.directory.manifest, missing_ok=True)
    for edited in edited_files(self.directory, launches):
      self.say(f"{self.directory.path}: {edited}: this launch writes it anew")
    if launches and launches[-1].get("method_sha256", digest) != digest:
      self.say(f"{self.config.method.name} has changed since the last launch: this is no longer one experiment")
    if "policy" in starts:
      extra |= {"started_from": starts["policy"].origin, "start_sha256": starts["policy"].sha256}
    other_models = {role: [start.origin, start.sha256] for role, start in starts.items() if role != "policy"}
    if other_models:
      extra["models_started_from"] = other_models
    entry = manifest(self.command, machine.devices(), extra=extra)
    # Close together: after a kill in between, a file would differ from what the latest launch recorded.
    self.directory.write_identity(*configs.identity(self.config))
    write_json(self.directory.config, json.loads(configs.to_json(self.config)))
    write_atomically(self.directory.method, method.encode())
    append_launch(self.directory.manifest, entry | {"files": file_hashes(self.directory)})
    name = self.directory.path.resolve().name
    self.trackers.open(name, self.directory.trackers, json.loads(configs.to_json(self.config)))

  def end(self, iterations: int, finished: bool, seconds: float, checkpoints: Mapping[str, str]) -> None:
    """Record the end of this launch, with hashes that reveal later changes of log or checkpoints.

    Args:
      checkpoints: SHA-256 of the checkpoints' manifests, by step.
    """
    self.directory.check_in_place()
    end = {
      "ended": now(),
      "wall_seconds": round(seconds, 3),
      "iterations": iterations,
      "finished": finished,
      "content_sha256": content_sha256(self.directory),
      "checkpoints": dict(checkpoints),
      "log": self.log_on_disk(),
    }
    end_launch(self.directory.manifest, end)
    self.trackers.close(finished)

  def iterations(self, first: int, result: AdvanceResult, wrote: np.ndarray) -> None:
    """Write metrics, samples and timings of iterations.

    Args:
      first: number of iterations before these.
      wrote: tokens that each seed generated in these iterations.
    """
    self.directory.check_in_place()
    for offset, row in enumerate(result.metrics):
      self.metrics.write("train", first + offset + 1, row)
    last = first + len(result.metrics)
    write_samples(self.directory, _numbered(last, result))
    timings = {
      "seconds": result.seconds,
      "iteration_seconds": result.seconds / len(result.metrics),
      "tokens_per_second": wrote.sum() / result.seconds,
    }
    self.metrics.write_timings(last, timings)

  def evaluation(self, iterations: int, held_out: Mapping[str, np.ndarray]) -> None:
    """Write metrics of an evaluation."""
    self.directory.check_in_place()
    self.metrics.write("evaluation", iterations, dict(held_out))

  def log_on_disk(self) -> dict[str, list[Any]]:
    """Hashes of the log, flushed to disk, for the record of a checkpoint or of the end of this launch."""
    self.directory.check_in_place()
    self.metrics.sync()
    return self._hashes.now()

  def show_samples(self, iterations: int, result: AdvanceResult) -> None:
    """Print a few of the latest samples."""
    self.say(show(_numbered(iterations, result)[: self.config.logging.samples]))

  def report(self) -> None:
    """Write the run's report, with a warning if earlier lines differ from what their launches recorded."""
    write_report(self.directory, faults=vouching.record_faults(self.directory))
    self.say(f"report: {self.directory.report_html}")

  @contextlib.contextmanager
  def profile(self, first: int) -> Iterator[None]:
    """Profile the compiled call that contains the requested iteration."""
    iteration = self.config.logging.profile_iteration
    if iteration is None or not first <= iteration < first + self.config.logging.every_iterations:
      yield
      return
    with jax.profiler.trace(str(self.directory.profile)):
      yield
    self.say(f"profile: {self.directory.profile} (tensorboard or xprof shows it)")


def _numbered(iterations: int, result: AdvanceResult) -> list[dict[str, Any]]:
  """Samples of a result, each with its iteration."""
  return [{"iteration": iterations, **sample} for sample in result.samples]
