"""VeRPO: one prompt a case, all of its tests exist."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp

from rl_jax.kernels.advantages.outcome import degenerate_groups, verpo
from rl_jax.kernels.rewards.unit_tests import full_pass_outcome, unit_test_weights, weighted_passes
from rl_jax.kernels.segments import on_tokens
from tests.kernels.kernel import quick_jit

KINDS = {"diff": "difficulty"}
SCALES = {"std": "group"}


def compute(case, inputs):
  if "turn_ids" in inputs:
    return {"token_adv": quick_jit(on_tokens)(inputs["advantages"], inputs["turn_ids"], inputs["mask"])}
  options = {name: value for name, value in inputs.items() if name not in ("passes", "turn_mask")}
  return quick_jit(partial(group, **options))(inputs["passes"], inputs["turn_mask"])


def group(passes, turn_mask, beta=1.0, gamma=0.95, kind="verpo", fnorm="none", **options):
  ids = jnp.full(passes.shape[0], 7)
  exists = jnp.ones((passes.shape[0], passes.shape[2]), bool)
  tests = unit_test_weights(passes, ids, turn_mask, exists, kind=KINDS.get(kind, kind), **options)
  turns = weighted_passes(passes, tests.weights, turn_mask)
  outcome = full_pass_outcome(passes, turn_mask, exists, discount=gamma)
  result = verpo(turns, outcome.discounted, ids, turn_mask, beta=beta, scale=SCALES.get(fnorm, fnorm))
  return {
    "rho": tests.pass_rates[0],
    "density": tests.densities[0],
    "weights": tests.weights[0],
    "turn_rewards": turns,
    "outcome": outcome.rewards,
    "global_rewards": outcome.discounted,
    "adv_turn": result.turn,
    "adv_traj": result.outcome,
    "advantages": result.advantages,
    "degenerate": degenerate_groups(result.advantages, ids, turn_mask)[0],
  }
