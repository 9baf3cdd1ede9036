"""Kernels on NumPy arrays: for trainers that are not in JAX.

An argument is anything that NumPy reads: an array, a list, a tensor in CPU memory. A result is a writable NumPy array,
or the kernel's tuple of them. Programs are compiled once for each shape and run on the CPU, separately from the
trainer's device.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

IDS = "group_ids"
"""Name of the argument that may hold labels of any kind, such as texts or 64-bit hashes. Kernels get their ranks."""


def on_numpy(kernel: Callable[..., Any], *, device: str | None = "cpu", **options: Any) -> Callable[..., Any]:
  """A kernel as a function of NumPy arrays.

  >>> from rl_jax.kernels.advantages import maxrl
  >>> print(on_numpy(maxrl, eps=0.0)([1.0, 0.0, 0.0, 0.0], ["a"] * 4, [True] * 4))
  [ 3. -1. -1. -1.]

  Args:
    kernel: function of `rl_jax.kernels`.
    device: JAX platform to compute on; None: JAX's default.
    options: the kernel's options, fixed in the result.

  Returns: function of the kernel's arrays, by position or name. float64 becomes float32.

  Raises: ValueError, when called: an argument is not an array of numbers, or has numbers beyond 32 bits.
  """
  signature, name = inspect.signature(kernel), _name(kernel)
  compiled = jax.jit(functools.partial(kernel, **options))
  return functools.wraps(kernel)(lambda *args, **kwargs: _call(compiled, signature, name, device, args, kwargs))


def with_gradient(loss: Callable[..., Any], *, device: str | None = "cpu", **options: Any) -> Callable[..., Any]:
  """A loss as a function of NumPy arrays that returns its value and its gradient with respect to the first array.

  A torch trainer passes the gradient to autograd, `logprobs.backward(torch.from_numpy(gradient))`, which continues from
  there to the parameters.

  Args:
    loss: (logprobs [B, T], …) -> scalar, composed of kernels.
    device, options: see `on_numpy`.

  Returns: function of the loss's arrays -> (value, gradient [B, T]).
  """
  signature, name = inspect.signature(loss), _name(loss)
  first = next(iter(signature.parameters))
  compiled = jax.jit(jax.value_and_grad(functools.partial(loss, **options)))

  def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
    if not args and first in kwargs:  # JAX differentiates by position
      args = (kwargs.pop(first),)
    return _call(compiled, signature, name, device, args, kwargs)

  return functools.wraps(loss)(value_and_gradient)


def group_estimator(
  kernel: Callable[..., Any], *, device: str | None = "cpu", **options: Any
) -> Callable[..., np.ndarray]:
  """An estimator for rewards in the order of most trainers: the responses to a prompt are adjacent.

  >>> from rl_jax.kernels.advantages import rloo
  >>> print(group_estimator(rloo)(rewards=[1.0, 0.0, 1.0, 1.0], num_generations=2))
  [ 1. -1.  0.  0.]

  Args:
    kernel: (rewards [B], group_ids [B], mask [B]) -> advantages [B].
    device, options: see `on_numpy`.

  Returns: (rewards [B], num_generations, valid_mask [B] or None) -> advantages [B], float32. A row with a reward of
    NaN, or left out by the mask, has no verdict: it gets 0 and does not count in its group.

  Raises: ValueError, when called: rewards are not [B], a scored one is infinite, the mask is not [B] of bools or
    numbers, `num_generations` is not a whole number, or B is not a multiple of it.
  """
  name, estimate = _name(kernel), on_numpy(kernel, device=device, **options)

  def estimator(rewards: Any, num_generations: int, valid_mask: Any = None) -> np.ndarray:
    values = _numbers(name, "rewards", rewards)
    try:
      num_generations = operator.index(num_generations)
    except TypeError as error:
      raise ValueError(f"{name}: got num_generations={num_generations!r}, expected a whole number") from error
    if values.ndim != 1 or num_generations < 1 or len(values) % num_generations:
      raise ValueError(
        f"{name}: expected rewards [prompts * {num_generations}], the responses to a prompt side by side, got "
        f"{values.shape}"
      )
    scored = ~np.isnan(values)
    if valid_mask is not None:
      valid = _numbers(name, "valid_mask", valid_mask)
      if valid.shape != values.shape or np.isnan(valid).any():
        raise ValueError(f"{name}: expected valid_mask {values.shape} of bools, got {valid.shape}, or NaN")
      scored &= valid != 0
    if np.isinf(values[scored]).any():
      raise ValueError(f"{name}: a reward is infinite, and so would be every advantage of its group: use NaN for none")
    return estimate(values, np.arange(len(values)) // num_generations, scored)

  return estimator


def _name(function: Callable[..., Any]) -> str:
  """Name of a function in messages; functools.partial has none."""
  return getattr(function, "__name__", "the function")


def _call(compiled: Any, signature: inspect.Signature, name: str, device: str | None, args: Any, kwargs: Any) -> Any:
  bound = signature.bind_partial(*args, **kwargs)
  arrays = {argument: _read(name, argument, value) for argument, value in bound.arguments.items()}
  with jax.default_device(jax.devices(device)[0] if device else None):
    result = compiled(*[arrays.pop(argument) for argument in list(bound.arguments)[: len(args)]], **arrays)
  return jax.tree.map(np.array, result)


def _read(name: str, argument: str, value: Any) -> np.ndarray:
  if argument != IDS:
    return _numbers(name, argument, value)
  labels = _array(name, argument, value)
  if labels.dtype.kind not in "biufSU" or (labels.dtype.kind == "f" and np.isnan(labels).any()):
    raise ValueError(f"{name}: {argument} has type {labels.dtype} or NaN, expected one label a row, numbers or texts")
  return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)


def _numbers(name: str, argument: str, value: Any) -> np.ndarray:
  """A value as an array of a dtype that kernels compute in."""
  array = _array(name, argument, value)
  if array.dtype.kind not in "biuf":
    raise ValueError(f"{name}: {argument} has type {array.dtype}, expected numbers")
  if array.dtype.kind in "iu" and array.size and not (-(2**31) <= array.min() and array.max() < 2**31):
    raise ValueError(f"{name}: {argument} has integers beyond 32 bits, which kernels do not support")
  with np.errstate(over="ignore"):  # refused below
    narrow: np.ndarray = array.astype({"f": np.float32, "i": np.int32, "u": np.int32, "b": np.bool_}[array.dtype.kind])
  if array.dtype.kind == "f" and (np.isinf(narrow) & np.isfinite(array)).any():
    raise ValueError(f"{name}: {argument} has numbers beyond float32, in which kernels compute")
  return narrow


def _array(name: str, argument: str, value: Any) -> np.ndarray:
  try:
    return np.asarray(value)
  except Exception as error:  # each library has its own error for another device or a dtype that NumPy lacks
    ragged = "inhomogeneous" in str(error)
    advice = "pad its rows to one length, and mask the padding" if ragged else "move it to the CPU, as float32"
    raise ValueError(f"{name}: NumPy cannot read {argument} as an array ({error}): {advice}") from error
