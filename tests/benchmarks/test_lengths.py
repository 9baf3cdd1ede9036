"""Benchmark of length buckets: lengths of its distributions, and a line for each."""

from __future__ import annotations

import numpy as np
import pytest

from rl_jax.benchmark import main
from rl_jax.benchmarks.lengths import DISTRIBUTIONS, GROUP, batch
from rl_jax.models import model as model_module


@pytest.mark.parametrize(
  ("name", "share"), [("full", 1), ("uniform", 1 / 2), ("near", 0.6), ("geometric/3", 0.32), ("geometric/8", 1 / 8)]
)
def test_lengths_have_the_mean_that_they_say(name, share):
  lengths = DISTRIBUTIONS[name](np.random.default_rng(0), 20000, 1000)
  assert lengths.min() >= 1 and lengths.max() <= 1000
  assert lengths.mean() / 1000 == pytest.approx(share, abs=0.01)


def test_rows_of_a_group_have_one_prompt():
  lengths = np.arange(2 * GROUP) % 3 + 1
  rows = batch(lengths, 2, 3, 64)
  np.testing.assert_array_equal(rows.attention_mask.sum(axis=1), 2 + lengths)
  prompts = np.asarray(rows.tokens)[:, :2].reshape(2, GROUP, 2)
  assert (prompts == prompts[:, :1]).all() and (prompts[0] != prompts[1]).any()


@pytest.mark.slow
def test_the_command_prints_a_line_for_each_distribution(capsys, monkeypatch):
  monkeypatch.setattr("rl_jax.benchmarks.lengths.PROMPTS", 4)
  chosen = {name: DISTRIBUTIONS[name] for name in ("full", "uniform")}
  monkeypatch.setattr("rl_jax.benchmarks.lengths.DISTRIBUTIONS", chosen)
  small = model_module.build(
    model_module.get_config() | {"width": 8, "layers": 1, "heads": 1, "key_value_heads": 1, "head_width": 8}, 13
  )
  monkeypatch.setattr("rl_jax.benchmarks.lengths.policy", lambda: small)
  assert main(["lengths", "--prompt=2", "--response=4", "--repeats=1"]) == 0
  lines = capsys.readouterr().out.splitlines()
  assert [line.split()[:4] for line in lines[2:4]] == [
    ["2", "4", "full", "1.00"],
    ["2", "4", "uniform", lines[3].split()[3]],
  ]
  assert len(lines) == 2 + len(chosen)
  assert main(["lengths", "--response=0"]) == 1
  assert "of at least 1" in capsys.readouterr().err
