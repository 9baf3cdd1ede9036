"""Ctrl-C is answered at once wherever it comes, by one line; SIGHUP saves like SIGTERM."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time

import pytest

from rl_jax.configuration import configs
from rl_jax.launching import launch
from rl_jax.launching.interrupts import command_name
from rl_jax.launching.launch import Terminal
from rl_jax.launching.stop import Stop
from rl_jax.training.device_loop import DeviceLoop
from tests import commands

STRIKES = """
import os, signal, time
os.kill(os.getpid(), signal.SIGINT)
time.sleep(60)
"""
"""A module whose import is interrupted."""

BUSY = """
import hashlib, sys, tempfile
sys.argv, sys.orig_argv = ["-m"], ["python", "-m", "rl_jax.train"]
import rl_jax
from rl_jax.launching.stop import Stop
folder = tempfile.TemporaryDirectory()
stop = Stop()
if {listens}:
  stop.listen()
print(folder.name, flush=True)
hashlib.pbkdf2_hmac("sha256", b"", b"", 1 << 30)  # as a compiler does: no instruction of Python for a long time
"""


def environment(*folders: object) -> dict[str, str]:
  return os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(map(str, (*folders, commands.ROOT)))}


@pytest.mark.parametrize("argv, orig_argv, name", [
  (["-m"], ["python", "-X", "dev", "-m", "rl_jax.train", "grpo"], "rl_jax.train"),
  (["-m"], ["python", "-mrl_jax"], "rl_jax"),
  (["/bin/rl-jax", "train"], ["python", "/bin/rl-jax", "train"], "rl-jax"),
  (["-m"], ["python", "-m", "pytest", "rl_jax/train.py"], ""),
  (["-m"], ["python", "-m", "rl_jax.tasks.verifiers.worker"], ""),
  (["script.py"], ["python", "script.py", "-m", "rl_jax.train"], ""),
])  # fmt: skip
def test_a_process_is_known_as_a_command_of_ours(argv, orig_argv, name):
  assert command_name(argv, orig_argv) == name


def test_a_program_that_imports_the_package_keeps_its_handlers():
  code = (
    "import signal, threading, rl_jax, rl_jax.launching.stop\n"
    "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
    "assert signal.set_wakeup_fd(-1) == -1 and threading.active_count() == 1"
  )
  subprocess.run([sys.executable, "-c", code], check=True, env=environment())


@pytest.mark.parametrize("module", ["train", "evaluate", "verify", "study", "report"])
@pytest.mark.parametrize("form", [["-m", "rl_jax.{}"], ["-m", "rl_jax", "{}"]])
def test_ctrl_c_while_modules_are_imported_ends_in_one_line(module, form, tmp_path):
  (tmp_path / "ml_collections").mkdir()
  (tmp_path / "numpy").mkdir()
  for name in ("ml_collections", "numpy"):
    (tmp_path / name / "__init__.py").write_text(STRIKES)
  arguments = [part.format(module) for part in form]
  done = subprocess.run(
    [sys.executable, *arguments], capture_output=True, text=True, env=environment(tmp_path), cwd=commands.ROOT,
    timeout=30,
  )  # fmt: skip
  name = "rl-jax" if "rl_jax" in arguments else f"rl_jax.{module}"
  assert (done.returncode, done.stderr) == (130, f"{name}: ended by Ctrl-C\n")


@pytest.mark.parametrize("listens, said", [
  (True, ["SIGINT: saving after this iteration; Ctrl-C again ends at once",
          "rl_jax.train: ended at once; no checkpoint is saved"]),
  (False, ["rl_jax.train: ended by Ctrl-C"]),
])  # fmt: skip
def test_finding_18_ctrl_c_is_answered_and_counted_while_the_interpreter_is_busy(listens, said):
  with subprocess.Popen(
    [sys.executable, "-c", BUSY.format(listens=listens)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    env=environment(),
  ) as process:  # fmt: skip
    folder = process.stdout.readline().strip()
    time.sleep(0.2)
    for line in said:
      process.send_signal(signal.SIGINT)
      assert process.stderr.readline() == f"{line}\n"
    assert process.wait(10) == 130 and process.stderr.read() == ""
  assert folder and not os.path.exists(folder), "temporary folders go with it"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_finding_9_the_first_signal_is_noted_and_the_second_ends(number):
  stop = Stop()
  stop.listen()
  signal.raise_signal(number)
  assert stop.requested == number == stop.check()
  with pytest.raises(KeyboardInterrupt):
    signal.raise_signal(signal.SIGINT)


def test_what_an_end_at_once_leaves_is_true(tmp_path):
  stop = Stop()
  for folder, names in (("run", ["2.tmp", "4"]), ("stage", ["3", "10", "12"])):
    for name in names:
      (tmp_path / folder / name).mkdir(parents=True)
    stop.covers(tmp_path / folder)
  stop.covers(tmp_path / "another")
  assert stop.ended() == "ended at once; no checkpoint is saved", "none is finished"
  for name in ("run/4", "stage/10"):
    (tmp_path / name / "manifest.json").touch()
  assert stop.ended() == f"ended at once; checkpoint 10 in {tmp_path / 'stage'} is the newest"


def test_a_hangup_that_the_process_was_told_to_ignore_is_ignored():
  signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
  Stop().listen()
  assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_finding_18_a_run_that_was_stopped_while_it_compiled_does_nothing_more(tmp_path, monkeypatch):
  stop, stream = Stop(), io.StringIO()
  monkeypatch.setattr(DeviceLoop, "compile", lambda self, state: stop._note(signal.SIGTERM))
  config = configs.resolve("experiments/grpo.py:smoke", [*commands.SMALL, "init_from=", "num_seeds=1"])
  result = launch.train(config, tmp_path / "run", Terminal(["again"], stream, stop))
  assert (result.iterations, result.finished) == (0, False)
  *_, line = stream.getvalue().splitlines()
  assert line == "SIGTERM: nothing new to save at iteration 0; resume with: again"
