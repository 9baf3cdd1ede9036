"""Elementwise non-linearities by name."""

from __future__ import annotations

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from rl_jax.kernels._checks import known_option

ACTIVATIONS: dict[str, Callable[[Float[Array, "*N"]], Float[Array, "*N"]]] = {
  "identity": lambda x: x,
  "relu": jax.nn.relu,
  "sigmoid": jax.nn.sigmoid,
  "tanh": jax.numpy.tanh,
  "gelu": lambda x: jax.nn.gelu(x, approximate=False),
  "silu": jax.nn.silu,
}
"""GELU is the exact one, by erf."""


def activation_of(function: str, name: str) -> Callable[[Float[Array, "*N"]], Float[Array, "*N"]]:
  """The non-linearity of this name; `function` is the one whose option it is."""
  known_option(function, "activation", name, ACTIVATIONS)
  return ACTIVATIONS[name]
