"""Efficient agents (arXiv 2601.14192): costs, frontiers, plans, and OTC's rewards (arXiv 2504.14870)."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.advantages.group import grpo
from rl_jax.kernels.analysis import agent_costs
from rl_jax.kernels.pareto.front import pareto_front
from rl_jax.kernels.reductions import masked_mean
from rl_jax.kernels.rewards.tool_calls import fewest_calls, otc_reward
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  kinds = {
    "cost_model": cost_model,
    "frontier": frontier,
    "otc_curves": lambda **inputs: _curves(**inputs),
    "planning": planning,
  }
  return kinds.get(case, group)(**inputs)


def cost_model(n_tok, alpha, used, costs, counts):
  return quick_jit(_cost_model)(n_tok, alpha, used, costs, counts)


def _cost_model(n_tok, alpha, used, costs, counts):
  run = lambda uses, charge: agent_costs.agent_cost(
    jnp.array([n_tok]), uses[None], costs, jnp.ones(1), token_price=alpha, charge=charge
  )
  once = run(used * counts, "once")  # however often it was used
  return {
    "cost_llm": once.language_model[0],
    "cost_agent": once.total[0],
    "cost_agent_counts": run(counts, "per_use").total[0],
  }


def frontier(costs, scores, budget, target, tiny_budget, huge_target):
  every = jnp.ones(costs.shape)
  kept = np.flatnonzero(quick_jit(pareto_front)(jnp.stack([-costs, scores], axis=1), every))
  value = lambda best: best.value if best.exists else None
  scored = quick_jit(lambda x: agent_costs.score_at_budget(costs, scores, every, budget=x))
  paid = quick_jit(lambda x: agent_costs.cost_at_score(costs, scores, every, score=x))
  at_budget, at_score = (lambda x: value(scored(x))), (lambda x: value(paid(x)))
  return {
    "frontier": kept[np.argsort(np.asarray(costs)[kept], kind="stable")],
    "score_at_budget": at_budget(budget),
    "cost_at_score": at_score(target),
    "none_budget": at_budget(tiny_budget),
    "none_target": at_score(huge_target),
  }


@quick_jit
def _group(costs, correct, calls, smoothing, alpha):
  ids, every = jnp.zeros(calls.shape, int), jnp.ones(calls.shape)
  fewest = fewest_calls(correct, calls, ids, every)
  rewards = otc_reward(correct, calls, every, smoothing=smoothing, fewest=fewest, alpha=alpha)
  return {
    "cost_of_pass": agent_costs.cost_of_pass(costs, correct, every),
    "tool_productivity": agent_costs.tool_productivity(correct, calls, every),
    "step_efficiency": masked_mean(calls, correct),
    "otc_rewards": rewards,
    "advantages": grpo(rewards, ids, every),
  }


def group(costs, correct, tool_calls, c, alpha):
  found = _group(costs, correct, tool_calls, c, alpha)
  steps = found["step_efficiency"]
  return found | {
    "step_efficiency": steps.value if steps.weight else None,
    "cost_of_pass": found["cost_of_pass"] if np.isfinite(found["cost_of_pass"]) else "inf",
  }


@quick_jit
def _curves(m, n, c):
  every = jnp.ones(m.shape)
  reward = lambda n: otc_reward(every, m, every, smoothing=c, fewest=n)
  return {"ppo": reward(None), "grpo_n3": reward(0 * m + n), "grpo_n0": reward(0 * m)}


def planning(path, truth, path_cost, optimal_cost, valid):
  return {
    "cost_gap": path_cost - optimal_cost,
    "edit_distance": quick_jit(agent_costs.edit_distance)(
      path[None], truth[None], jnp.ones((1, path.size)), jnp.ones((1, truth.size))
    )[0],
    "invalid_call_rate": masked_mean(valid == 0, jnp.ones(valid.shape)).value,
  }
