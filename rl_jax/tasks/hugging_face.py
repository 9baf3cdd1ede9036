"""Problems from a data set on the Hugging Face hub, in its cache, or in a folder.

config.task = {"name": "hugging_face:openai/gsm8k", "subset": "main", "held_out_split": "test", "layout": "gsm8k"}

The package `datasets` reads it. A folder holds data files (parquet, JSON lines, CSV, …) or the output of
`save_to_disk`. With HF_HUB_OFFLINE=1 only the cache is read. Prepared data is keyed by content: a data set without a
`revision` is prepared again when its content changes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl_jax.tasks import json_lines
from rl_jax.tasks.datasets import hugging_face
from rl_jax.tasks.host import HostTask, Scorers
from rl_jax.tasks.prompting import Tokenizer

_VERSION = ("subset", "split", "held_out_split", "revision")


def get_config() -> dict[str, Any]:
  """Fields and their defaults."""
  return {
    "dataset": "",  # name on the hub, as "openai/gsm8k", or a folder
    "subset": "",  # configuration of the data set, as "main"; "": its only one
    "split": "train",  # or a part of it, as "train[:1000]"
    "held_out_split": "",  # "": the question's hash divides `split`; else this split's questions are kept out of train
    "revision": "",  # branch, tag or commit; "": the newest. Name a commit to make a run repeatable
    **json_lines.FIELDS,
  }


def build(
  config: Mapping[str, Any],
  *,
  vocabulary: Tokenizer | None = None,
  scorers: Scorers | None = None,
) -> HostTask:
  """The task of `config` (fields as in `get_config`); the other arguments are those of `json_lines.build`.

  Raises: ValueError: in one line, for a field that makes no sense, and for data that cannot be loaded.
  """
  config = json_lines.complete(config, get_config(), ("dataset", *_VERSION))
  if not config["dataset"] or not config["split"]:
    raise ValueError('task.dataset and task.split: name a data set and its split, as "openai/gsm8k" and "train"')
  folder = Path(config["dataset"]).expanduser()
  if folder.is_dir() and config["revision"]:
    raise ValueError(f"task.revision={config['revision']}: the folder {folder} has no revisions: leave it out")
  version = {name: config[name] for name in _VERSION}
  places = {"dataset": str(folder.resolve()) if folder.is_dir() else config["dataset"], **version}
  hashes = [
    hugging_face.sha256(places["dataset"], version["subset"], split, version["revision"])
    for split in (version["split"], version["held_out_split"])
    if split
  ]
  source = {"dataset": " ".join(hashes)}
  task = json_lines.build_from(hugging_face.HuggingFace, places, source, config, vocabulary, scorers)
  text = f"{task.fingerprint} {json.dumps(version, sort_keys=True)}"
  return dataclasses.replace(task, fingerprint=hashlib.sha256(text.encode()).hexdigest())
