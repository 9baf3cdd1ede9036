"""`python -m rl_jax.train` in processes of their own, and what their runs hold."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np

from rl_jax.runs.metrics import read_metrics
from rl_jax.training.checkpoints import Checkpoints
from tests import compilation

ROOT = Path(__file__).parents[1]

SMALL = (
  "learning_rate=1e-3",
  "prompts_per_iteration=2",
  "completions_per_prompt=4",
  "evaluation.prompts=4",
  "evaluation.samples_per_prompt=2",
  "evaluation.pass_at=(2,)",
  "logging.tensorboard=False",
  "logging.report=False",
  "logging.samples=2",
  "model.width=8",
  "model.heads=1",
  "model.head_width=8",
  "model.feed_forward=8",
  "task.levels.four.operations=2",
  "stages.warm_start.num_iterations=80",
)
"""Overrides of a smoke variant that make it smaller yet; so small a model takes longer to be right half of the time."""

INTERRUPTED = """
import os, resource, signal, sys
from rl_jax import train
from rl_jax.runs.metrics import MetricsWriter
from rl_jax.training import manifests

point, folder, step, number = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
write_metrics, write_manifest = MetricsWriter.write, manifests.write

def strike(at, path, now):
  if at == point and folder in str(path) and now == step:
    os.kill(os.getpid(), number)

def limit(number, frame):
  signal.signal(number, signal.SIG_IGN)
  resource.setrlimit(resource.RLIMIT_FSIZE, (9000, resource.RLIM_INFINITY))

def metrics(self, kind, iteration, values):
  write_metrics(self, kind, iteration, values)
  if kind == "train":
    strike("metrics", self._directory.path, iteration)

def manifest(path, body):
  strike("files", path, body["step"])
  write_manifest(path, body)
  strike("checkpoint", path, body["step"])

signal.signal(signal.SIGXFSZ, limit)
MetricsWriter.write, manifests.write = metrics, manifest
sys.exit(train.main(sys.argv[5:]))
"""


def shared_cache(tmp_path_factory) -> Path:
  """A compilation cache for the processes of this test session."""
  base = tmp_path_factory.getbasetemp()
  return (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "compiled"


def once(tmp_path_factory, name: str, make) -> Path:
  """A folder of this test session that `make(folder)` has filled, once for all of its worker processes."""
  folder = shared_cache(tmp_path_factory).parent / "once" / name
  folder.mkdir(parents=True, exist_ok=True)
  with (folder / ".once").open("a+") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not (folder / ".done").exists():
      make(folder)
      (folder / ".done").touch()
  return folder


def environment(cache: Path, **more: str) -> dict[str, str]:
  return os.environ | {
    "PYTHONPATH": str(ROOT),
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(cache),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # as in the tests' own process, see conftest.py
    "MPLBACKEND": "agg",
    "XLA_FLAGS": compilation.QUICK,
    **more,
  }


def flags(config: str, workdir: Path, *overrides: str) -> list[str]:
  return [f"--config={config}", f"--workdir={workdir}", *(f"--config.{o}" for o in overrides)]


def train(arguments: list[str], cache: Path, **options) -> subprocess.CompletedProcess:
  """The command; `options` as of subprocess.run."""
  return _run([sys.executable, "-m", "rl_jax.train", *arguments], cache, options)


def _run(command: list[str], cache: Path, options: dict) -> subprocess.CompletedProcess:
  settings = {"cwd": ROOT, "env": environment(cache), "capture_output": True, "text": True, "timeout": 300}
  return subprocess.run(command, **settings | options)


def interrupted(
  arguments: list[str], cache: Path, point: str, step: int, number: int, folder: str = "run", **options
) -> subprocess.CompletedProcess:
  """The command, which sends itself a signal: after the metrics of an iteration ("metrics"), when the files of a
  checkpoint are written but not vouched for ("files"), or when the checkpoint is whole ("checkpoint"). After SIGXFSZ
  files cannot grow beyond 9000 bytes."""
  command = [sys.executable, "-c", INTERRUPTED, point, f"/{folder}", str(step), str(int(number)), *arguments]
  return _run(command, cache, options)


def one_line(done: subprocess.CompletedProcess) -> str:
  """The one line that a refused command prints, whatever it said before."""
  assert done.returncode == 1, done.stderr
  assert "Traceback" not in done.stderr, done.stderr
  lines = done.stderr.strip().splitlines()
  assert lines[-1].startswith("rl_jax.train: "), done.stderr
  assert sum(line.startswith("rl_jax.train: ") for line in lines) == 1, done.stderr
  return lines[-1].removeprefix("rl_jax.train: ")


def steps(run: Path) -> list[int]:
  return Checkpoints(run / "checkpoints").steps()


def arrays(run: Path, step: int | None = None) -> dict[str, np.ndarray]:
  """Every leaf of a checkpoint (the newest), by name."""
  checkpoints = Checkpoints(run / "checkpoints")
  step = max(checkpoints.steps()) if step is None else step
  leaves = json.loads((run / "checkpoints" / str(step) / "manifest.json").read_text())["body"]["leaves"]
  abstract = {name: jax.ShapeDtypeStruct(tuple(shape), dtype) for name, (shape, dtype) in leaves.items()}
  return {name: np.asarray(leaf) for name, leaf in checkpoints.restore(step, abstract).state.items()}


def policy_of(run: Path, step: int) -> dict[str, np.ndarray]:
  """Parameters of the policy in a checkpoint, by name."""
  return {name: leaf for name, leaf in arrays(run, step).items() if name.startswith("seeds/models/policy/params/")}


def assert_moved(run: Path) -> None:
  """Check that every seed had a gradient in some iteration, and that its policy moved between the kept checkpoints."""
  norms = [line["gradient_norm"] for line in read_metrics(run / "metrics.jsonl") if line["kind"] == "train"]
  assert (np.array(norms) > 0).any(axis=0).all(), norms
  first, *_, last = steps(run)
  before, after = policy_of(run, first), policy_of(run, last)
  moved = np.array([(after[name] != leaf).reshape(len(leaf), -1).any(axis=1) for name, leaf in before.items()])
  assert moved.any(axis=0).all(), f"between iterations {first} and {last}"


def assert_same_end(left: Path, right: Path) -> None:
  """Check that runs that moved have bit-identical last checkpoints, and metrics and samples equal byte for byte."""
  assert_moved(left)
  one, other = arrays(left), arrays(right)
  assert steps(left)[-1] == steps(right)[-1]
  assert one.keys() == other.keys()
  for name, leaf in one.items():
    assert (leaf.dtype, leaf.shape, leaf.tobytes()) == (other[name].dtype, other[name].shape, other[name].tobytes()), (
      name
    )
  for name in ("metrics.jsonl", "samples.jsonl"):
    assert (left / name).read_bytes() == (right / name).read_bytes(), name


def flip_a_bit(folder: Path) -> None:
  """Flip a bit in the middle of the largest file below a folder."""
  file = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 1
  file.write_bytes(bytes(content))
