"""Similarity of two environments: the spectra of their state graphs' Laplacians.

arXiv 2512.04302 plans to pass value estimates between similar environments of a continual run and leaves the measure
open; everything here is our reading of that plan.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels.reductions import zero_masked

BEYOND = 3.0
"""Number above every eigenvalue of a normalised Laplacian, which are at most 2."""


def laplacian_spectrum(
  adjacency: Num[Array, "*G N N"], mask: Num[Array, "*G N"], *, isolated: float = 0.0
) -> Float[Array, "*G N"]:
  """Eigenvalues of I - D^-1/2 A D^-1/2 in ascending order, of the nodes that exist; 0 in the slots after them.

  `adjacency` is symmetric. A node without edges has a row of zeros and so an eigenvalue 0, one per connected component;
  `isolated` 1 keeps the identity's entry instead. No gradient.

  >>> print(laplacian_spectrum(jnp.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]), jnp.ones(3)).round(3) + 0.0)
  [0. 1. 2.]
  """
  if adjacency.shape != (*mask.shape, mask.shape[-1]):
    raise ValueError(f"laplacian_spectrum: expected [.. N N] and [.. N], got {adjacency.shape} and {mask.shape}")
  exists = mask != 0
  edges = zero_masked(adjacency, exists[..., :, None] & exists[..., None, :])
  degrees = edges.sum(axis=-1)
  scale = jnp.where(degrees > 0, jax.lax.rsqrt(jnp.where(degrees > 0, degrees, 1)), 0)
  diagonal = jnp.where(degrees > 0, 1, jnp.where(exists, isolated, BEYOND)).astype(edges.dtype)
  laplacian = diagonal[..., None] * jnp.eye(mask.shape[-1], dtype=edges.dtype)
  laplacian -= scale[..., :, None] * edges * scale[..., None, :]
  spectrum = jnp.linalg.eigvalsh(jax.lax.stop_gradient(laplacian))
  return zero_masked(spectrum, jnp.arange(mask.shape[-1]) < exists.sum(axis=-1, keepdims=True))


def laplacian_distance(
  adjacency: Num[Array, "*G N N"],
  other_adjacency: Num[Array, "*G M M"],
  mask: Num[Array, "*G N"],
  other_mask: Num[Array, "*G M"],
  *,
  k: int,
  isolated: float = 0.0,
) -> Float[Array, "*G"]:
  """L2 distance of the k smallest eigenvalues of the two normalised Laplacians; 0 for graphs of one shape.

  Of as many as both graphs have, if one has fewer than k nodes; 0 if one has none. `isolated` as in
  `laplacian_spectrum`.

  >>> path, cycle = jnp.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]), 1 - jnp.eye(3)
  >>> print(laplacian_distance(path, cycle, jnp.ones(3), jnp.ones(3), k=3).round(4))
  0.7071
  """
  k = min(k, mask.shape[-1], other_mask.shape[-1])
  count = jnp.minimum((mask != 0).sum(axis=-1), (other_mask != 0).sum(axis=-1))
  spectrum = laplacian_spectrum(adjacency, mask, isolated=isolated)[..., :k]
  other_spectrum = laplacian_spectrum(other_adjacency, other_mask, isolated=isolated)[..., :k]
  return jnp.linalg.norm(zero_masked(spectrum - other_spectrum, jnp.arange(k) < count[..., None]), axis=-1)
