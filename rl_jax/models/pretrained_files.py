"""Pretrained models by name: a known model, a folder, a .gguf file, or a repository of the Hugging Face hub."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from rl_jax.models import gguf, huggingface
from rl_jax.models.errors import ModelFileError, package, reason, shown
from rl_jax.models.fetch import KNOWN, cached_path, is_intact
from rl_jax.models.loading import Source

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w.-]+)?")
_HUB_FILES = ("*.json", "*.safetensors", "*.jinja")


def find(name: str) -> Path:
  """Folder or .gguf file of a name.

  Args:
    name: a key of `fetch.KNOWN`; a path; or "owner/name" or "owner/name@revision", which huggingface_hub downloads
      unless it is in its cache.

  Raises: ModelFileError: there is no such model; the message says where it was looked for.
  """
  if name in KNOWN:
    if not is_intact(name):
      state = "damaged at" if cached_path(name).exists() else "not at"
      raise ModelFileError(f"{name} is {state} {cached_path(name)}: run python -m rl_jax.fetch {name}")
    return cached_path(name)
  path = _existing(name)
  if path and (path.is_dir() or (path.is_file() and path.suffix == ".gguf")):
    return path
  if path:
    raise ModelFileError(f"{path} is neither a folder nor a .gguf file")
  if _HUB_ID.fullmatch(name) and not name.startswith("."):
    return _from_hub(name)
  raise ModelFileError(
    f"no model {shown(name)}: it is no folder or .gguf file here ({Path.cwd()}), none of the known models "
    f"({', '.join(KNOWN)}), and not written like a hub's 'owner/name'"
  )


def _existing(name: str) -> Path | None:
  """Path of a name if it exists, else None."""
  if not name:
    return None
  try:
    path = Path(name).expanduser()
    return path if path.exists() else None
  except (OSError, RuntimeError, ValueError) as error:  # too long, an unknown home, or no valid file name
    raise ModelFileError(f"no model {shown(name)}: {getattr(error, 'strerror', None) or reason(error)}") from error


def _from_hub(name: str) -> Path:
  hub = package("huggingface_hub")
  repository, _, revision = name.partition("@")
  try:
    return Path(hub.snapshot_download(repository, revision=revision or None, allow_patterns=list(_HUB_FILES)))
  except (OSError, ValueError) as error:
    raise ModelFileError(
      f"no model {name!r}: there is no folder {Path(name).absolute()}, and the Hugging Face hub and its cache did not "
      f"give {repository}: {reason(error)}"
    ) from error


def open_source(name: str) -> Source:
  """Model of a name, with weights not read yet; see `find`."""
  path = find(name)
  return huggingface.open_folder(path) if path.is_dir() else gguf.open_file(path)


def digest(path: Path) -> str:
  """SHA-256 over the names and contents of a model's files."""
  total = hashlib.sha256()
  for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
    with file.open("rb") as stream:
      total.update(os.fsencode(file.name) + hashlib.file_digest(stream, "sha256").digest())
  return total.hexdigest()
