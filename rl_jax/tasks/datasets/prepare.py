"""Prepared data: made once in a separate process, cached in a folder, read by random access.

The process is separate because some reasoning-gym data sets iterate over Python sets and so depend on PYTHONHASHSEED,
which a process cannot change for itself. It builds in a temporary folder that is then renamed, so that the cache never
holds partial data.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from rl_jax.tasks.datasets import entries
from rl_jax.tasks.datasets.builder import SPLITS, ProblemBuilder, fingerprint

_ROOT = Path(__file__).resolve().parents[3]
_AT_A_TIME = 4096


class PreparedDataset:
  """Problems of both splits, checked against their fingerprint when opened.

  Attributes:
    fingerprint: SHA-256 of all records.
    repeated: number of problems left out because their question occurred before.
    questions, levels: split -> one text per problem.

  Raises: ValueError: the files are damaged.
  """

  def __init__(self, folder: Path):
    builder = tfds.builder_from_directory(folder)
    self._sources = {split: builder.as_data_source(split=split) for split in SPLITS}
    self.questions: dict[str, list[str]] = {split: [] for split in SPLITS}
    self.levels: dict[str, list[str]] = {split: [] for split in SPLITS}
    self.fingerprint = fingerprint(self._read())
    self.repeated = int(builder.info.metadata["repeated"])
    if self.fingerprint != builder.info.metadata["fingerprint"]:
      raise ValueError(f"the prepared data in {folder} is damaged: remove that folder, and it is made again")

  def _read(self):
    for split, source in self._sources.items():
      for first in range(0, len(source), _AT_A_TIME):
        for record in source.__getitems__(list(range(first, min(first + _AT_A_TIME, len(source))))):
          self.questions[split].append(record["question"].decode())
          self.levels[split].append(record["level"].decode())
          yield split, record

  def entries(self, places: Sequence[int] | np.ndarray, split: str) -> list[dict[str, Any]]:
    """Entries of the problems at `places` of a split, with their `level` where an entry has none itself."""
    records = self._sources[split].__getitems__([int(place) for place in places])
    return [{"level": record["level"].decode(), **entries.loads(record["entry"].decode())} for record in records]


def prepare(builder: type[ProblemBuilder], settings: Mapping[str, Any], source: Mapping[str, str]) -> PreparedDataset:
  """Data of a builder, made if it is not in the cache.

  Args:
    settings: fields of the builder's config, except its name.
    source: further inputs of the content: package versions by name, and hashes of files in place of their paths.

  Raises: ValueError: settings that make no data, in one line.
  """
  described = json.dumps({**settings, **source}, sort_keys=True)
  key = hashlib.sha256(described.encode()).hexdigest()[:16]
  folder = _cache() / "datasets" / builder.name / key / str(builder.VERSION)
  if not folder.exists():
    try:
      _make(builder, settings, key, folder)
    except OSError as error:
      raise ValueError(f"cannot write {folder} ({error.strerror}): set RL_JAX_CACHE to another folder") from error
  return PreparedDataset(folder)


def package_version(package: str) -> str:
  """Version of an installed package.

  Raises: ValueError: it is not installed.
  """
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError as error:
    raise ValueError(f"the package {package} is not installed: pip install 'rl-jax[tasks]'") from error


def _cache() -> Path:
  return Path(os.environ.get("RL_JAX_CACHE") or Path.home() / ".cache" / "rl_jax")


def _make(builder: type[ProblemBuilder], settings: Mapping[str, Any], key: str, folder: Path) -> None:
  drafts = folder.parents[1]
  drafts.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(prefix=".making-", dir=drafts) as draft:
    order = {"builder": f"{builder.__module__}:{builder.__name__}", "name": key, "settings": settings, "folder": draft}
    search = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    process = subprocess.run(
      [sys.executable, "-m", "rl_jax.tasks.datasets"],
      input=json.dumps(order),
      env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": search},
      stdout=subprocess.PIPE,
      text=True,
    )
    if process.returncode:
      raise ValueError(f"the process that prepares data ended with status {process.returncode}; see its lines above")
    answer = json.loads(process.stdout)
    if "refused" in answer:
      raise ValueError(answer["refused"])
    folder.parent.mkdir(exist_ok=True)
    try:
      Path(answer["made"]).rename(folder)
    except OSError:
      if not folder.exists():  # else another process was faster with the same content
        raise
