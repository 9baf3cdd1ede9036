"""TFDS builder of problems from a data set of the `datasets` package: of the hub, its cache, or a local folder."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from rl_jax.tasks.datasets import columns, json_lines
from rl_jax.tasks.datasets.builder import ProblemBuilder
from rl_jax.tasks.datasets.problems import Problem, SplitProblems, divide, separate

_SAVED = ("dataset_dict.json", "state.json")
"""Files of folders that `save_to_disk` writes; other folders hold data files."""


@dataclasses.dataclass(eq=False, kw_only=True)
class HuggingFaceConfig(json_lines.RowsConfig):
  """Splits of a data set to read.

  Attributes:
    dataset: name on the hub, or an absolute path.
    subset: configuration of the data set; "": its only one.
    split: problems to train on, as in "train" or "train[:100]".
    held_out_split: held-out problems; "": `split` is split by the hash of the question.
    revision: branch, tag or commit on the hub; "": the newest.
  """

  dataset: str
  subset: str
  split: str
  held_out_split: str
  revision: str


class HuggingFace(ProblemBuilder):
  """Problems of a data set. An entry holds the whole row, as one of JSON lines does."""

  # A new version forces a rebuild: older ones accepted columns that no row has.
  VERSION = tfds.core.Version("1.1.0")
  config_class = HuggingFaceConfig

  def divided(self) -> SplitProblems:
    """The problems of both splits, in the order of the data set."""
    config = self.builder_config
    problems = self._problems(config.split)
    if config.held_out_split:
      return separate(problems, self._problems(config.held_out_split))
    return divide(problems, config.held_out_fraction)

  def _problems(self, split: str) -> Iterator[Problem]:
    config = self.builder_config
    data = load(config.dataset, config.subset, split, config.revision)
    if config.kept is not None:
      data = data.select_columns([name for name in data.column_names if name in config.kept])
    placed = (columns.placed(f"{config.dataset}, {split}, row {n}", row) for n, row in enumerate(data, start=1))
    yield from json_lines.problems(config, placed)


def load(dataset: str, subset: str, split: str, revision: str) -> Any:
  """A split of a data set.

  Raises: ValueError: `datasets` is not installed, or there is no such data set or split, in one line.
  """
  try:
    import datasets
  except ImportError as error:
    raise ValueError(f"task.dataset: cannot import datasets ({error}): pip install 'rl-jax[datasets]'") from error
  datasets.disable_progress_bars()
  datasets.utils.logging.set_verbosity_error()
  try:
    if any((Path(dataset) / name).exists() for name in _SAVED):
      if subset:
        raise ValueError("what save_to_disk wrote has no subsets: leave task.subset out")
      return _saved_split(datasets, datasets.load_from_disk(dataset), split)
    return datasets.load_dataset(dataset, subset or None, split=split, revision=revision or None)
  except Exception as error:  # anybody's files, maybe over a network
    text = " ".join(str(error).split())[:300]
    if not text or isinstance(error, IndexError | StopIteration):
      text = f"a split of it seems to have no row ({type(error).__name__}{f': {text}' if text else ''})"
    of = f" {subset}" if subset else ""
    raise ValueError(f"task.dataset: cannot load {dataset}{of}, split {split!r}: {text}") from error


def _saved_split(datasets: Any, saved: Any, split: str) -> Any:
  """A split of what `load_from_disk` gave, splits by name or the only one; or parts of them, as "train[:100]+test"."""
  splits = saved if isinstance(saved, dict) else {str(saved.split or "train"): saved}
  lengths = {name: len(data) for name, data in splits.items()}
  try:
    parts = datasets.ReadInstruction.from_spec(split).to_absolute(lengths)
  except ValueError as error:
    raise ValueError(f"{error}; it was saved with the splits {', '.join(splits)}") from error
  return datasets.concatenate_datasets(
    [splits[part.splitname].select(range(part.from_ or 0, lengths[part.splitname] if part.to is None else part.to))
     for part in parts]
  )  # fmt: skip


def sha256(dataset: str, subset: str, split: str, revision: str) -> str:
  """SHA-256 of the Arrow files that hold a split. Raises: ValueError: it cannot be loaded."""
  digest = hashlib.sha256()
  for part in load(dataset, subset, split, revision).cache_files:
    with open(part["filename"], "rb") as file:
      digest.update(hashlib.file_digest(file, "sha256").digest())
  return digest.hexdigest()
