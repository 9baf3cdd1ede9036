"""A run as an entry of a study: what is read of it, and where."""

from __future__ import annotations

import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.runs import study_results
from rl_jax.runs.metric_names import ACCURACY
from tests.runs import fabricated

FIELDS = {"epochs": 2, "minibatches_per_epoch": 3, "init_from": ""}


def entry_of(tmp_path, *metrics, budget=8000):
  return study_results.read(fabricated.run(tmp_path / "a", config=FIELDS), metrics, budget)


def test_metrics_of_training_are_read_at_the_evaluations(tmp_path):
  entry = entry_of(tmp_path, "entropy", "held_out/none")
  assert set(entry.values) == {ACCURACY, "entropy"}
  np.testing.assert_allclose(entry.values["entropy"][1:].mean(axis=1), [0.875, 0.75, 0.625, 0.5], atol=0.02)
  first = 1 - 0.5 / 8  # nothing is measured before the first iteration
  np.testing.assert_allclose(entry.values["entropy"][0].mean(), first, atol=0.02)
  np.testing.assert_allclose(entry.at_budget["entropy"], entry.values["entropy"][-1])
  assert entry.tokens[0].max() == 0 and entry.tokens[-1].min() == 8000
  assert entry.updates_per_iteration == 6


def test_a_run_that_ended_sooner_is_refused(tmp_path):
  with pytest.raises(UserError, match="ended at 8000 of 8001 tokens: raise num_iterations"):
    entry_of(tmp_path, budget=8001)
