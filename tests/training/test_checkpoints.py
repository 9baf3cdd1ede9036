"""Checkpoints: exact, asynchronous, and safe against kills, bit flips, full disks and other configurations."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from rl_jax.errors import UserError
from rl_jax.training.checkpoints import Checkpoints
from tests import compilation

ROOT = Path(__file__).parents[2]


@struct.dataclass
class State:
  models: dict
  step: jax.Array
  empty: tuple = ()


def make_state(seed: int = 0) -> State:
  key = jax.random.key(seed)
  floats = jax.random.normal(key, (3, 5))
  return State(
    models={
      "policy": {
        "params": {"w": floats, "b": floats[0].astype(jnp.bfloat16).at[0].set(jnp.nan)},
        "key": jax.random.key_data(key),
        "flags": floats > 0,
        "none": jnp.zeros((0, 4), jnp.float32),
      },
      "ids": [jnp.arange(7, dtype=jnp.int32) + seed, np.arange(3, dtype=np.int64)],
    },
    step=jnp.asarray(seed, jnp.int32),
  )


def abstract(tree):
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jax.dtypes.canonicalize_dtype(x.dtype)), tree)


def make_simple(seed: int):
  return {"params": {"w": jnp.arange(6.0).reshape(2, 3) + seed}, "n": jnp.int32(seed)}


def assert_same_bits(left, right):
  assert jax.tree.structure(left) == jax.tree.structure(right)
  for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
    a, b = np.asarray(a), np.asarray(b)
    assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def save_some(folder: Path, steps=(10, 20, 30)) -> None:
  with Checkpoints(folder) as checkpoints:
    for step in steps:
      checkpoints.save(step, make_simple(step), {"at": step})


def test_finding_3_without_prune_all_older_checkpoints_stay(tmp_path):
  with Checkpoints(tmp_path / "c", keep=2) as checkpoints:
    for step, prune in ((10, True), (20, True), (30, False), (40, False)):
      checkpoints.save(step, make_simple(step), {}, wait=True, prune=prune)
    assert checkpoints.steps() == [10, 20, 30, 40]
    checkpoints.save(50, make_simple(50), {}, wait=True)
    assert checkpoints.steps() == [40, 50]


def test_every_kind_of_leaf_comes_back_bit_for_bit(tmp_path):
  state = make_state(3)
  state.models["ids"][1] = np.arange(3, dtype=np.int32)
  with Checkpoints(tmp_path / "c") as checkpoints:
    checkpoints.save(5, state, {"loader": {"position": 12}, "hash": "ab"}, wait=True)
  restored = Checkpoints(tmp_path / "c").restore_latest(abstract(state))
  assert_same_bits(restored.state, jax.tree.map(jnp.asarray, state))
  assert restored.step == 5 and restored.warnings == []
  assert restored.metadata == {"loader": {"position": 12}, "hash": "ab"}


def test_nothing_saved_is_none_and_makes_no_folder(tmp_path):
  assert Checkpoints(tmp_path / "c").restore_latest(abstract(make_simple(0))) is None
  assert not (tmp_path / "c").exists()


def test_state_may_be_donated_or_overwritten_after_save(tmp_path):
  update = jax.jit(lambda tree: jax.tree.map(lambda x: x * 2 + 1, tree), donate_argnums=0)
  state = {"w": jnp.arange(1_000_000, dtype=jnp.float32), "s": jnp.float32(1)}
  host = np.ones(1_000_000, np.float32)
  expected = jax.tree.map(lambda x: np.array(x), state)
  with Checkpoints(tmp_path / "c") as checkpoints:
    checkpoints.save(1, {**state, "host": host}, {})
    host[:] = -1
    for _ in range(5):
      state = update(state)
    jax.block_until_ready(state)
    jax.tree.map(lambda x: x.delete(), state)
  restored = Checkpoints(tmp_path / "c").restore_latest(abstract({**expected, "host": host})).state
  assert_same_bits(restored, {**expected, "host": np.ones(1_000_000, np.float32)})
  assert_same_bits(update(restored)["w"], expected["w"] * 2 + 1)  # what was restored can be donated in turn


def test_save_returns_before_the_files_are_written(tmp_path, monkeypatch):
  from rl_jax.training import manifests

  real, gate = manifests.write, threading.Event()
  monkeypatch.setattr(manifests, "write", lambda *a: (gate.wait(30), real(*a)))
  checkpoints = Checkpoints(tmp_path / "c")
  checkpoints.save(1, make_simple(1), {})
  assert checkpoints.steps() == []
  gate.set()
  checkpoints.close()
  assert checkpoints.steps() == [1]


def checkpoint_files(folder: Path) -> list[Path]:
  return sorted(path for path in folder.rglob("*") if path.is_file())


def test_one_flipped_bit_in_any_file_is_found(tmp_path):
  save_some(tmp_path / "c")
  files = checkpoint_files(tmp_path / "c" / "30")
  assert len(files) >= 4
  for file in files:
    intact = file.read_bytes()
    for position in sorted({0, len(intact) // 2, len(intact) - 1}) if intact else []:
      broken = bytearray(intact)
      broken[position] ^= 4
      file.write_bytes(bytes(broken))
      restored = Checkpoints(tmp_path / "c").restore_latest(abstract(make_simple(0)))
      assert restored.step == 20, file
      assert_same_bits(restored.state, make_simple(20))
      (warning,) = restored.warnings
      assert warning.startswith("checkpoint 30 is damaged (") and warning.endswith("): using checkpoint 20")
      assert str(file.relative_to(tmp_path / "c" / "30")) in warning
    file.write_bytes(intact)
  assert Checkpoints(tmp_path / "c").restore_latest(abstract(make_simple(0))).step == 30


@pytest.mark.parametrize("harm", ["truncate", "delete"])
def test_truncated_and_deleted_files_are_found(tmp_path, harm):
  save_some(tmp_path / "c")
  for file in checkpoint_files(tmp_path / "c" / "30"):
    intact = file.read_bytes()
    if not intact or (harm == "delete" and file.name == "manifest.json"):
      continue
    file.unlink()
    if harm == "truncate":
      file.write_bytes(intact[:-1])
    restored = Checkpoints(tmp_path / "c").restore_latest(abstract(make_simple(0)))
    assert restored.step == 20 and restored.warnings[0].startswith("checkpoint 30 is damaged (")
    with pytest.raises(UserError, match=r"^checkpoint 30 in .* is damaged \(.*\)$"):
      Checkpoints(tmp_path / "c").restore(30, abstract(make_simple(0)))
    file.write_bytes(intact)


def test_missing_manifest_is_incomplete(tmp_path):
  save_some(tmp_path / "c")
  (tmp_path / "c/30/manifest.json").unlink()
  restored = Checkpoints(tmp_path / "c").restore_latest(abstract(make_simple(0)))
  assert restored.step == 20
  assert restored.warnings == [
    "checkpoint 30 is incomplete (no manifest.json: the save was cut off): using checkpoint 20"
  ]


def test_all_damaged_is_one_clear_line(tmp_path):
  save_some(tmp_path / "c", steps=(1, 2))
  for step in (1, 2):
    (tmp_path / f"c/{step}/manifest.json").write_text("{}")
  with pytest.raises(UserError, match="every checkpoint in .* is damaged") as caught:
    Checkpoints(tmp_path / "c").restore_latest(abstract(make_simple(0)))
  assert "\n" not in str(caught.value)


def test_the_run_goes_on_after_a_damaged_checkpoint(tmp_path):
  save_some(tmp_path / "c")
  (tmp_path / "c/30/manifest.json").write_text("{}")
  with Checkpoints(tmp_path / "c") as checkpoints:
    assert checkpoints.restore_latest(abstract(make_simple(0))).step == 20
    checkpoints.save(25, make_simple(25), {})
    checkpoints.wait()
    assert checkpoints.steps() == [10, 20, 25] and not (tmp_path / "c/30").exists()
    checkpoints.save(30, make_simple(30), {})
  assert Checkpoints(tmp_path / "c").restore_latest(abstract(make_simple(0))).step == 30


def test_other_shapes_and_names_are_named(tmp_path):
  save_some(tmp_path / "c")
  checkpoints = Checkpoints(tmp_path / "c")
  other = abstract({"params": {"w": jnp.zeros((4, 3))}, "n": jnp.int32(0)})
  with pytest.raises(UserError, match=r"params/w is float32\[2,3\] there, float32\[4,3\] here"):
    checkpoints.restore_latest(other)
  other = abstract({"params": {"w": jnp.zeros((2, 3), jnp.bfloat16)}, "n": jnp.int32(0)})
  with pytest.raises(UserError, match=r"params/w is float32\[2,3\] there, bfloat16\[2,3\] here"):
    checkpoints.restore(30, other)
  with pytest.raises(UserError, match="has no params/v"):
    checkpoints.restore(30, abstract({"params": {"w": jnp.zeros((2, 3)), "v": jnp.zeros(1)}, "n": jnp.int32(0)}))
  with pytest.raises(UserError, match=r"also holds n int32\[\]"):
    checkpoints.restore(30, abstract({"params": {"w": jnp.zeros((2, 3))}}))
  with pytest.raises(UserError, match=r"no checkpoint 7 in .* \(there: 10, 20, 30\)"):
    checkpoints.restore(7, other)


def test_part_of_the_state_can_be_read_alone(tmp_path):
  state = make_state(2)
  with Checkpoints(tmp_path / "c") as checkpoints:
    checkpoints.save(5, state, {"origin": "first run"})
  params = state.models["policy"]["params"]
  restored = Checkpoints(tmp_path / "c").restore_subtree("models/policy/params", abstract(params))
  assert_same_bits(restored.state, params)
  assert restored.step == 5 and restored.metadata == {"origin": "first run"}
  one = Checkpoints(tmp_path / "c").restore_subtree("models/policy/params/w", abstract(params["w"]), step=5)
  assert_same_bits(one.state, params["w"])
  with pytest.raises(UserError, match="has no models/critic/w"):
    Checkpoints(tmp_path / "c").restore_subtree("models/critic", abstract({"w": params["w"]}))


def test_what_cannot_be_saved_is_refused_at_once(tmp_path):
  checkpoints = Checkpoints(tmp_path / "c")
  with pytest.raises(UserError, match="a/b is a float: the state may hold arrays only"):
    checkpoints.save(1, {"a": {"b": 1.0}}, {})
  with pytest.raises(UserError, match="key is a typed PRNG key: store jax.random.key_data"):
    checkpoints.save(1, {"key": jax.random.key(0)}, {})
  with pytest.raises(UserError, match="metadata of checkpoint 1 is not JSON"):
    checkpoints.save(1, make_simple(1), {"path": Path("x")})
  with pytest.raises(UserError, match="best_metric is not given"):
    Checkpoints(tmp_path / "c", keep_best=1)


def test_newest_and_best_are_kept(tmp_path):
  scores = {1: 0.1, 2: 0.9, 3: float("nan"), 4: 0.5, 5: 0.2, 6: 0.3}
  with Checkpoints(tmp_path / "c", keep=2, keep_best=2, best_metric="accuracy") as checkpoints:
    for step, score in scores.items():
      checkpoints.save(step, make_simple(step), {}, {"accuracy": score})
    checkpoints.wait()
    assert checkpoints.steps() == [2, 4, 5, 6] and checkpoints.best_step() == 2
    with pytest.raises(UserError, match=r"without the metric 'accuracy' \(given: loss\)"):
      checkpoints.save(7, make_simple(7), {}, {"loss": 1.0})


def test_old_checkpoints_go_only_after_the_new_one_is_whole(tmp_path, monkeypatch):
  from rl_jax.training import manifests

  with Checkpoints(tmp_path / "c", keep=1) as checkpoints:
    checkpoints.save(1, make_simple(1), {}, wait=True)
    monkeypatch.setattr(manifests, "write", lambda *_: (_ for _ in ()).throw(OSError(28, os.strerror(28))))
    with pytest.raises(UserError, match="No space left on device; the newest good checkpoint is 1$"):
      checkpoints.save(2, make_simple(2), {}, wait=True)
    assert checkpoints.steps() == [1]
    monkeypatch.undo()
    checkpoints.save(2, make_simple(2), {}, wait=True)
    assert checkpoints.steps() == [2]


def test_the_same_step_is_saved_once(tmp_path):
  with Checkpoints(tmp_path / "c") as checkpoints:
    checkpoints.save(1, make_simple(1), {}, wait=True)
    before = (tmp_path / "c/1/manifest.json").stat().st_mtime_ns
    checkpoints.save(1, make_simple(1), {}, wait=True)
    assert (tmp_path / "c/1/manifest.json").stat().st_mtime_ns == before


def test_orbax_is_quiet_and_other_users_of_absl_are_not(tmp_path, caplog):
  from absl import logging as absl_logging

  with caplog.at_level(logging.DEBUG):
    save_some(tmp_path / "c")
    Checkpoints(tmp_path / "c").restore_latest(abstract(make_simple(0)))
    absl_logging.warning("mine")
  assert [record.message for record in caplog.records if record.name == "absl"] == ["mine"]


def run_python(code: str, *arguments: str, **options) -> subprocess.Popen:
  environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
  return subprocess.Popen(
    [sys.executable, "-c", code, *arguments],
    cwd=ROOT,
    env=environment,
    text=True,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    **options,
  )


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import jax.numpy as jnp, numpy as np
from rl_jax.errors import UserError
from rl_jax.training.checkpoints import Checkpoints
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
noise = lambda n: jnp.asarray(np.random.default_rng(n).normal(size=n), jnp.float32)
checkpoints = Checkpoints(Path(sys.argv[1]))
checkpoints.save(30, {"w": noise(1000)}, {}, wait=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
for attempt in range(2):
  checkpoints.save(40, {"w": noise(300_000)}, {})
  try:
    checkpoints.save(50, {"w": noise(300_000)}, {}, wait=True)
  except UserError as error:
    print(error)
print(checkpoints.steps())
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
checkpoints.save(60, {"w": noise(300_000)}, {}, wait=True)
print(checkpoints.steps(), sorted(path.name for path in Path(sys.argv[1]).iterdir()))
checkpoints.close()
"""


def test_a_write_that_the_system_refuses_is_told_and_leaves_nothing(tmp_path):
  process = run_python(FULL_DISK, str(tmp_path / "c"))
  out, err = process.communicate(timeout=120)
  assert process.returncode == 0, err
  line = f"could not save checkpoint 40 in {tmp_path / 'c'}: File too large; the newest good checkpoint is 30"
  assert out.splitlines() == [line, line, "[30]", "[30, 60] ['30', '60']"]
  assert err == ""


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk needs root on Linux")
def test_a_disk_that_is_full(tmp_path):
  disk = tmp_path / "disk"
  disk.mkdir()
  if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True).returncode:
    pytest.skip("this machine does not permit mount")
  try:
    noise = jnp.asarray(np.random.default_rng(0).normal(size=300_000), jnp.float32)
    with Checkpoints(disk / "c") as checkpoints:
      checkpoints.save(1, make_simple(1), {}, wait=True)
      with pytest.raises(UserError, match="No space left on device; the newest good checkpoint is 1$"):
        checkpoints.save(2, {"w": noise}, {}, wait=True)
      assert checkpoints.steps() == [1] and not (disk / "c/2").exists()
      checkpoints.save(3, make_simple(3), {}, wait=True)
      # Not even a byte is left: folders cannot be made, or files come out empty.
      try:
        (disk / "filler").write_bytes(bytes(2_000_000))
      except OSError:
        pass
      with pytest.raises(UserError, match="checkpoint 4 in .*No space left on device"):
        checkpoints.save(4, make_simple(4), {}, wait=True)
      assert checkpoints.restore_latest(abstract(make_simple(0))).step == 3
  finally:
    subprocess.run(["umount", str(disk)], check=True)


KILLED = """
import sys
from pathlib import Path
import jax.numpy as jnp
from rl_jax.training.checkpoints import Checkpoints
checkpoints = Checkpoints(Path(sys.argv[1]), keep=2)
for step in range(1, 100000):
  checkpoints.save(step, {"w": jnp.full((200, 300), step, jnp.float32), "n": jnp.int32(step)}, {"step": step})
  print(step, flush=True)
"""


def test_a_kill_at_any_moment_leaves_the_last_or_the_one_before(tmp_path):
  wanted = abstract({"w": jnp.zeros((200, 300)), "n": jnp.int32(0)})
  delays = random.Random(0)
  for attempt in range(5):
    folder = tmp_path / str(attempt)
    process = run_python(KILLED, str(folder))
    for _ in range(3):
      assert process.stdout.readline().strip().isdecimal()
    time.sleep(delays.uniform(0, 0.5))
    process.send_signal(signal.SIGKILL)
    rest, err = process.communicate()
    # `save(n)` returns after n-1 is whole, so n-1 or n must be there, and n+1 may be.
    last = int(rest.split()[-1]) if rest.split() else 3
    restored = Checkpoints(folder, keep=2).restore_latest(wanted)
    assert last - 1 <= restored.step <= last + 1, err
    assert restored.metadata == {"step": restored.step} and int(restored.state["n"]) == restored.step
    assert np.all(np.asarray(restored.state["w"]) == restored.step)
    with Checkpoints(folder, keep=2) as checkpoints:
      checkpoints.save(restored.step + 1, restored.state, {})
    assert sorted(int(path.name) for path in folder.iterdir()) == [restored.step, restored.step + 1]


MESHES = """
import sys
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from rl_jax.training.checkpoints import Checkpoints
def mesh(shape):
  devices = jax.devices()[:shape[0] * shape[1]]
  return jax.make_mesh(shape, ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2, devices=devices)
w = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)
def place(m, spec): return NamedSharding(m, spec)
first = mesh((2, 4))
state = {"w": jax.device_put(w, place(first, P("data", "fsdp"))), "r": jax.device_put(w[0], place(first, P())),
         "z": jax.device_put(np.zeros((0, 8), np.float32), place(first, P(None, "data")))}
with Checkpoints(Path(sys.argv[1])) as c:
  c.save(1, state, {})
for shape in ((8, 1), (1, 1), (2, 4)):
  m = mesh(shape)
  wanted = {"w": jax.ShapeDtypeStruct((8, 16), jnp.float32, sharding=place(m, P(("data", "fsdp")))),
            "r": jax.ShapeDtypeStruct((16,), jnp.float32, sharding=place(m, P())),
            "z": jax.ShapeDtypeStruct((0, 8), jnp.float32, sharding=place(m, P()))}
  got = Checkpoints(Path(sys.argv[1])).restore_latest(wanted).state
  assert all(got[k].sharding == wanted[k].sharding for k in got), shape
  assert np.array_equal(got["w"], w) and np.array_equal(got["r"], w[0]) and got["z"].shape == (0, 8)
print("same")
"""


def test_restores_onto_another_mesh(tmp_path, monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", compilation.devices(8))
  out, err = run_python(MESHES, str(tmp_path / "c")).communicate(timeout=120)
  assert (out, err) == ("same\n", "")


def test_a_small_state_is_saved_in_well_under_a_second(tmp_path):
  state = {str(i): jnp.full((128, 128), i, jnp.float32) for i in range(60)}  # about the size of the benchmark's policy
  with Checkpoints(tmp_path / "c") as checkpoints:
    checkpoints.save(0, state, {}, wait=True)
    start = time.perf_counter()
    checkpoints.save(1, state, {})
    blocked = time.perf_counter() - start
    checkpoints.wait()
    total = time.perf_counter() - start
  print(json.dumps({"blocked_seconds": blocked, "total_seconds": total}))
  assert total < 3  # measured: 0.1; a machine that is busy gets its slack
