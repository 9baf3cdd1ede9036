"""Latents that tell sets of documents apart: how often each is present, and in which set more often.

SAE embeddings, arXiv 2512.10092. `present` [B F] is True where latent f occurs in document b. Nothing carries a
gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import known_option, matching_axes, same_shape
from rl_jax.kernels._order import largest
from rl_jax.kernels.reductions import masked_mean, widen


class ModelDifferences(NamedTuple):
  """Differences of a model's responses from those of all other models to the same prompts."""

  above_any: Float[Array, " F"]
  """Frequency in the model's responses, less that of prompts where the response of any other model has the latent."""
  below_all: Float[Array, " F"]
  """Frequency of prompts where the responses of all other models have the latent, less that in the model's."""


class TopLatents(NamedTuple):
  """Latents of largest difference, largest first; 0 and False where fewer are above the threshold."""

  indices: Int[Array, " k"]
  mask: Bool[Array, " k"]


def frequencies(present: Num[Array, "B F"], mask: Num[Array, " B"]) -> Float[Array, " F"]:
  """Share of the unmasked documents in which each latent is present; 0 without documents.

  >>> print(frequencies(jnp.array([[1, 0], [1, 1], [0, 1]]), jnp.array([1, 1, 0])))
  [1.  0.5]
  """
  matching_axes("frequencies", present=(present, "B F"), mask=(mask, "B"))
  exists = jnp.broadcast_to((mask != 0)[:, None], present.shape)
  return jax.lax.stop_gradient(masked_mean(present != 0, exists, axis=0).value)


def frequency_differences(
  first: Float[Array, " F"],
  second: Float[Array, " F"],
  *,
  form: str = "absolute",
  min_coverage: float = 0.0,
  max_coverage: float = 1.0,
) -> Float[Array, " F"]:
  """f_1 - f_2 ("absolute"), or (f_1 - f_2) / max(f_1, f_2) ("relative"), of frequencies in two sets of documents.

  0 for latents with min(f_1, f_2) < min_coverage or max(f_1, f_2) > max_coverage, and for those that are in neither
  set: a filtered latent is not removed, only neutral.

  >>> print(frequency_differences(jnp.array([0.5, 0.0]), jnp.array([0.25, 0.0]), form="relative"))
  [0.5 0. ]
  """
  known_option("frequency_differences", "form", form, ("absolute", "relative"))
  same_shape("frequency_differences", "F", first=first, second=second)
  first, second = widen(first), widen(second)
  higher, lower = jnp.maximum(first, second), jnp.minimum(first, second)
  scale = jnp.where(higher > 0, higher, 1) if form == "relative" else 1
  counted = (lower >= min_coverage) & (higher <= max_coverage)
  return jax.lax.stop_gradient(jnp.where(counted, first / scale - second / scale, 0))


def model_differences(
  present: Num[Array, "B F"], others_present: Num[Array, "M B F"], mask: Num[Array, " B"]
) -> ModelDifferences:
  """f_model - f_any and f_all - f_model, any and all taken prompt by prompt over the M other models.

  Row b of every array is a response to prompt b. There is no filter by coverage: in the code it moves filtered latents
  to the top of the second list.

  >>> mine, others = jnp.array([[1, 0], [0, 0]]), jnp.array([[[0, 1], [0, 1]], [[0, 1], [0, 0]]])
  >>> print(*model_differences(mine, others, jnp.ones(2)))
  [ 0.5 -1. ] [-0.5  0.5]
  """
  matching_axes(
    "model_differences", present=(present, "B F"), others_present=(others_present, "M B F"), mask=(mask, "B")
  )
  others, own = others_present != 0, frequencies(present, mask)
  return ModelDifferences(own - frequencies(others.any(axis=0), mask), frequencies(others.all(axis=0), mask) - own)


def top_latents(differences: Float[Array, " F"], *, k: int = 200, threshold: float = 0.03) -> TopLatents:
  """The k latents of largest difference among those above the threshold, of equal ones the first.

  >>> print(top_latents(jnp.array([0.1, 0.3, 0.02, 0.3]), k=4).indices)
  [1 3 0 0]
  """
  same_shape("top_latents", "F", differences=differences)
  return TopLatents(*largest(differences, differences > threshold, k))
