"""Arrays of a state by name ("models/policy/params/embed"), and their comparison with a checkpoint."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.errors import UserError


def _leaf_name(path: tuple[Any, ...]) -> str:
  return jax.tree_util.keystr(path, simple=True, separator="/")


def named_leaves(tree: Any) -> dict[str, Any]:
  """Leaves by path, in the order of the tree; raises UserError if two have the same name."""
  leaves: dict[str, Any] = {}
  for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
    name = _leaf_name(path)
    if name in leaves:
      raise UserError(f"two leaves of the state are called {name!r}: rename one")
    leaves[name] = leaf
  return leaves


def checked_leaves(state: Any) -> dict[str, Any]:
  """Leaves by name, as `named_leaves`; raises UserError unless each is an array that can be stored."""
  leaves = named_leaves(state)
  for name, leaf in leaves.items():
    if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
      raise UserError(f"{name} is a {type(leaf).__name__}: the state may hold arrays only")
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      raise UserError(f"{name} is a typed PRNG key: store jax.random.key_data of it")
  return leaves


def describe(leaf: Any) -> list[Any]:
  """Shape and type as written in a manifest, such as [[2, 3], "float32"]."""
  return [list(leaf.shape), jnp.dtype(leaf.dtype).name]


def _written(shape_and_dtype: list[Any]) -> str:
  shape, dtype = shape_and_dtype
  return f"{dtype}[{','.join(map(str, shape))}]"


def check_structure(saved: dict[str, Any], expected: dict[str, Any], step: int, partial: bool) -> None:
  """Raises UserError for the first wanted leaf that is missing or differs; `partial` allows more to be saved."""
  advice = "restore with the configuration that it was saved with"
  for name, leaf in expected.items():
    if name not in saved:
      raise UserError(f"checkpoint {step} has no {name} (wanted {_written(describe(leaf))}): {advice}")
    if saved[name] != describe(leaf):
      raise UserError(
        f"checkpoint {step} does not fit: {name} is {_written(saved[name])} there, {_written(describe(leaf))} here: "
        f"{advice}"
      )
  for name in () if partial else saved:
    if name not in expected:
      raise UserError(f"checkpoint {step} also holds {name} {_written(saved[name])}, not wanted here: {advice}")
