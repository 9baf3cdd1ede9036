"""Checkpoints: atomic, asynchronous, with checksums and a limited number kept.

Layout: `<folder>/<step>/state/` is written by Orbax, `<folder>/<step>/manifest.json` by `manifests.py` after Orbax has
committed. A step without a manifest does not count, so a kill at any moment leaves either a complete checkpoint or
none.

The state is stored as a flat dictionary from leaf path ("models/policy/params/embed") to array. The manifest can then
list every shape, and a part of the state can be read without the types of the rest.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from rl_jax.errors import UserError
from rl_jax.training import manifests, orbax_faults
from rl_jax.training.leaves import check_structure, checked_leaves, describe, named_leaves
from rl_jax.training.manifests import Damage

STATE = "state"


class RestoreResult(NamedTuple):
  state: Any
  step: int
  metadata: dict[str, Any]
  warnings: list[str]  # one line per checkpoint that was skipped


def _remove(folder: Path) -> None:
  """Remove a folder while pending writes may still add files."""
  for _ in range(40):
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
      return
    time.sleep(0.05)


def _sharding(leaf: Any) -> jax.sharding.Sharding:
  return leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])


def _agreed(choose: Callable[[], int]) -> int:
  """Choice of process 0, which the others follow: all processes must restore the same step."""
  if jax.process_count() == 1:
    return choose()
  mine = choose() if jax.process_index() == 0 else 0
  return int(multihost_utils.broadcast_one_to_all(np.int32(mine)))


class Checkpoints:
  """Checkpoints of one run.

  The `keep` newest checkpoints are kept and, with `keep_best`, as many with the highest `best_metric` (a key of
  `metrics`; NaN never counts as best). Others are removed once a newer one is committed and has its manifest. So are
  steps above the one just saved, which belong to an abandoned continuation.

  Blocking: `save` waits for the previous save, then copies the arrays to host memory. A background thread writes files
  and checksums and removes old checkpoints, so the state may be donated, deleted or overwritten once `save` has
  returned. An error in the background is raised once, by the next `save`, `wait` or `close`. Call `close` (or use
  `with`) before the program ends: a save that is cut off leaves an incomplete checkpoint. With several processes, all
  of them call every method; process 0 writes manifests, decides and removes.

  Args:
    fault: (step, metadata) -> reason why a checkpoint cannot be used, "" if it can. The newest checkpoint without such
      a reason and with matching checksums is restored.
  """

  def __init__(
    self,
    folder: Path,
    *,
    keep: int = 3,
    keep_best: int = 0,
    best_metric: str | None = None,
    fault: Callable[[int, dict[str, Any]], str] = lambda step, metadata: "",
  ):
    if keep < 1:
      raise UserError(f"keep is {keep}: at least the newest checkpoint has to stay")
    if keep_best and best_metric is None:
      raise UserError(f"keep_best is {keep_best} but best_metric is not given: name the metric to compare")
    self.folder = Path(folder).absolute()
    self._keep, self._keep_best, self._best_metric, self._fault = keep, keep_best, best_metric, fault
    self._checkpointer: ocp.AsyncCheckpointer | None = None
    self._thread: threading.Thread | None = None
    self._error: UserError | None = None
    self._made: os.stat_result | None = None  # folder of the save in progress
    self._saved: set[int] = set()  # by this object: the same step of the same run is the same state
    logging.getLogger("absl").addFilter(orbax_faults.NOISE)

  def __enter__(self) -> Checkpoints:
    return self

  def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
    # A pending error is more informative than a save that failed for the same reason.
    with contextlib.suppress(*([UserError] if kind else [])):
      self.close()

  def save(
    self,
    step: int,
    state: Any,
    metadata: dict[str, Any],
    metrics: dict[str, float] | None = None,
    wait: bool = False,
    prune: bool = True,
  ) -> None:
    """Save `state` (a pytree of arrays) as `step`, unless this object has already saved that step.

    Without `prune` all older checkpoints are kept.
    """
    self.wait()
    if step in self._saved:
      return
    leaves = checked_leaves(state)
    body = self._body(step, leaves, metadata, metrics)
    try:
      if jax.process_index() == 0:
        self._discard(step)
        self.folder.mkdir(exist_ok=True)  # not its parents: a save must not recreate the folder of a run that is gone
        self._path(step).mkdir()
        self._made = self._path(step).stat()
      if self._checkpointer is None:
        self._checkpointer = self._new_checkpointer()
      orbax_faults.hush_late_writes()
      # Orbax refuses arrays of size zero, which the manifest can restore. It copies host arrays
      # itself, so their owner may write into them at once.
      stored = {name: leaf for name, leaf in leaves.items() if math.prod(leaf.shape)}
      stored = {name: leaf if isinstance(leaf, jax.Array) else np.asarray(leaf) for name, leaf in stored.items()}
      self._checkpointer.save(self._path(step) / STATE, ocp.args.PyTreeSave(stored))
    except (OSError, ValueError, RuntimeError) as error:
      self._fail(step, error)
      self.wait()
    self._thread = threading.Thread(target=self._finish, args=(step, body, prune), name=f"checkpoint-{step}")
    self._thread.start()
    if wait:
      self.wait()

  def wait(self) -> None:
    """Wait until nothing is being written; raise the error of the last save, if it had one."""
    if self._thread is not None:
      self._thread.join()
      self._thread = None
    if self._error is not None:
      error, self._error = self._error, None
      raise error

  def close(self) -> None:
    """Wait for the last save, raise its error if it had one, and end the background threads."""
    try:
      self.wait()
    finally:
      if self._checkpointer is not None:
        self._checkpointer.close()
        self._checkpointer = None

  def steps(self) -> list[int]:
    """Steps of finished checkpoints, oldest first, without a check of their checksums."""
    return manifests.finished(self.folder)

  def leaves(self) -> set[str]:
    """Names of the arrays in the newest finished checkpoint, without a check of its checksums."""
    for step in reversed(self.steps()):
      with contextlib.suppress(Damage):
        return set(manifests.read(self._path(step))["leaves"])
    return set()

  def newest_intact(self) -> int | None:
    """Newest finished checkpoint with matching checksums; None if none was ever finished.

    Raises UserError if all are damaged.
    """
    return self._newest_intact()[0]

  def best_step(self) -> int | None:
    """Checkpoint with the highest `best_metric`; None if no checkpoint has the metric."""
    return next(iter(self._ranked()), None)

  def restore_latest(self, abstract_state: Any) -> RestoreResult | None:
    """Restore the newest intact checkpoint; None if none was ever finished.

    `abstract_state` is a tree of jax.ShapeDtypeStruct. Their shardings decide where the arrays go, so the mesh may
    differ from the one that saved. Skipped checkpoints, damaged or unfinished, are named in `warnings`. Raises
    UserError if all are damaged, or if the newest intact one has other leaves, shapes or types.
    """
    step, warnings = self._newest_intact()
    return None if step is None else self._read(step, abstract_state, warnings)

  def restore(self, step: int, abstract_state: Any) -> RestoreResult:
    """Restore one step, or raise UserError."""
    self._require(step)
    return self._read(step, abstract_state, [])

  def restore_subtree(self, path: str, abstract_subtree: Any, step: int | None = None) -> RestoreResult:
    """Restore only the leaves under `path`, such as "models/policy/params", of `step` or of the newest intact one."""
    warnings: list[str] = []
    if step is None:
      step, warnings = self._newest_intact()
      if step is None:
        raise UserError(f"no finished checkpoint in {self.folder}: has that run saved one?")
    else:
      self._require(step)
    return self._read(step, abstract_subtree, warnings, prefix=path)

  def _path(self, step: int | str) -> Path:
    return self.folder / str(step)

  def _new_checkpointer(self) -> ocp.AsyncCheckpointer:
    # If folders were made in the background, writers would wait for twenty minutes on a full disk.
    options = ocp.options.AsyncOptions(create_directories_asynchronously=False)
    return ocp.AsyncCheckpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=True, use_zarr3=True), async_options=options)

  def _body(self, step: int, leaves: dict[str, Any], metadata: dict, metrics: dict | None) -> dict[str, Any]:
    metrics = {name: float(value) for name, value in (metrics or {}).items()}
    if self._keep_best and self._best_metric not in metrics:
      names = ", ".join(sorted(metrics)) or "none"
      raise UserError(f"checkpoint {step} came without the metric {self._best_metric!r} (given: {names})")
    try:
      metadata = json.loads(json.dumps(metadata))
    except (TypeError, ValueError) as error:
      raise UserError(f"the metadata of checkpoint {step} is not JSON: {error}") from error
    metrics = {name: value for name, value in metrics.items() if not math.isnan(value)}
    described = {name: describe(leaf) for name, leaf in leaves.items()}
    return {"step": step, "metadata": metadata, "metrics": metrics, "leaves": described}

  def _finish(self, step: int, body: dict[str, Any], prune: bool) -> None:
    try:
      assert self._checkpointer is not None
      self._checkpointer.wait_until_finished()
      if jax.process_index() == 0:
        # The writers recreate missing folders, which then hold only a part of the files.
        if self._made is None or not os.path.samestat(self._made, self._path(step).stat()):
          raise OSError("its folder was removed, moved or replaced while it was written")
        manifests.write(self._path(step), body)
    except Exception as error:  # any error is passed on to the caller's thread
      self._fail(step, error)
      return
    self._saved = {saved for saved in self._saved if saved < step} | {step}
    if jax.process_index() == 0 and prune:
      self._remove_old(step)

  def _fail(self, step: int, error: BaseException) -> None:
    if jax.process_index() == 0:
      self._discard(step)
      with contextlib.suppress(OSError):
        self.folder.rmdir()  # only if empty, as when the writers recreated it
    self._checkpointer = None  # a failed one may still hold half a save
    newest = max(self.steps(), default=None)
    still = f"the newest good checkpoint is {newest}" if newest is not None else "there is no earlier checkpoint"
    self._error = UserError(f"could not save checkpoint {step} in {self.folder}: {orbax_faults.reason(error)}; {still}")
    self._error.__cause__ = error

  def _ranked(self) -> list[int]:
    scores: dict[int, float] = {}
    for step in self.steps():
      try:
        score = manifests.read(self._path(step))["metrics"].get(self._best_metric, math.nan)
      except Damage:
        continue
      if not math.isnan(score):
        scores[step] = score
    return sorted(scores, key=lambda step: (-scores[step], -step))

  def _remove_old(self, newest: int) -> None:
    steps = {step for step in self.steps() if step <= newest}
    steps = set(sorted(steps)[-self._keep :]) | set([s for s in self._ranked() if s in steps][: self._keep_best])
    for step in manifests.steps(self.folder):
      if step not in steps:
        self._discard(step)

  def _discard(self, step: int) -> None:
    # The manifest is removed first: after a kill, a half-removed folder must not look finished.
    with contextlib.suppress(OSError):
      (self._path(step) / manifests.NAME).unlink()
    _remove(self._path(step))

  def _newest_intact(self) -> tuple[int | None, list[str]]:
    self.wait()
    faults: list[tuple[str, str]] = []

    def choose() -> int:
      for name in manifests.names(self.folder):
        try:
          body = manifests.intact(self._path(name))
          if fault := self._fault(body["step"], body["metadata"]):
            raise Damage(fault)
          return body["step"]
        except Damage as damage:
          faults.append((name, str(damage)))
      return -2 if any(manifests.is_finished(self._path(name)) for name in manifests.names(self.folder)) else -1

    step = _agreed(choose)
    if step == -2:
      fault_list = "; ".join(f"{name} {fault}" for name, fault in faults)
      raise UserError(
        f"every checkpoint in {self.folder} is damaged or does not fit ({fault_list}): restore the run's folder from a "
        "copy, or choose another --workdir"
      )
    then = f"using checkpoint {step}" if step >= 0 else "nothing to restore, starting from the beginning"
    return (step if step >= 0 else None), [f"checkpoint {name} {fault}: {then}" for name, fault in faults]

  def _require(self, step: int) -> None:
    self.wait()
    if step not in manifests.steps(self.folder):
      existing = ", ".join(map(str, self.steps())) or "none"
      raise UserError(f"no checkpoint {step} in {self.folder} (there: {existing})")
    try:
      manifests.intact(self._path(step))
    except Damage as damage:
      raise UserError(f"checkpoint {step} in {self.folder} {damage}") from damage

  def _read(self, step: int, abstract: Any, warnings: list[str], prefix: str = "") -> RestoreResult:
    """Read a checkpoint whose checksums have just been verified."""
    body = manifests.read(self._path(step))
    if body["format"] in manifests.OLDER and not prefix:
      raise UserError(
        f"checkpoint {step} in {self.folder} has format {body['format']}, written by "
        f"{manifests.OLDER[body['format']]}: continue with that version, or start a new run from it (init_from)"
      )
    start = prefix.strip("/") + "/" if prefix else ""
    expected = {start + name if name else start[:-1]: leaf for name, leaf in named_leaves(abstract).items()}
    check_structure(body["leaves"], expected, step, partial=bool(prefix))
    stored = {name: leaf for name, leaf in expected.items() if math.prod(leaf.shape)}
    arrays = {
      name: jax.device_put(np.zeros(leaf.shape, leaf.dtype), _sharding(leaf))
      for name, leaf in expected.items()
      if name not in stored
    }
    how = {
      name: ocp.ArrayRestoreArgs(sharding=_sharding(leaf), global_shape=leaf.shape, dtype=leaf.dtype)
      for name, leaf in stored.items()
    }
    reader = ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=True, use_zarr3=True))
    try:
      args = ocp.args.PyTreeRestore(item=stored, restore_args=how, partial_restore=True)
      arrays |= reader.restore(self._path(step) / STATE, args=args) if stored else {}
    except (OSError, ValueError, RuntimeError) as error:
      raise UserError(f"could not read checkpoint {step} in {self.folder}: {orbax_faults.reason(error)}") from error
    finally:
      reader.close()
    state = jax.tree.unflatten(jax.tree.structure(abstract), [arrays[name] for name in expected])
    return RestoreResult(state, step, body["metadata"], warnings)
