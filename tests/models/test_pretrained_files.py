"""Names of models, and what is said where nothing is found."""

from __future__ import annotations

import re

import huggingface_hub
import pytest

from rl_jax.models import pretrained_files
from rl_jax.models.errors import ModelFileError
from tests.models import gguf_files, tiny

TINY = tiny.GOLDENS / "tiny" / "smollm2"


def test_folders_and_files_are_opened_by_path(tmp_path, monkeypatch):
  gguf_files.write(tmp_path / "m.gguf", pretrained_files.open_source(str(TINY)))
  monkeypatch.chdir(tmp_path)
  width = lambda name: pretrained_files.open_source(name).config.width
  assert width("m.gguf") == width(str(TINY)) == 16


def test_a_known_model_is_looked_for_in_the_cache(tmp_path, monkeypatch):
  monkeypatch.setenv("RL_JAX_CACHE", str(tmp_path))
  path = tmp_path / "models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
  command = "run python -m rl_jax.fetch smollm2-135m-instruct"
  with pytest.raises(ModelFileError, match=re.escape(f"smollm2-135m-instruct is not at {path}: {command}")):
    pretrained_files.find("smollm2-135m-instruct")
  path.parent.mkdir(parents=True)
  path.write_bytes(b"half of it")
  with pytest.raises(ModelFileError, match=re.escape(f"smollm2-135m-instruct is damaged at {path}: {command}")):
    pretrained_files.find("smollm2-135m-instruct")


@pytest.mark.parametrize("name", ["smollm3", "", "./not/there", "a b/c", "org/name/more", "/not/there.gguf"])
def test_a_name_that_is_nothing_says_where_it_was_looked_for(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ModelFileError, match=f"no model {name!r}.*here .{tmp_path}.*smollm2-135m-instruct.*owner/name"):
    pretrained_files.find(name)


def test_a_file_of_another_kind_is_refused(tmp_path):
  (tmp_path / "weights.bin").touch()
  with pytest.raises(ModelFileError, match="weights.bin is neither a folder nor a .gguf file"):
    pretrained_files.find(str(tmp_path / "weights.bin"))


def test_the_digest_of_a_folder_is_that_of_its_names_and_contents(tmp_path):
  (tmp_path / "a").write_bytes(b"1")
  first = pretrained_files.digest(tmp_path)
  (tmp_path / "a").rename(tmp_path / "caf\udce9")  # é in latin-1
  second = pretrained_files.digest(tmp_path)
  (tmp_path / "caf\udce9").write_bytes(b"2")
  assert len({first, second, pretrained_files.digest(tmp_path)}) == 3


def test_the_hub_is_asked_for_the_files_that_are_read(monkeypatch, tmp_path):
  asked = {}

  def give(repository, **options):
    asked.update(options, repository=repository)
    return str(TINY)

  monkeypatch.setattr(huggingface_hub, "snapshot_download", give)
  assert pretrained_files.open_source("owner/name@v1").path == TINY
  assert asked["repository"] == "owner/name" and asked["revision"] == "v1"
  assert set(asked["allow_patterns"]) == {"*.json", "*.safetensors", "*.jinja"}

  def fail(*args, **options):
    raise huggingface_hub.errors.LocalEntryNotFoundError("not in the cache, and no network\nmore")

  monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
  monkeypatch.chdir(tmp_path)
  said = f"no model 'owner/name': there is no folder {tmp_path}/owner/name.* give owner/name: not in the cache, and no"
  with pytest.raises(ModelFileError, match=said) as error:
    pretrained_files.find("owner/name")
  assert "\n" not in str(error.value)
