"""How an `init_from` is read (fault 23)."""

from __future__ import annotations

import pytest

from rl_jax.launching.initialization import parsed


@pytest.mark.parametrize(
  ("init_from", "parts"),
  [
    ("", ("", "policy", "")),
    ("warm_start", ("warm_start", "policy", "")),
    ("warm_start@0123abcd", ("warm_start", "policy", "0123abcd")),
    ("warm_start#critic", ("warm_start", "critic", "")),
    ("runs/ppo#critic@0123", ("runs/ppo", "critic", "0123")),
    ("runs/me@lab/run", ("runs/me@lab/run", "policy", "")),
    ("runs/me@lab/run#critic@ab12", ("runs/me@lab/run", "critic", "ab12")),
    ("a template\nof " + "many words " * 99, ("a template\nof " + "many words " * 99, "policy", "")),
    ("runs/c#/ppo", ("runs/c#/ppo", "policy", "")),
  ],
)
def test_the_parts_of_a_start(init_from, parts):
  assert parsed(init_from) == parts


def test_a_folder_that_is_there_is_meant_as_it_is_written(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "run#2@ab").mkdir()
  assert parsed("run#2@ab") == ("run#2@ab", "policy", "") and parsed("run#2@cd") == ("run", "2", "cd")
