"""Rows and vocabulary over 8 devices: same numbers, and forward only arrays of a few numbers per row between them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from rl_jax.kernels.logprobs import Placement, linear_logprobs
from tests.kernels.devices import run_on_eight_devices
from tests.kernels.logprobs import placed


def test_eight_devices_equal_one():
  run_on_eight_devices("tests.kernels.logprobs.placed")


def test_the_check_sees_what_moves():
  program = "%g = f32[32,76]{1,0} all-gather(f32[32,19]{1,0} %x), dimensions={1}\n%r = f32[32]{0} all-reduce(%y)"
  assert placed.largest(program) == (2, 32 * 76)


@pytest.mark.parametrize(("axes", "what"), [(("data", "tensor"), "3 rows"), (("tensor", "data"), "5 tokens")])
def test_what_does_not_divide_is_an_error(axes, what):
  mesh = jax.sharding.AbstractMesh((2, 1), axes)
  placement = Placement(mesh, ("data",), "tensor")
  with pytest.raises(ValueError, match=f"{what} do not divide over the 2 devices of mesh axes"):
    linear_logprobs(
      jnp.zeros((3, 2)), jnp.zeros((2, 5)), jnp.zeros(3, int), jnp.ones(3), layout="DV", placement=placement
    )


def test_one_device_is_a_mesh_too():
  mesh = Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("data", "tensor"))
  rng = np.random.default_rng(0)
  arrays = jnp.float32(rng.normal(size=(6, 3))), jnp.float32(rng.normal(size=(3, 7))), jnp.arange(6), jnp.ones(6)
  for placement in (Placement(mesh), Placement(mesh, vocabulary=None)):
    found = linear_logprobs(*arrays, layout="DV", placement=placement)
    np.testing.assert_allclose(found.logprobs, linear_logprobs(*arrays, layout="DV").logprobs, rtol=1e-6)
