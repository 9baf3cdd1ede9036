"""Data sets by name: with the package `datasets` where it is, and with a stand-in that has its calls; no network."""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
import sys

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from rl_jax.configuration import configs
from rl_jax.tasks import hugging_face, json_lines
from rl_jax.tasks.datasets.hugging_face import load, sha256
from tests.tasks import fake_datasets
from tests.tasks.byte_vocabulary import ChatBytes, responses


@pytest.fixture
def offline(tmp_path, monkeypatch):
  """Caches in a folder of this test's own, and no network."""
  for name in ("RL_JAX_CACHE", "HF_HOME", "HF_DATASETS_CACHE"):
    monkeypatch.setenv(name, str(tmp_path / "cache" / name))
  monkeypatch.setenv("HF_HUB_OFFLINE", "1")
  return tmp_path / "cache"


@pytest.fixture
def itself(offline, monkeypatch):
  """The package `datasets`, or no test."""
  package = pytest.importorskip("datasets")
  monkeypatch.setattr(package.config, "HF_DATASETS_CACHE", offline / "HF_DATASETS_CACHE")
  monkeypatch.setattr(package.config, "HF_HUB_OFFLINE", True)
  return package


@pytest.fixture
def stand_in(offline, tmp_path, monkeypatch):
  (tmp_path / "fake").mkdir()
  (tmp_path / "fake" / "datasets.py").write_text(fake_datasets.SOURCE)
  monkeypatch.delitem(sys.modules, "datasets", raising=False)
  monkeypatch.syspath_prepend(str(tmp_path / "fake"))
  monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
  yield importlib.import_module("datasets")
  del sys.modules["datasets"]  # before what was there is put back


def rows(numbers):
  return [{"question": f"{n} + 1000?", "answer": f"so\n#### {n + 1000:,}", "image": b"1"} for n in numbers]


def folder(path, train=range(12), test=range(10, 14)):
  path.mkdir(parents=True, exist_ok=True)
  for split, numbers in (("train", train), ("test", test)):
    parquet.write_table(pyarrow.Table.from_pylist(rows(numbers)), path / f"{split}.parquet")
  return str(path)


def build(dataset, **fields):
  fields = {"dataset": dataset, "held_out_split": "test", "layout": "gsm8k", "columns": ("answer",), **fields}
  return hugging_face.build({"workers": 0, **fields}, vocabulary=ChatBytes())


def numbers_of(task, split):
  prompts = task.prompts(np.arange(task.sizes[split]), split)
  texts = [ChatBytes().decode(row[kept]) for row, kept in zip(prompts.tokens, prompts.mask, strict=True)]
  return [int(text.removeprefix("[user]").split()[0]) for text in texts]


@pytest.mark.parametrize("package", ["stand_in", "itself"])
def test_a_folder_from_rows_to_rewards(package, request, tmp_path):
  request.getfixturevalue(package)
  task = build(folder(tmp_path / "mine"))
  assert numbers_of(task, "train") == list(range(10)) and numbers_of(task, "held_out") == [10, 11, 12, 13]
  assert task.verify(np.arange(2), "train", *responses(["It is 1000", "1000"])).rewards.tolist() == [1.0, 0.0]


def test_the_fingerprint_tells_content_and_revision_but_not_the_place(stand_in, tmp_path, monkeypatch):
  @dataclasses.dataclass
  class Task:
    fingerprint: str

  made = []
  monkeypatch.setattr(json_lines, "build_from", lambda *given: made.append(given) or Task(given[2]["dataset"]))
  here = build(folder(tmp_path / "a")).fingerprint
  assert build(folder(tmp_path / "b")).fingerprint == here
  assert build(folder(tmp_path / "b"), split="test").fingerprint != here
  assert build(folder(tmp_path / "a", train=range(11))).fingerprint != here, "a changed folder is prepared again"
  assert [given[1]["dataset"] for given in made[:2]] == [str(tmp_path / name) for name in "ab"]
  with pytest.raises(ValueError, match="task.revision=main: the folder .* has no revisions"):
    build(folder(tmp_path / "a"), revision="main")
  monkeypatch.setattr(hugging_face.hugging_face, "sha256", lambda *version: "content")
  assert len({build("me/mine", revision=revision).fingerprint for revision in ("", "main", "v1")}) == 3


@pytest.mark.parametrize("package", ["stand_in", "itself"])
def test_what_cannot_be_loaded_is_one_line(package, request, tmp_path):
  request.getfixturevalue(package)
  mine = folder(tmp_path / "mine")
  for dataset, split, message in (
    (str(tmp_path / "none"), "train", "(doesn't exist|Couldn't find)"),
    (mine, "validation", "Unknown split"),
  ):
    with pytest.raises(ValueError, match=f"task.dataset: cannot load {dataset}, split '{split}': .*{message}") as error:
      load(dataset, "", split, "")
    assert "\n" not in str(error.value)
  with pytest.raises(ValueError, match="task.dataset and task.split: name a data set and its split"):
    build("")


def test_a_column_that_no_row_has_is_one_line(stand_in, tmp_path):
  with pytest.raises(ValueError, match="task.columns: up to .*mine, train, row 12, no row has 'kind'"):
    build(folder(tmp_path / "mine"), columns=("kind",))


def test_a_missing_package_is_one_line(monkeypatch):
  monkeypatch.setitem(sys.modules, "datasets", None)
  with pytest.raises(ValueError, match=r"task.dataset: cannot import datasets .*: pip install 'rl-jax\[datasets\]'"):
    build("openai/gsm8k")


def test_what_save_to_disk_wrote(itself, tmp_path):
  train, test = (itself.Dataset.from_list(rows(range(n))) for n in (3, 2))
  itself.DatasetDict({"train": train, "test": test}).save_to_disk(tmp_path / "both")
  train.save_to_disk(tmp_path / "one")
  assert len(load(str(tmp_path / "both"), "", "test", "")) == 2
  assert len(load(str(tmp_path / "one"), "", "train", "")) == 3
  assert sha256(str(tmp_path / "one"), "", "train", "") != sha256(str(tmp_path / "both"), "", "test", "")
  for name, splits in (("both", "train, test"), ("one", "train")):
    with pytest.raises(ValueError, match=f"it was saved with the splits {splits}$"):
      load(str(tmp_path / name), "", "validation", "")
  part = load(str(tmp_path / "both"), "", "train[1:]+test[:50%]", "")
  assert [row["question"] for row in part] == ["1 + 1000?", "2 + 1000?", "0 + 1000?"]
  for subset, split, message in (("main", "train", "has no subsets: leave"), ("", "train[:x]", "Unrecognized instruc")):
    with pytest.raises(ValueError, match=message):
      load(str(tmp_path / "both"), subset, split, "")


def test_a_split_without_rows_is_one_line(itself, tmp_path):
  empty = itself.Dataset.from_dict({"question": []})
  itself.DatasetDict({"train": itself.Dataset.from_list(rows([1])), "test": empty}).save_to_disk(tmp_path / "saved")
  (tmp_path / "files").mkdir()
  (tmp_path / "files" / "train.jsonl").write_text("")
  for name in ("saved", "files"):
    with pytest.raises(ValueError, match="a split of it seems to have no row"):
      load(str(tmp_path / name), "", "train", "")


def test_a_name_in_the_cache_without_a_network(itself, offline, tmp_path):
  mine = folder(tmp_path / "mine")
  cached = itself.load_dataset(mine, split="train").cache_files[0]["filename"]
  prepared = next((offline / "HF_DATASETS_CACHE").glob("*/*/*/*/dataset_info.json")).parent
  assert str(prepared) in cached
  named = offline / "HF_DATASETS_CACHE" / "me___mine" / "default" / "0.0.0" / prepared.name
  shutil.copytree(prepared, named)
  info = json.loads((named / "dataset_info.json").read_text()) | {"dataset_name": "mine", "config_name": "default"}
  (named / "dataset_info.json").write_text(json.dumps(info))
  for file in named.glob("*.arrow"):
    file.rename(file.with_name(f"mine-{file.name.rpartition('-')[2]}"))
  assert [row["question"] for row in load("me/mine", "", "test", "")] == [
    row["question"] for row in rows(range(10, 14))
  ]
  assert sha256("me/mine", "", "test", "") == sha256(mine, "", "test", "")


def test_the_short_name_of_a_data_set():
  config = configs.resolve("smollm2_grpo", ["task.name=hugging_face:openai/gsm8k", "task.columns=kind,level"])
  assert (config.task.name, config.task.dataset) == ("rl_jax.tasks.hugging_face", "openai/gsm8k")
  unnamed = configs.resolve("smollm2_grpo", ["task.name=hugging_face:"])
  assert (unnamed.task.name, unnamed.task.dataset) == ("rl_jax.tasks.hugging_face", "")
  assert config.task.columns == ("kind", "level")
