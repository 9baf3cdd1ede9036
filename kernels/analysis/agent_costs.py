"""Costs of agents beside their scores: per run, per correct answer, per call; and how far a plan is from the best.

"Toward Efficient Agents", arXiv 2601.14192, a survey: compare scores at one budget or costs at one score, that is the
frontier (`pareto.pareto_front` of [-cost, score]), and say which stages a cost covers. Two of its metrics are plain
means, `reductions.masked_mean`: steps of successful runs, and the share of invalid calls. The cost gap of a plan is its
cost less the best one's. Nothing carries a gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import known_option, matching_axes, same_shape
from rl_jax.kernels.reductions import widen, zero_masked


class AgentCost(NamedTuple):
  """Costs of each run."""

  language_model: Float[Array, " B"]
  """Tokens alone."""
  total: Float[Array, " B"]


class BestSystem(NamedTuple):
  """The best value within the constraint, and whether any system meets it; 0 if none does."""

  value: Float[Array, ""]
  exists: Bool[Array, ""]


def agent_cost(
  tokens: Num[Array, " B"],
  uses: Num[Array, "B K"],
  prices: Float[Array, " K"],
  mask: Num[Array, " B"],
  *,
  token_price: float,
  charge: str = "once",
) -> AgentCost:
  """token_price tokens + sum_k u_k price_k, of K kinds of use: tools, memory, retries.

  "Toward Efficient Agents", arXiv 2601.14192. As printed u is 1 for a kind that was used at all ("once"), however
  often; "per_use" counts, which is not printed and mostly what is meant. Masked runs give 0.

  >>> args = jnp.array([1000.0]), jnp.array([[4, 0]]), jnp.array([0.5, 9.0]), jnp.ones(1)
  >>> print(*(agent_cost(*args, token_price=0.001, charge=charge).total for charge in ("once", "per_use")))
  [1.5] [3.]
  """
  known_option("agent_cost", "charge", charge, ("once", "per_use"))
  matching_axes("agent_cost", tokens=(tokens, "B"), uses=(uses, "B K"), prices=(prices, "K"), mask=(mask, "B"))
  uses = zero_masked(uses, mask[:, None])
  language_model = token_price * zero_masked(tokens, mask)
  total = language_model + (widen(uses > 0) if charge == "once" else uses) @ widen(prices)
  return jax.lax.stop_gradient(AgentCost(language_model, total))


def score_at_budget(
  costs: Float[Array, " N"], scores: Float[Array, " N"], mask: Num[Array, " N"], *, budget: float
) -> BestSystem:
  """Largest score of systems that cost at most the budget.

  "Toward Efficient Agents", arXiv 2601.14192.

  >>> print(score_at_budget(jnp.array([1.0, 2.0, 4.0]), jnp.array([0.3, 0.5, 0.9]), jnp.ones(3), budget=2.0).value)
  0.5
  """
  same_shape("score_at_budget", "N", costs=costs, scores=scores, mask=mask)
  met = (mask != 0) & (costs <= budget)
  best = jnp.where(met, widen(scores), -jnp.inf).max(initial=-jnp.inf)
  return jax.lax.stop_gradient(BestSystem(zero_masked(best, met.any()), met.any()))


def cost_at_score(
  costs: Float[Array, " N"], scores: Float[Array, " N"], mask: Num[Array, " N"], *, score: float
) -> BestSystem:
  """Least cost of systems with at least the score.

  "Toward Efficient Agents", arXiv 2601.14192.

  >>> print(cost_at_score(jnp.array([1.0, 2.0, 4.0]), jnp.array([0.3, 0.5, 0.9]), jnp.ones(3), score=0.4).value)
  2.0
  """
  least, exists = score_at_budget(-widen(scores), -widen(costs), mask, budget=-score)
  return BestSystem(zero_masked(-least, exists), exists)


def cost_of_pass(costs: Float[Array, " B"], correct: Num[Array, " B"], mask: Num[Array, " B"]) -> Float[Array, ""]:
  """sum of costs / number of correct runs, failed runs paid for too; inf if none is correct.

  arXiv 2504.13359, in "Toward Efficient Agents", arXiv 2601.14192. The frontier's is the least over systems.

  >>> print(cost_of_pass(jnp.array([1.0, 2.0, 3.0]), jnp.array([1, 0, 1]), jnp.ones(3)))
  3.0
  """
  same_shape("cost_of_pass", "B", costs=costs, correct=correct, mask=mask)
  passes = zero_masked(correct, mask).sum()
  total = zero_masked(costs, mask).sum()
  return jax.lax.stop_gradient(jnp.where(passes > 0, total / jnp.where(passes > 0, passes, 1), jnp.inf))


def tool_productivity(correct: Num[Array, " B"], calls: Num[Array, " B"], mask: Num[Array, " B"]) -> Float[Array, ""]:
  """Number of correct runs / number of tool calls of all runs.

  "Toward Efficient Agents", arXiv 2601.14192. Without a call inf if any run is correct, and else 0 (not in the paper).

  >>> print(tool_productivity(jnp.array([1, 0, 1]), jnp.array([3, 5, 0]), jnp.ones(3)))
  0.25
  """
  same_shape("tool_productivity", "B", correct=correct, calls=calls, mask=mask)
  right, total = zero_masked(correct, mask).sum(), zero_masked(calls, mask).sum()
  without = jnp.where(right > 0, jnp.inf, 0)
  return jax.lax.stop_gradient(jnp.where(total > 0, right / jnp.where(total > 0, total, 1), without))


def edit_distance(
  path: Int[Array, "B S"], reference: Int[Array, "B R"], mask: Num[Array, "B S"], reference_mask: Num[Array, "B R"]
) -> Int[Array, " B"]:
  """Least number of insertions, deletions and substitutions that turn a sequence of calls into the reference's.

  Path deviation in "Toward Efficient Agents", arXiv 2601.14192; that it is Levenshtein's distance is our reading.

  >>> path, reference = jnp.array([[1, 2, 5, 3, 4]]), jnp.array([[1, 2, 3, 4]])
  >>> print(edit_distance(path, reference, jnp.ones((1, 5)), jnp.ones((1, 4))))
  [1]
  """
  arrays = dict(path=(path, "B S"), reference=(reference, "B R"))
  matching_axes("edit_distance", **arrays, mask=(mask, "B S"), reference_mask=(reference_mask, "B R"))
  return jax.vmap(_edit_distance)(path, reference, mask != 0, reference_mask != 0)


def _edit_distance(path, reference, path_mask, reference_mask):
  reference = reference[jnp.argsort(~reference_mask, stable=True)]
  places = jnp.arange(reference.size + 1, dtype=jnp.int32)

  def step(row, inputs):
    """Distances of the path so far to each beginning of the reference, one call later."""
    call, exists = inputs
    kept = jnp.minimum(row[1:] + 1, row[:-1] + (reference != call))
    following = jnp.concatenate([row[:1] + 1, kept])
    # An insertion costs 1 per place, so it is a running minimum of what is left without them.
    following = jax.lax.cummin(following - places) + places
    return jnp.where(exists, following, row), None

  row, _ = jax.lax.scan(step, places, (path, path_mask))
  return row[reference_mask.sum()]
