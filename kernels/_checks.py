"""Errors at trace time, in one clear line, where a wrong call is likely."""

from __future__ import annotations

from collections.abc import Iterable

from jaxtyping import Array


def same_shape(function: str, axes: str, **arrays: Array) -> None:
  """Raises unless all arrays have one shape, with one axis for each name in `axes` (such as "B T")."""
  shapes = {name: array.shape for name, array in arrays.items()}
  if len(set(shapes.values())) > 1 or any(len(shape) != len(axes.split()) for shape in shapes.values()):
    described = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    raise ValueError(f"{function}: expected arrays of one shape [{axes}], got {described}")


def matching_axes(function: str, **arrays: tuple[Array, str]) -> None:
  """Raises unless every array has the axes named beside it (such as "B C"), and an axis one size in all of them."""
  sizes: dict[str, int] = {}
  for array, axes in arrays.values():
    names = axes.split()
    if array.ndim != len(names) or any(sizes.setdefault(n, k) != k for n, k in zip(names, array.shape, strict=True)):
      expected = ", ".join(f"{name} [{axes}]" for name, (_, axes) in arrays.items())
      shapes = ", ".join(str(array.shape) for array, _ in arrays.values())
      raise ValueError(f"{function}: expected {expected}, got {shapes}")


def known_option(function: str, option: str, value: str, known: Iterable[str]) -> None:
  """Raises unless `value` is one of the known names."""
  if value not in known:
    raise ValueError(f"{function}: unknown {option} {value!r}; known: {', '.join(known)}")
