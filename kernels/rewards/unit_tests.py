"""Dense rewards from unit tests: rare tests of a group weigh more, and many tests of one difficulty share their weight.

Arrays: `passes` [B, S, U], 1 where turn (attempt) s of row b passes test u; `turn_mask` [B, S], the executed turns;
`test_mask` [B, U], the tests that exist, the same for all rows of a group (one prompt). No gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import known_option
from rl_jax.kernels.reductions import group_mean, masked_mean, widen, zero_masked
from rl_jax.kernels.segments import last_token

KINDS = {
  "verpo": lambda difficulty, density, count: difficulty / density,
  "difficulty": lambda difficulty, density, count: difficulty,
  "density": lambda difficulty, density, count: 1 / density,
  "pass_rate": lambda difficulty, density, count: 1 / count,
}


class UnitTestWeights(NamedTuple):
  """Statistics of each test in its row's group; 0 for masked tests."""

  pass_rates: Float[Array, "B U"]
  """rho: share of the group's executed turns that pass the test."""
  densities: Float[Array, "B U"]
  """N: number of tests with about this pass rate, itself included."""
  weights: Float[Array, "B U"]


def unit_test_weights(
  passes: Num[Array, "B S U"],
  group_ids: Int[Array, " B"],
  turn_mask: Num[Array, "B S"],
  test_mask: Num[Array, "B U"],
  *,
  kind: str = "verpo",
  alpha: float = 2.0,
  sigma: float = 0.1,
  delta: float = 1e-6,
) -> UnitTestWeights:
  """w_j = exp(-alpha rho_j) / (N_j + delta), N_j = sum_j' exp(-(rho_j - rho_j')^2 / (2 sigma^2)).

  VeRPO, arXiv 2601.03525, equations 3 and 7 to 9; rho_j pools all executed turns of the group. The weights are not
  normalised. sigma and delta are not in the paper as available. `kind` names the ablations: "difficulty",
  exp(-alpha rho); "density", 1 / (N + delta); "pass_rate", 1 / U. A group without executed turns has rho 0.

  >>> passes = jnp.array([[[1, 1, 0]], [[1, 0, 0]]])
  >>> tests = unit_test_weights(passes, jnp.array([7, 7]), jnp.ones((2, 1)), jnp.ones((2, 3)))
  >>> print(tests.pass_rates[0], tests.weights[0].round(2))
  [1.  0.5 0. ] [0.14 0.37 1.  ]
  """
  known_option("unit_test_weights", "kind", kind, KINDS)
  rate = lambda passed, exists: group_mean(passed, group_ids, (turn_mask != 0) & (exists != 0)[:, None])
  rates = jax.vmap(rate, in_axes=(2, 1), out_axes=1)(passes, test_mask)
  kernel = jnp.exp(-jnp.square(rates[:, :, None] - rates[:, None, :]) / (2 * sigma**2))
  densities = zero_masked(kernel, test_mask[:, None, :]).sum(axis=2)
  count = jnp.maximum((test_mask != 0).sum(axis=1, keepdims=True), 1).astype(rates.dtype)
  weights = jnp.broadcast_to(KINDS[kind](jnp.exp(-alpha * rates), densities + delta, count), rates.shape)
  return jax.lax.stop_gradient(UnitTestWeights(*(zero_masked(x, test_mask) for x in (rates, densities, weights))))


def weighted_passes(
  passes: Num[Array, "B S U"], weights: Float[Array, "B U"], turn_mask: Num[Array, "B S"]
) -> Float[Array, "B S"]:
  """R_turn = sum_j w_j passes_j of each executed turn, 0 elsewhere. VeRPO, arXiv 2601.03525, equation 10.

  >>> print(weighted_passes(jnp.array([[[1, 1], [0, 1]]]), jnp.array([[0.25, 1.0]]), jnp.ones((1, 2))))
  [[1.25 1.  ]]
  """
  total = masked_mean(passes, jnp.broadcast_to(weights[:, None, :], passes.shape), axis=2).sum
  return jax.lax.stop_gradient(zero_masked(total, turn_mask))


class Outcome(NamedTuple):
  """Outcome of the final attempt, whether it passes every test: plain, and decayed by the number of turns it took."""

  rewards: Float[Array, " B"]
  discounted: Float[Array, " B"]


def full_pass_outcome(
  passes: Num[Array, "B S U"],
  turn_mask: Num[Array, "B S"],
  test_mask: Num[Array, "B U"],
  *,
  discount: float = 0.95,
) -> Outcome:
  """R = 1 if the last executed turn passes every test, else 0; and R discount^n, n the number of executed turns.

  VeRPO, arXiv 2601.03525, equation 11. The exponent is n, not n - 1. The value of `discount` is not in the paper as
  available. Rows without turns or without tests give 0.

  >>> outcome = full_pass_outcome(jnp.array([[[1, 0], [1, 1]]]), jnp.ones((1, 2)), jnp.ones((1, 2)), discount=0.5)
  >>> print(outcome.rewards, outcome.discounted)
  [1.] [0.25]
  """
  executed, exists = turn_mask != 0, test_mask != 0
  every = ((passes != 0) | ~exists[:, None, :]).all(axis=2) & exists.any(axis=1, keepdims=True)
  rewards = widen((every & last_token(turn_mask)).any(axis=1))
  return Outcome(rewards, rewards * discount ** executed.sum(axis=1).astype(rewards.dtype))
