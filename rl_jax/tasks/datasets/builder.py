"""Base of the TFDS builders: array_record files of problems, in disjoint splits, with a fingerprint.

TFDS writes and reads array_record without TensorFlow. `DatasetInfo` is made directly, because the usual shortcut looks
for files beside the builder's source.
"""

from __future__ import annotations

import abc
import hashlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from rl_jax.tasks.datasets import entries
from rl_jax.tasks.datasets.problems import Problem, SplitProblems

FEATURES = ("question", "level", "entry")
"""Text fields of a record; `entry` is written by `entries.dumps`."""
SPLITS = ("train", "held_out")


def fingerprint(records: Iterable[tuple[str, dict[str, bytes]]]) -> str:
  """SHA-256 of (split, record) pairs in order."""
  digest = hashlib.sha256()
  for split, record in records:
    for text in (split.encode(), *(record[name] for name in FEATURES)):
      digest.update(len(text).to_bytes(8, "big") + text)
  return digest.hexdigest()


def reported(problems: Iterable[Problem], seconds: float = 10.0) -> Iterator[Problem]:
  """Yield the problems, with a line on stderr every `seconds`: some reasoning-gym data sets are slow."""
  last = time.monotonic()
  for count, problem in enumerate(problems, start=1):
    yield problem
    if time.monotonic() - last > seconds:
      last = time.monotonic()
      print(f"preparing data: {count} problems so far", file=sys.stderr)


class ProblemBuilder(tfds.core.GeneratorBasedBuilder):
  """TFDS builder; subclasses provide the problems.

  Metadata of the prepared data set: `fingerprint` of all records, and `repeated`, the number of problems left out
  because their question occurred before.
  """

  VERSION = tfds.core.Version("1.0.0")
  config_class: ClassVar[type[tfds.core.BuilderConfig]]
  # Nothing is downloaded: TFDS would look for checksums beside the source, with a package that it does not require.
  url_infos: ClassVar[dict[str, Any]] = {}

  @abc.abstractmethod
  def divided(self) -> SplitProblems:
    """The problems of both splits."""

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=type(self).__doc__,
      features=tfds.features.FeaturesDict({name: tfds.features.Text() for name in FEATURES}),
      metadata=tfds.core.MetadataDict(),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
    divided = self.divided()
    records = {split: [_record(problem) for problem in getattr(divided, split)] for split in SPLITS}
    encoded = ((split, {k: v.encode() for k, v in record.items()}) for split in SPLITS for record in records[split])
    self.info.metadata.update(fingerprint=fingerprint(encoded), repeated=divided.repeated)
    return {split: self._generate_examples(records[split]) for split in SPLITS}

  def _generate_examples(self, records: list[dict[str, str]]) -> Iterator[tuple[int, dict[str, str]]]:
    yield from enumerate(records)


def _record(problem: Problem) -> dict[str, str]:
  return {"question": problem.question, "level": problem.level, "entry": entries.dumps(problem.entry)}
