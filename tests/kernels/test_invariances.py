"""Properties that hold for every kernel, over the registry of all of them."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kernels
from kernels import scans
from kernels.logprobs import reference
from tests.kernels.kernel import IDS, SIZES, is_mask
from tests.kernels.registry import KERNELS, Kernel

B, T, PADDED = SIZES["B"], SIZES["T"], 8


def over(select=lambda kernel: True):
  return pytest.mark.parametrize("kernel", [k for k in KERNELS if select(k)], ids=lambda k: k.name)


def has_tokens(kernel: Kernel) -> bool:
  return kernel.mask is not None and any("T" in axes for axes in kernel.axes.values())


def pad(kernel, arrays, letter, size, offset):
  """One axis grows to `size` slots around what was there: masks 0 in the new ones, anything in the rest."""
  padded = {}
  for name, array in arrays.items():
    axis = kernel.axes[name].find(letter)
    if axis < 0:
      padded[name] = array
      continue
    fill = 0 if is_mask(name) or array.dtype in (bool, np.int32) else 1e3
    shape = (*array.shape[:axis], size, *array.shape[axis + 1 :])
    padded[name] = np.full(shape, fill, array.dtype)
    padded[name][(slice(None),) * axis + (slice(offset, offset + array.shape[axis]),)] = array
  return padded


def garbage(kernel, arrays):
  """Copies with NaN, inf and large values wherever a mask covers them."""
  spoiled = {}
  for name, array in arrays.items():
    covered = kernel.covered(name, arrays)
    if covered is None or array.dtype == bool:
      spoiled[name] = array
    elif array.dtype == np.int32:
      spoiled[name] = np.where(covered, 987654, array) if name in ("tokens", *IDS) else array
    else:
      values = np.resize(np.array([np.nan, np.inf, -np.inf, 3e38], np.float32), array.shape)
      spoiled[name] = np.where(covered, values, array)
  return spoiled


def assert_close(actual, expected, tolerance=1e-6):
  for a, b in zip(actual, expected, strict=True):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def public_functions():
  for info in pkgutil.walk_packages(kernels.__path__, "kernels."):
    if info.name.startswith("kernels.benchmarks") or info.name.rsplit(".", 1)[1].startswith("_"):
      continue
    module = importlib.import_module(info.name)
    for name, function in inspect.getmembers(module, inspect.isfunction):
      if function.__module__ == info.name and not name.startswith("_"):
        yield function


def test_every_public_function_is_registered():
  registered = {k.public or k.function for k in KERNELS}
  missing = [f"{f.__module__}.{f.__name__}" for f in public_functions() if f not in registered]
  assert not missing, f"add to a module of tests/kernels/registered: {missing}"


def test_every_public_function_has_an_example_that_runs():
  assert not [f.__qualname__ for f in public_functions() if ">>>" not in (f.__doc__ or "")]
  for info in pkgutil.walk_packages(kernels.__path__, "kernels."):
    results = doctest.testmod(importlib.import_module(info.name), extraglobs={"jnp": jnp})
    assert results.failed == 0, info.name


@over(has_tokens)
def test_padding_amount_and_side(kernel, rng):
  arrays = kernel.make(rng)
  expected = kernel.eager(arrays)
  for offset in (0, 1, PADDED - T):
    padded = kernel.eager(pad(kernel, arrays, "T", PADDED, offset))
    actual = [x[:, offset : offset + T] if x.shape[:2] == (B, PADDED) else x for x in padded]
    assert_close(actual, expected)


@over(lambda k: any(is_mask(name) and "S" in axes for name, axes in k.axes.items()))
def test_segments_that_do_not_exist(kernel, rng):
  arrays = kernel.make(rng)
  segments, more = SIZES["S"], SIZES["S"] + 5
  grown = kernel.eager(pad(kernel, arrays, "S", more, 0))
  assert_close([x[:, :segments] if x.shape[:2] == (B, more) else x for x in grown], kernel.eager(arrays))


@over(lambda k: k.mask)
def test_garbage_in_masked_slots_changes_nothing(kernel, rng):
  arrays = kernel.make(rng)
  spoiled = garbage(kernel, arrays)
  for a, b in zip(kernel.eager(spoiled), kernel.eager(arrays), strict=True):
    np.testing.assert_array_equal(a, b)
    assert np.isfinite(np.asarray(a, np.float32)).all()
  if kernel.gradients:
    actual, expected = kernel.gradient(spoiled), kernel.gradient(arrays)
    for name in kernel.gradients:
      np.testing.assert_array_equal(actual[name], expected[name])
      assert np.isfinite(actual[name]).all()


@over(lambda k: k.mask and k.zero_masked)
def test_masked_slots_hold_zero(kernel, rng):
  arrays = kernel.make(rng)
  mask = arrays[kernel.mask] != 0
  if kernel.mask == "mask" and "token_mask" in arrays:
    mask = arrays["token_mask"] & mask.reshape(B, -1)
  for x in kernel.eager(arrays):
    if x.shape == mask.shape:
      assert not np.asarray(x)[~mask].any()


@over(lambda k: k.mask)
def test_all_masked_is_zero_and_finite(kernel, rng):
  arrays = kernel.make(rng)
  arrays[kernel.mask] = np.zeros_like(arrays[kernel.mask])
  for x in kernel.eager(arrays):
    assert np.isfinite(np.asarray(x, np.float32)).all()
    if kernel.zero_masked and x.ndim:
      assert not np.asarray(x).any()
  for gradient in kernel.gradient(arrays).values() if kernel.gradients else ():
    assert not np.asarray(gradient).any()


@over(lambda k: not k.ordered and any("B" in axes for axes in k.axes.values()))
def test_rows_in_any_order(kernel, rng):
  arrays, order = kernel.make(rng), rng.permutation(B)
  permuted = {name: x[order] if kernel.axes[name].startswith("B") else x for name, x in arrays.items()}
  expected = [np.asarray(x)[order] if x.shape[:1] == (B,) else x for x in kernel.eager(arrays)]
  assert_close(kernel.eager(permuted), expected)


@over(lambda k: k.scope != "batch" and any("B" in axes for axes in k.axes.values()))
def test_micro_batches(kernel, rng):
  """Halves of the batch, cut between groups: rows concatenate, sums and weights add."""
  arrays = kernel.make(rng)
  if kernel.scope == "group":
    arrays["group_ids"] = np.array([4, 9, 4, -1, -1, -1], np.int32)
  halves = [
    kernel.eager({name: x[rows] if kernel.axes[name].startswith("B") else x for name, x in arrays.items()})
    for rows in (slice(0, B // 2), slice(B // 2, B))
  ]
  for whole, a, b in zip(kernel.eager(arrays), *halves, strict=True):
    assert_close([jnp.concatenate([a, b]) if whole.ndim else a + b], [whole])


@over(lambda k: "group_ids" in k.axes and len(k.axes) > 1)
def test_group_ids_are_arbitrary(kernel, rng):
  arrays = kernel.make(rng)
  labels = {old: new for old, new in zip(np.unique(arrays["group_ids"]), (2**30, 7), strict=True)}
  relabelled = np.array([labels[i] for i in arrays["group_ids"]], np.int32)
  assert_close(kernel.eager({**arrays, "group_ids": relabelled}), kernel.eager(arrays))


KEEP_TYPE = (scans.reverse_scan, scans.values_after, reference.align)
"""These give what they are given, in its type."""


@over(lambda k: (k.public or k.function) not in KEEP_TYPE)
def test_half_precision_input_keeps_float32_statistics(kernel, rng):
  arrays = kernel.make(rng)
  floats = [n for n, x in arrays.items() if x.dtype == np.float32]
  half = {**arrays, **{n: jnp.asarray(arrays[n], jnp.bfloat16) for n in floats}}
  rounded = {**half, **{n: half[n].astype(jnp.float32) for n in floats}}
  actual = kernel.eager(half)
  assert all(x.dtype in (jnp.float32, bool, jnp.int32) for x in actual)
  assert_close(actual, kernel.eager(rounded))


@over()
def test_jit_equals_eager(kernel, rng):
  arrays = kernel.make(rng)
  assert_close(kernel.eager(arrays), kernel.jitted(arrays))


@over()
def test_vmap_equals_loop(kernel, rng):
  batches = [kernel.make(rng) for _ in range(2)]
  stacked = {name: np.stack([b[name] for b in batches]) for name in batches[0]}
  looped = [jnp.stack(leaves) for leaves in zip(*map(kernel.eager, batches), strict=True)]
  with jax.disable_jit():
    assert_close(jax.vmap(kernel.call)({name: jnp.asarray(x) for name, x in stacked.items()}), looped)
