"""The tree of prototype paths: the expected cost over all paths, without sampling.

CAMS, arXiv 2502.00560. A path is a sequence of prototypes j_1 .. j_K; a node is a public prefix of paths. Signals come
as one array per step, [J^k, I, J] for step k from 0; the number of a node has its prototypes as digits in base J, first
prototype first. Gradients flow through the signals, as probabilities are explicit: player 1's parameters descend on
`path_cost`, player 2's ascend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rl_jax.kernels._checks import matching_axes, same_shape
from rl_jax.kernels.reductions import widen


class Paths(NamedTuple):
  """All J^K paths, in order of their numbers in base J."""

  probabilities: Float[Array, "I P"]
  """P(path | type)."""
  weights: Float[Array, " P"]
  """P(path), types mixed by the prior."""
  beliefs: Float[Array, "P I"]
  """The public belief at the end of the path; 0 on a path of probability 0."""


def public_paths(prior: Float[Array, " I"], signals: Sequence[Float[Array, "N I J"]]) -> Paths:
  """P(path | i) = prod_k A^{node}_{i j_k}, and the belief at the end of the path, after the splits at all its nodes.

  CAMS, arXiv 2502.00560.

  >>> step = jnp.array([[[1.0, 0.0], [0.5, 0.5]]])
  >>> paths = public_paths(jnp.array([0.5, 0.5]), [step, jnp.concatenate([step, step])])
  >>> print(paths.weights, paths.beliefs[0])
  [0.625 0.125 0.125 0.125] [0.8 0.2]
  """
  prior = widen(prior)
  probabilities = jnp.ones((prior.shape[0], 1), prior.dtype)
  for step, nodes in enumerate(signals):
    if nodes.ndim != 3 or nodes.shape[:2] != probabilities.shape[::-1]:
      raise ValueError(
        f"public_paths: expected signals {(*probabilities.shape[::-1], 'J')} at step {step}, got {nodes.shape}"
      )
    probabilities = (probabilities[..., None] * jnp.swapaxes(widen(nodes), 0, 1)).reshape(prior.shape[0], -1)
  joint = prior[:, None] * probabilities
  weights = joint.sum(axis=0)
  return Paths(probabilities, weights, (joint / jnp.where(weights > 0, weights, 1)).T)


def path_cost(
  probabilities: Float[Array, "I P"],
  prior: Float[Array, " I"],
  running: Float[Array, " P"],
  terminal: Float[Array, "P I"],
) -> Float[Array, ""]:
  """sum_i p_i sum_path P(path | i) (running(path) + g_i(end of the path)).

  CAMS, arXiv 2502.00560.

  >>> one = jnp.ones((2, 1))
  >>> print(path_cost(one, jnp.array([0.25, 0.75]), jnp.array([1.0]), jnp.array([[4.0, 0.0]])))
  2.0
  """
  arrays = dict(probabilities=(probabilities, "I P"), prior=(prior, "I"))
  matching_axes("path_cost", **arrays, running=(running, "P"), terminal=(terminal, "P I"))
  costs = widen(running)[:, None] + widen(terminal)
  return (widen(prior) * (widen(probabilities).T * costs).sum(axis=0)).sum()


def kept_paths(
  weights: Float[Array, " P"], kept: Bool[Array, " P"], *, threshold: float = 1e-4, shrink: float = 0.8
) -> Bool[Array, " P"]:
  """Paths with P(path) > threshold / J^K, if at most a share `shrink` of the kept ones; otherwise the kept ones.

  CAMS, arXiv 2502.00560, code, every 100 iterations from the thousandth on. Mixing types by the prior is inferred. Only
  `moved_nodes` brings dropped paths back.

  >>> print(kept_paths(jnp.array([0.5, 0.5, 0.0, 0.0]), jnp.ones(4, bool)))
  [ True  True False False]
  """
  same_shape("kept_paths", "P", weights=weights, kept=kept)
  fewer = (kept != 0) & (widen(weights) > threshold / weights.shape[0])
  return jnp.where(fewer.sum() <= shrink * (kept != 0).sum(), fewer, kept != 0)


def moved_nodes(
  mixtures: Float[Array, "N J"], before: Float[Array, "N J"], *, paths: int, threshold: float = 1e-2
) -> Bool[Array, " N"]:
  """Nodes whose mixture q = p^T A moved by more than threshold / J^K: their paths are restored.

  CAMS, arXiv 2502.00560, code; the distance is the sum of absolute differences. `paths` is J^K; a mixture is
  `split_belief(...).weights`.

  >>> print(moved_nodes(jnp.array([[0.5, 0.5], [0.6, 0.4]]), jnp.full((2, 2), 0.5), paths=4))
  [False  True]
  """
  same_shape("moved_nodes", "N J", mixtures=mixtures, before=before)
  return jnp.abs(widen(mixtures) - widen(before)).sum(axis=1) > threshold / paths
