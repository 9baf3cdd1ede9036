"""Ctrl-C in commands that have nothing to save."""

from __future__ import annotations

import signal

from rl_jax import stop


def test_ctrl_c_ends_a_command_with_one_line(capsys):
  assert stop.run("rl_jax.verify", lambda argv: signal.raise_signal(signal.SIGINT) or 0) == 130
  assert capsys.readouterr().err.strip() == "rl_jax.verify: ended by Ctrl-C"


def test_a_command_keeps_its_exit_status():
  assert stop.run("rl_jax.verify", lambda argv: 3) == 3
