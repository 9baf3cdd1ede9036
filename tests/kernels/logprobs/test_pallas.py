"""The kernels beyond interpret mode, in which `test_api` compares their numbers: they compile, and run if they can."""

from __future__ import annotations

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from rl_jax.kernels.logprobs import linear_logprobs
from rl_jax.kernels.logprobs.pallas_gpu import PallasGPU
from rl_jax.kernels.logprobs.pallas_tpu import PallasTPU
from rl_jax.kernels.logprobs.readout import Readout
from rl_jax.kernels.logprobs.recomputed import Recomputed

# Rows, width and vocabulary that divide nothing; those of Qwen3-8B.
RAGGED, LARGE = (1000, 576, 49153), (4096, 4096, 151936)
TOPOLOGIES = ("v5e:2x2", "v5p:2x2x1", "v6e:2x2")


def program(passes, layout="DV"):
  """Forward and backward with every option, jitted."""
  function = Recomputed(passes, Readout(layout, temperature=0.7, soft_cap=30.0))

  def total(hidden, matrix, targets):
    logprobs, entropies, *_ = function(hidden, matrix, targets)
    return (logprobs + entropies).sum()

  return jax.jit(jax.value_and_grad(total, argnums=(0, 1)))


def inputs(sizes, layout, dtype, sharding=None):
  rows, width, vocabulary = sizes
  shape = (width, vocabulary) if layout == "DV" else (vocabulary, width)
  described = ((rows, width), dtype), (shape, dtype), ((rows,), jnp.int32)
  return tuple(jax.ShapeDtypeStruct(*each, sharding=sharding) for each in described)


@pytest.mark.parametrize("layout", ["DV", "VD"])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_gpu_kernels_lower_to_triton(layout, dtype):
  """As far as a machine without a GPU gets: the compiler of the kernels takes them, and checks them."""
  device = jax.sharding.AbstractDevice("NVIDIA H100 80GB HBM3", 132, "gpu")
  with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=device)):
    traced = program(PallasGPU(), layout).trace(*inputs(RAGGED, layout, dtype))
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
  # Statistics, and one kernel for whole blocks of the vocabulary and for the last one.
  assert text.count("__gpu$xla.gpu.triton") == 3


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu, which compiles for TPUs, is not here")
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_tpu_kernels_compile_ahead_of_time(topology):
  device = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices[0]
  for layout in ("DV", "VD"):
    for sizes, dtype in ((RAGGED, jnp.bfloat16), ((300, 576, 5000), jnp.float32), (LARGE, jnp.bfloat16)):
      described = inputs(sizes, layout, dtype, SingleDeviceSharding(device))
      compiled = program(PallasTPU(), layout).lower(*described).compile()
      assert compiled.as_text().count("tpu_custom_call") == 3
      if sizes == LARGE:
        assert compiled.memory_analysis().temp_size_in_bytes < 0.05 * 4 * sizes[0] * sizes[2]


@pytest.mark.accelerator
@pytest.mark.skipif(jax.default_backend() not in ("gpu", "tpu"), reason="needs a GPU or a TPU")
@pytest.mark.parametrize("layout", ["DV", "VD"])
def test_the_kernels_of_this_accelerator_equal_the_reference(layout):
  rng = np.random.default_rng(0)
  hidden, matrix = rng.normal(size=(1000, 576)), rng.normal(size=(576, 5003)) / 24
  arrays = jnp.bfloat16(hidden), jnp.bfloat16(matrix if layout == "DV" else matrix.T)
  targets, mask = jnp.array(rng.integers(0, 5003, 1000)), jnp.ones(1000)

  def everything(implementation):
    def total(hidden, matrix):
      found = linear_logprobs(hidden, matrix, targets, mask, layout=layout, implementation=implementation)
      return (found.logprobs + found.entropies).sum(), found[:2]

    gradients, outputs = jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(*arrays)
    return (*outputs, *gradients)

  for a, b in zip(everything("pallas"), everything("reference"), strict=True):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert np.abs(a - b).max() <= 0.01 * np.abs(b).max()
