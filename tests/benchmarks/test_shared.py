"""The grid of `rl_jax.benchmark shared`: token slots by hand, and both sides are the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from rl_jax.benchmark import main
from rl_jax.benchmarks.shared import SLOTS, Point, batches
from rl_jax.models import model as model_module
from rl_jax.trajectories import slots_run


@pytest.mark.parametrize(
  ("point", "alone", "shared"),
  [
    (Point(32, 32, (8,)), 8 * 64, 32 + 8 * 32),
    (Point(32, 32, (4, 4, 4)), 4 * 64 + 16 * 96 + 64 * 128, 32 + 84 * 32),  # 3.67 times
  ],
)
def test_slots_of_a_prompt(point, alone, shared):
  trees = point.trees
  count = trees.rows // trees.size
  assert slots_run(trees, point.width) == count * shared and SLOTS - shared < count * shared <= SLOTS
  whole, levels = batches(point, 64)
  assert sum(part.tokens.size for part in levels) == count * alone
  assert whole.tokens.shape == (trees.rows, point.width)


def test_rows_hold_the_text_of_their_parents():
  point = Point(3, 2, (2, 2))
  whole, _ = batches(point, 64)
  tokens, mask = np.asarray(whole.tokens)[:6], np.asarray(whole.attention_mask)[:6]
  assert mask.sum(axis=1).tolist() == [5, 5, 7, 7, 7, 7]
  assert (tokens[:, :3] == tokens[0, :3]).all()
  for child, parent in ((2, 0), (3, 0), (4, 1), (5, 1)):
    np.testing.assert_array_equal(tokens[child, :5], tokens[parent, :5])


def test_the_command_prints_a_line_for_each_point(capsys, monkeypatch):
  monkeypatch.setattr("rl_jax.benchmarks.shared.SLOTS", 16)
  small = model_module.build(
    model_module.get_config() | {"width": 8, "layers": 1, "heads": 1, "key_value_heads": 1, "head_width": 8}, 13
  )
  monkeypatch.setattr("rl_jax.benchmarks.shared.policy", lambda: small)
  assert main(["shared", "--prompt=2", "--response=2", "--shape=2,2-2", "--repeats=1"]) == 0
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 4 and lines[2].split()[:4] == ["2", "2", "2", "4"] and lines[3].split()[2] == "2-2"
  assert main(["shared", "--shape=0"]) == 1
  assert "of at least 1" in capsys.readouterr().err
