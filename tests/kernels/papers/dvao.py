"""DVAO (arXiv 2605.25604): several rewards, weighted by their spread in the group, and what it is compared with."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.advantages import multi_reward
from rl_jax.kernels.advantages.group import gdpo
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  options = {name: inputs.pop(name) for name in ("eps", "ddof")}
  outputs = quick_jit(lambda arrays: computed(**arrays, **options))(inputs)
  # One line for each group: its id, then a number for each objective.
  groups, rows = np.unique(inputs["group_ids"], return_index=True)
  for name in ("dvao_weights", "sigma"):
    outputs[name] = np.concatenate([groups[:, None], np.asarray(outputs[name])[rows]], axis=1)
  return outputs


def computed(rewards_k, weights, group_ids, eps, ddof):
  args, options = (rewards_k, group_ids, jnp.ones(group_ids.shape, bool)), dict(weights=weights, eps=eps, ddof=ddof)
  result, closed = multi_reward.dvao(*args, **options), multi_reward.dvao(*args, form="closed", **options)
  combined = multi_reward.reward_combination(*args, **options)
  return {
    "dvao": result.advantages,
    "dvao_weights": result.weights,
    "sigma": result.std,
    "dvao_closed_form": closed.advantages,
    "reward_combination": combined,
    "advantage_combination": multi_reward.advantage_combination(*args, **options),
    "gdpo_eps1e-4": gdpo(*args, weights=weights),
    "bound_holds": (jnp.abs(closed.advantages) <= jnp.abs(combined) + 1e-5).all(),
  }
