"""C-MORL (arXiv 2410.02236): fronts and their quality, and constrained updates, also as released."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.advantages.multi_reward import scalarized_advantages
from rl_jax.kernels.losses.policy import policy_gradient
from rl_jax.kernels.pareto import constrained, front, quality
from rl_jax.kernels.reductions import masked_mean
from tests.kernels.kernel import compiled, quick_jit
from tests.kernels.papers.as_released import whole_ratio_barrier


def compute(case, inputs):
  if "points" in inputs:
    return archive(**inputs)
  if "G" in inputs:
    return barrier(**inputs)
  return update(**inputs)


def archive(points, ref, weight_parts, num_select, history):
  """The front is a mask, so all cases of one number of objectives are padded to one shape."""
  size, objectives = 12, points.shape[1]
  grid = quality.simplex_grid(objectives, weight_parts)
  padded = jnp.full((size, objectives), jnp.nan, points.dtype).at[: points.shape[0]].set(points)
  seen = jnp.full((2, objectives), jnp.nan, points.dtype)
  seen = seen.at[: len(history)].set(jnp.asarray(history, points.dtype).reshape(-1, objectives))
  exists = np.arange(size) < points.shape[0]
  kept, distances, selected, volume, spread = _archive(padded, exists, ref, seen, len(history))
  members = np.flatnonzero(kept)
  indices = np.asarray(selected.indices)[np.asarray(selected.mask)][:num_select]
  utility = compiled(quality.expected_utility)(padded, kept, grid)
  return {
    "pareto_mask": kept[: points.shape[0]],
    "crowd_distance": [as_json(x) for x in np.asarray(distances)[members].tolist()],
    "selected_in_front": np.searchsorted(members, indices).tolist(),
    "hypervolume": volume,
    "expected_utility": utility.sum / utility.weight if utility.weight else None,
    "sparsity": spread,
    "num_weights": grid.shape[0],
  }


def as_json(x):
  return "inf" if np.isinf(x) else x


@quick_jit
def _archive(points, exists, reference, seen, num_seen):
  kept = front.pareto_front(points, exists, reference=reference)
  return (
    kept,
    front.crowding_distances(points, kept),
    front.select_isolated(points, kept, seen, jnp.arange(2) < num_seen, count=3),
    quality.hypervolume(points, kept, reference),
    quality.sparsity(points, kept),
  )


def update(returns, values, ratio, obj, obj_var, beta, t, clip):
  variances = None if obj_var is None else jnp.asarray(obj_var, returns.dtype)
  return quick_jit(partial(_update, objective=obj, beta=beta, t=t, clip=clip))(returns, values, ratio, variances)


def _update(returns, values, ratio, variances, *, objective, beta, t, clip):
  mask, weights = jnp.ones(ratio.shape), jax.nn.one_hot(objective, returns.shape[1])
  advantages = scalarized_advantages(returns, values, mask, weights=weights, variances=variances)
  token = lambda x: x[:, None]
  loss = policy_gradient(
    token(jnp.log(ratio)), token(jnp.zeros_like(ratio)), token(advantages), token(mask), clip_low=clip, clip_high=clip
  ).losses.mean()
  options = dict(objective=objective, beta=beta, t=t, clip=clip)
  barrier_loss = masked_mean(constrained.ratio_barrier(ratio, returns, mask, **options), mask).value
  return {
    "advantages": advantages,
    "ppo_loss": loss,
    "barrier_code": whole_ratio_barrier(ratio, returns, mask, **options),
    "barrier_fixed": barrier_loss,
    "loss_fixed": loss + barrier_loss,
  }


def barrier(G, G_anchor, obj, beta, t, G_infeasible):
  options = dict(objective=obj, beta=beta, t=t)
  met, violated = (constrained.log_barrier(returns, G_anchor, **options) for returns in (G, G_infeasible))
  return {
    "value": G[obj] + met.value,
    "value_infeasible": G_infeasible[obj] + violated.value if violated.feasible else None,
  }
