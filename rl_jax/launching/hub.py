"""Push of an exported model to a repository of the Hugging Face hub, in one commit."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

from rl_jax.errors import UserError

_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def check_name(repository: str) -> None:
  """Raise UserError unless a name is "owner/name" by the rules of the hub, or if the client is not installed."""
  if not _NAME.fullmatch(repository):
    raise UserError(f"--push={repository}: a repository of the hub is written owner/name")
  try:
    client().utils.validate_repo_id(repository)
  except ValueError as error:
    raise UserError(f"--push={repository}: {' '.join(str(error).split())[:300]}") from error


def client() -> Any:
  """The package huggingface_hub. Raises: UserError: it is not installed."""
  try:
    return importlib.import_module("huggingface_hub")
  except ModuleNotFoundError as error:
    raise UserError(f"no package {error.name!r}, which pushes a model: pip install huggingface_hub") from error


def push(folder: Path, repository: str, *, public: bool, message: str) -> str:
  """Upload a folder's files as one commit, into a repository that is made if it does not exist; return its address.

  The client's own settings hold: HF_TOKEN or `hf auth login`, and HF_ENDPOINT.

  Args:
    public: for a repository that is made; an existing one stays as it is.

  Raises: UserError: huggingface_hub is not installed, or the hub refused or did not answer; the folder remains.
  """
  hub = client()
  try:
    api = hub.HfApi()
    place = api.create_repo(repository, private=not public, exist_ok=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    operations = [hub.CommitOperationAdd(str(path.relative_to(folder).as_posix()), str(path)) for path in files]
    api.create_commit(place.repo_id, operations, commit_message=message)
  except (OSError, ValueError, _transport_error()) as error:
    reason = " ".join(str(error).split())[:300]
    again = f"try again with: hf upload {repository} {folder}"
    raise UserError(f"{folder} was exported, but not pushed to {repository}: {reason}: {again}") from error
  return str(place)


def _transport_error() -> type[Exception]:
  """The error of the client's HTTP library, which differs between versions, for servers that do not answer."""
  refused = importlib.import_module("huggingface_hub.errors").HfHubHTTPError
  return next((base for base in refused.__mro__ if base.__name__ == "HTTPError"), refused)
