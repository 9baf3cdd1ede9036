"""Names of topologies; topologies of TPUs themselves are in test_plan.py."""

from __future__ import annotations

import importlib.util

import pytest

from rl_jax.errors import UserError
from rl_jax.planning import chips


@pytest.mark.parametrize("name", ["v7:2x2", "v5p", "v5p:", "v5p:4x4x4x4", "v5e:2xx4", "v5e:ab", "cpu:"])
def test_what_is_no_topology_is_one_line(name):
  with pytest.raises(UserError, match="write one of v5e, v5p, v6e and a shape, as in v5p:4x4x4"):
    chips.topology(name)


def test_without_libtpu_the_line_says_how_to_install_it(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match=r"needs libtpu to compile, which is not installed: pip install 'rl-jax\[tpu\]'"):
    chips.topology("v5p:4x4x4")


def test_devices_of_this_process():
  chip, devices = chips.topology("cpu:1")
  assert len(devices) == 1 and chip.name == "v5e"
  with pytest.raises(UserError, match="set XLA_FLAGS=--xla_force_host_platform_device_count=4096"):
    chips.topology("cpu:4096")


def test_a_chip_sends_half_of_what_both_directions_carry():
  """The ratios of the published tables: FLOP per byte of HBM, and of HBM per byte sent."""
  intensity = {name: round(chip.flops / chip.hbm_rate) for name, chip in chips.CHIPS.items()}
  assert intensity == {"v5e": 241, "v5p": 166, "v6e": 560}
  assert [chip.link_rate for chip in chips.CHIPS.values()] == [200e9, 600e9, 400e9]
