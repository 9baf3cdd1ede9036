"""Estimators in tunix's registry, by a stand-in with its interface, or tunix where it is installed."""

from __future__ import annotations

import importlib.util
import sys
import types

import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.interop import tunix
from rl_jax.kernels.advantages import pass_at_k
from tests.interop.test_arrays import blocks

INSTALLED = importlib.util.find_spec("tunix") is not None


@pytest.fixture
def registry(monkeypatch):
  """tunix.rl.function_registry with the part of its interface that is used."""
  if INSTALLED:
    return importlib.import_module("tunix.rl.function_registry")
  module, functions = types.ModuleType("tunix.rl.function_registry"), {}

  def register_advantage_estimator(name):
    return lambda function: functions.setdefault(name, function)

  module.register_advantage_estimator = register_advantage_estimator
  module.get_advantage_estimator = functions.__getitem__
  for name in ("tunix", "tunix.rl"):
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
  monkeypatch.setitem(sys.modules, "tunix.rl.function_registry", module)
  return module


REWARDS = np.array([1.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 2.0], np.float32)


def called(registry, name, **arguments):
  """The call of tunix's learners."""
  return registry.get_advantage_estimator(name)(rewards=REWARDS, num_generations=4, **arguments)


def test_all_are_registered_under_names_of_their_own(registry):
  names = tunix.register()
  assert names == [f"rl_jax.{name}" for name in tunix.ESTIMATORS] and "rl_jax.maxrl" in names
  for name in names:
    advantages = called(registry, name)
    assert advantages.shape == (8,) and advantages.dtype == np.float32 and (advantages[4:] == 0).all(), name


def test_hand_computed_values(registry):
  tunix.register()
  np.testing.assert_array_equal(called(registry, "rl_jax.dr_grpo")[:4], [0.75, -0.25, -0.25, -0.25])
  np.testing.assert_allclose(called(registry, "rl_jax.rloo")[:4], [1, -1 / 3, -1 / 3, -1 / 3], rtol=1e-6)
  np.testing.assert_allclose(called(registry, "rl_jax.maxrl")[:4], [3, -1, -1, -1], rtol=1e-4)
  masked = called(registry, "rl_jax.dr_grpo", valid_mask=np.array([1, 1, 0, 0, 1, 1, 1, 1], bool))
  np.testing.assert_array_equal(masked[:4], [0.5, -0.5, 0, 0])


def test_grpo_is_tunix_own_on_groups_that_vary(registry):
  tunix.register()
  groups = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
  expected = (groups - groups.mean(1, keepdims=True)) / (groups.std(1, ddof=1, keepdims=True) + 1e-6)
  ours = registry.get_advantage_estimator("rl_jax.grpo")(rewards=groups.reshape(-1), num_generations=4)
  np.testing.assert_allclose(ours, expected.reshape(-1), rtol=1e-5)


def test_options_have_a_name_of_their_own(registry):
  name = tunix.register_estimator("pass_at_2", pass_at_k, k=2)
  assert name == "rl_jax.pass_at_2"
  np.testing.assert_allclose(called(registry, name)[:4], [1, 0, 0, 0], atol=1e-6)


def test_the_page_runs(registry, capsys):
  first, config, last = blocks("tunix.md")
  for block in (first, last):
    exec(compile(block, "tunix.md", "exec"), {})
  assert "rl_jax.maxrl" in capsys.readouterr().out and 'advantage_estimator="rl_jax.maxrl"' in config
  assert called(registry, "rl_jax.pass_at_4").shape == (8,)


@pytest.mark.skipif(INSTALLED, reason="tunix is installed")
def test_without_tunix_there_is_one_line():
  with pytest.raises(UserError, match="no package 'tunix': install tunix with pip install google-tunix"):
    tunix.register()
