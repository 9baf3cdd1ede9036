"""DUMP: two iterations through the trainer on three levels, with GRPO's own signal."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.methods import dump
from rl_jax.methods.method import check_options
from tests.methods.batches import TASK, config_of
from tests.methods.two_iterations import assert_whole, two_iterations

LEVELS = ("task.levels.three.operations=3", "task.levels.five.operations=5")


def test_two_iterations_fill_the_windows_and_say_which_levels_were_drawn():
  done = two_iterations("dump", *LEVELS)
  assert_whole(done)
  names = done.trainer.experiment.task.levels
  assert len(names) == 3
  shares = np.stack([[m[f"share/{name}"] for name in names] for m in done.metrics])
  np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
  state = jax.device_get(done.trainer.state.seeds.curriculum)
  np.testing.assert_allclose(state.counts, (8 * shares).sum(axis=0).T)
  filled = np.arange(state.windows.shape[-1]) < state.counts[..., None]
  assert not state.windows[~filled].any() and (state.windows[filled] > 0).any()
  # |A| of GRPO in a group of four: 0, or 0.5 and 1.5, or all 0.87.
  values = state.windows[filled]
  assert np.isclose(values[:, None], [0, 0.5, 1.5, 0.8660254], atol=1e-4).any(axis=1).all()


def test_options_that_make_no_sense_are_refused():
  for options, said in [({"window": 0}, "window: want .* at least 1"), ({"tau": -1.0}, "tau: want .* at least 0")]:
    with pytest.raises(UserError, match=said):
      check_options(config_of(dump, **options), dump)
  with pytest.raises(ValueError, match="it draws its problems itself, leave 'uniform'"):
    dump.build(config_of(dump, curriculum="epochs"), TASK)
