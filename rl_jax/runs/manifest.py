"""Record of a launch: versions, commit, command and machine, enough to repeat it elsewhere."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl_jax.errors import UserError
from rl_jax.runs.files import read_json, write_json
from rl_jax.runs.launch_fields import check_launch

FORMAT = 1

PACKAGES = (
  "jax", "jaxlib", "libtpu", "jax-cuda12-plugin", "jax-cuda13-plugin", "flax", "optax", "orbax-checkpoint",
  "ml-collections", "numpy", "ml-dtypes", "jaxtyping", "tensorstore", "tensorboardX", "matplotlib", "grain",
  "tensorflow-datasets", "reasoning-gym", "math-verify", "tokenizers", "rl-jax",
)  # fmt: skip
"""Distributions whose version is recorded, if they are installed."""

_FLAGS = (
  "XLA_FLAGS", "LIBTPU_INIT_ARGS", "CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE", "OMP_NUM_THREADS",
  "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED",
)  # fmt: skip
_FLAG_PREFIXES = ("JAX_", "XLA_PYTHON_")
_NOT_FLAGS = ("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE")
"""Prefixes of variables for the cache of compiled programs."""


def manifest(
  command: list[str], devices: str, flags: Mapping[str, str] | None = None, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
  """The entry of one launch.

  Args:
    command: the command line, one element per argument.
    devices: description of the devices ("cpu x1", "TPU v5e x8").
    flags: settings that affect numbers; None takes XLA_FLAGS, JAX_* and the like from the environment.
    extra: further fields as JSON (dataset fingerprints, hash of the start checkpoint, method source).

  Returns:
    `started` (UTC, ISO 8601), `command`, `devices`, `flags`, `packages` (name to version), `python`, `platform`,
    `cpu_model`, `cpu_features_sha256` (of the instruction sets, which may differ under one model name; None if
    unknown), `cpu_threads` (of the machine), `cpu_threads_allowed` (to this process), `git_commit`, `git_clean`,
    `uncommitted_sha256`, and `extra`'s fields. The three git fields are None if rl_jax is not run from a checkout or
    git is missing; `uncommitted_sha256` is None for a clean tree too.

  Raises:
    UserError: if `extra` names one of the fields above.
  """
  if flags is None:
    flags = {k: v for k, v in sorted(os.environ.items()) if _is_flag(k)}
  features = _cpu_line("flags") or _cpu_line("Features")
  entry: dict[str, Any] = {
    "started": now(),
    "command": list(command),
    "devices": devices,
    "flags": dict(flags),
    "packages": _versions(),
    "python": f"{platform.python_implementation()} {platform.python_version()}",
    "platform": platform.platform(),
    "cpu_model": _cpu_line("model name") or platform.processor() or platform.machine(),
    "cpu_features_sha256": hashlib.sha256(features.encode()).hexdigest() if features else None,
    "cpu_threads": os.cpu_count(),
    "cpu_threads_allowed": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    **git_state(Path(__file__).resolve().parents[2]),
  }
  clashes = sorted(set(entry) & set(extra or {}))
  if clashes:
    raise UserError(f"the manifest has a field {clashes[0]!r} of its own: choose another name for the extra field")
  return {**entry, **(extra or {})}


def _is_flag(name: str) -> bool:
  return (name in _FLAGS or name.startswith(_FLAG_PREFIXES)) and not name.startswith(_NOT_FLAGS)


def append_launch(path: Path, entry: Mapping[str, Any]) -> None:
  """Append a launch to manifest.json, {"format", "launches": [entry, …]}, atomically.

  Raises:
    UserError: if the file there is damaged, or cannot be written.
  """
  launches = read_launches(path, missing_ok=True)
  write_json(path, {"format": FORMAT, "launches": [*launches, dict(entry)]})


def end_launch(path: Path, end: Mapping[str, Any]) -> None:
  """Set field `end` of the latest launch, after an orderly end.

  Raises:
    UserError: if the file is missing or damaged, holds no launch, or cannot be written.
  """
  launches = read_launches(path)
  if not launches:
    raise UserError(f"{path} holds no launch that could end: restore it from a copy")
  write_json(path, {"format": FORMAT, "launches": [*launches[:-1], {**launches[-1], "end": dict(end)}]})


def now() -> str:
  """Current UTC time in ISO 8601, to the second."""
  return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def read_launches(path: Path, *, missing_ok: bool = False) -> list[dict[str, Any]]:
  """The entries of manifest.json, first launch first.

  Args:
    missing_ok: a file that does not exist holds no launch.

  Raises:
    UserError: if the file is missing or damaged.
  """
  if missing_ok and not path.exists():
    return []
  content = read_json(path)
  if not isinstance(content, dict) or not isinstance(content.get("launches"), list):
    raise UserError(f"{path} is not a manifest (no list of launches): restore it from a copy, or remove it")
  if content.get("format") != FORMAT:
    version = f"{content['format']!r:.60}" if "format" in content else "none"
    raise UserError(f"{path} has format {version}, this version reads {FORMAT}: restore it from a copy")
  for number, launch in enumerate(content["launches"], 1):
    check_launch(launch, f"{path}, launch {number}")
  return content["launches"]


def first_launch(path: Path) -> dict[str, Any]:
  """Entry of the launch that began a run.

  Raises:
    UserError: if the file is missing or damaged, or holds no launch.
  """
  launches = read_launches(path)
  if not launches:
    raise UserError(f"{path} holds no launch: restore it from a copy")
  return launches[0]


RESULTS = "experiments/results"
"""Folder of committed results. It does not affect runs, and studies write to it after each entry."""


def git_state(root: Path) -> dict[str, Any]:
  """`git_commit`, `git_clean`, `uncommitted_sha256` of the checkout at `root`.

  The hash covers `git diff HEAD --binary` without the results of earlier runs, then name and content of every untracked
  Python file that git does not ignore, in order of name: a new method file changes the run as much as an edited one.
  """
  unknown = {"git_commit": None, "git_clean": None, "uncommitted_sha256": None}
  # The top of the checkout must be ours: an installed copy may be inside another repository.
  top = _git(root, "rev-parse", "--show-toplevel")
  commit = _git(root, "rev-parse", "--verify", "HEAD")
  options = "--binary", "--no-ext-diff", "--no-textconv", "--no-color"
  diff = _git(root, "diff", "HEAD", *options, "--", ".", f":(exclude){RESULTS}")
  untracked = _git(root, "ls-files", "--others", "--exclude-standard", "-z")
  if top is None or commit is None or diff is None or untracked is None:
    return unknown
  if Path(os.fsdecode(top.rstrip(b"\n"))).resolve() != root.resolve():
    return unknown
  names = sorted(name for name in untracked.split(b"\0") if name.endswith(b".py"))
  digest = hashlib.sha256(diff)
  for name in names:
    file = root / os.fsdecode(name)
    content = file.read_bytes() if file.is_file() else b""
    digest.update(b"\0" + name + b"\0" + hashlib.sha256(content).digest())
  clean = not diff and not names
  return {
    "git_commit": commit.decode().strip(),
    "git_clean": clean,
    "uncommitted_sha256": None if clean else digest.hexdigest(),
  }


def _git(root: Path, *arguments: str) -> bytes | None:
  environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}  # a hook's GIT_DIR is not ours
  try:
    process = subprocess.run(["git", *arguments], cwd=root, env=environment, capture_output=True, timeout=30)
  except (OSError, subprocess.TimeoutExpired):
    return None
  return process.stdout if process.returncode == 0 else None


def _versions() -> dict[str, str]:
  versions = {}
  for name in PACKAGES:
    try:
      versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return versions


def _cpu_line(name: str) -> str:
  """A field of /proc/cpuinfo; "" if there is none."""
  try:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
      key, _, value = line.partition(":")
      if key.strip() == name:
        return value.strip()
  except OSError:
    pass
  return ""
