"""How commands end: one line for what went wrong, and the exit status."""

from __future__ import annotations

import signal
import subprocess
import sys

from rl_jax.launching.commands import command
from rl_jax.runs.directory import find_run
from tests import commands


def test_an_error_of_the_user_is_one_line(capsys):
  assert command("rl_jax.x")(lambda argv: find_run(argv[0]))(["a\nb\x1b[2J"]) == 1
  assert capsys.readouterr().err == "rl_jax.x: a\\nb\\x1b[2J does not exist: give the --workdir of a run\n"


def test_ctrl_c_ends_a_command_with_one_line(capsys):
  assert command("rl_jax.verify")(lambda argv: signal.raise_signal(signal.SIGINT) or 0)([]) == 130
  assert capsys.readouterr().err.strip() == "rl_jax.verify: ended by Ctrl-C"


def test_a_command_keeps_its_exit_status_and_its_arguments(monkeypatch):
  monkeypatch.setattr(sys, "argv", ["x", "1", "2"])
  assert command("rl_jax.verify")(lambda argv: int(argv[1]))() == 2


def test_a_reader_that_has_gone_is_no_traceback():
  listing = [sys.executable, "-m", "rl_jax", "list"]
  with subprocess.Popen(listing, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=commands.ROOT) as process:
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 141
