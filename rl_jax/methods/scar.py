"""SCAR: Shapley credit of the spans of a response as dense rewards (arXiv 2505.20417, proposal arXiv 2512.04302).

Idea: the parts of a response play a game whose value v(S) is the reward of the response with all parts outside of S
blanked. Shapley values split its reward among them fairly:

  SV_i = sum over S without i of |S|! (N - |S| - 1)! / N! (v(S + i) - v(S)),   sum_i SV_i = v(all) - v(none)
  R_t  = -beta (log pi_old(t) - log pi_ref(t)) + alpha [t ends span i] SV_i + (1 - alpha) [t ends the response] r

The rest is PPO with GAE. With discount 1 the rewards of a response add up to r - alpha v(none), less the KL, so that
the optimum stays where v(none) is one number per prompt. It is with `empty` "fixed", a response that ends at once; with
"blanks", as many as the row has tokens, it may depend on their number. A lambda below 1 makes it approximate.

v comes from the task's verifier, which has to score parts: a 0/1 outcome that needs all parts gives each 1/N, and then
`credit` "uniform", equal shares, does as well. Other forms of credit:
  shapley with `orders` P: the mean over P random orders, (N - 1) P copies in place of 2^N.
  owen: the orders that keep blocks of adjacent spans together. The authors take SHAP's hierarchy of such blocks.
`spans` are the verifier's steps, or tokens; adjacent ones are merged, evenly, to `max_spans`.
`shaping` adds rewards of the beginnings of a response, with Phi = v(its first i spans), see _shaping.py:
  potential: gamma Phi(s') - Phi(s). With alpha 0 a span earns what it adds to those before it, and the optimum stays.
  graph: closeness to the best state on a graph of states, as in G4RL (arXiv 2511.10872). It may move the optimum.

Inferred: the credit on the last token of a span, lambda, the even merge, one level of blocks, the forms of shaping.
Values of the paper come from a reward model, here from the verifier alone. A row with a copy that has no verdict is
left out. Copies cost verdicts, not tokens.

Metrics: those of policy_gradient.py, and
  spans: number of spans of a row.
  credit_spread: |SV_i - mean_i SV_i|, mean over spans; 0 where credit is a uniform split.
  empty_value: v(none).
  value_error: mean square of V_old - R over trained tokens, R the sum of rewards to come.
Config: experiments/scar.py, on rl_jax/tasks/cipher.py.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import COUNT, FINITE, NOT_NEGATIVE, SHARE, WHOLE
from rl_jax.kernels.reductions import masked_mean
from rl_jax.kernels.rewards import scar_rewards
from rl_jax.methods import _critics, policy_gradient, ppo
from rl_jax.methods._credits import CREDITS
from rl_jax.methods._shaping import shaping
from rl_jax.methods.method import Method, ModelRole, Signal, one_of
from rl_jax.rollouts.blanked import EMPTY, SPANS, blanked
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """Shapley values alone, exact; the paper's numbers are not known."""
  return ppo.get_config() | {
    "lam": 0.95,
    "alpha": 1.0,  # 0: the outcome alone, as in PPO
    "kl_in_reward": 0.0,  # beta; 0: no reference model is kept
    "credit": "shapley",  # or "owen", "uniform"
    "spans": "steps",  # or "tokens"
    "max_spans": 8,  # N, at most; with orders it may be higher
    "orders": 0,  # random orders of spans that are scored; 0: all coalitions
    "block_spans": 2,  # in each block of "owen"
    "empty": "fixed",  # or "blanks"
    "blank_token": None,  # None: the task's
    "shaping": "none",  # or "potential", "graph"
    "shaping_coefficient": 1.0,
    "graph_eps": 0.05,  # distance of states that are two nodes
  }


RANGES = ppo.RANGES | {
  "alpha": SHARE, "kl_in_reward": NOT_NEGATIVE, "max_spans": COUNT, "orders": WHOLE, "block_spans": COUNT,
  "blank_token": WHOLE.optional(), "shaping_coefficient": FINITE, "graph_eps": NOT_NEGATIVE,
}  # fmt: skip
READ = ("unit_ids", "unit_mask", "empty_values", "valued")


def build(config: ConfigDict, task: Task) -> Method:
  """SCAR from its section of a config. Raises ValueError for options that do not go together."""
  m = config.method
  credit, parts = CREDITS[one_of(m, "credit", CREDITS)](m), _critics.critic(m)
  shaped = shaping(m, credit)
  if m.kl_in_reward:
    parts["models"]["reference"] = ModelRole(trained=False, init_from="policy")
    parts["scoring"]["ref_logprobs"] = ("reference", "logprobs")

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    extras = trajectories.extras
    rows = trajectories.replace(reward_mask=trajectories.reward_mask & extras["valued"])
    mask, exists = rows.trained & rows.scored[:, None], extras["unit_mask"] & rows.scored[:, None]
    credits = credit.of_units(rows)
    logprobs, numbers = (rows.old_logprobs, rows.ref_logprobs), {"alpha": m.alpha, "kl_coef": m.kl_in_reward}
    rewards = scar_rewards(credits, extras["unit_ids"], rows.rewards, *logprobs, mask, **numbers)
    streams = ppo.streams(m, rows, rewards + m.shaping_coefficient * shaped(m, rows, mask))
    even = masked_mean(credits, exists, axis=1).value[:, None]
    metrics = {
      "spans": masked_mean(exists.sum(axis=1), rows.scored),
      "credit_spread": masked_mean(jnp.abs(credits - even), exists),
      "empty_value": masked_mean(extras["empty_values"], rows.scored),
      "value_error": _critics.value_error(rows, streams["value"]),
    }
    return Signal(streams, metrics)

  cut = {"spans": one_of(m, "spans", SPANS), "empty": one_of(m, "empty", EMPTY), "token": m.blank_token}
  rollout = blanked(task, policy_gradient.independent(config, task), credit.coalitions, m.max_spans, **cut)
  requires = (*parts.pop("requires"), *READ, *credit.requires)
  return policy_gradient.method(
    config, task, signal, papers=("2505.20417", "2512.04302"), requires=requires, rollout=rollout,
    loss=ppo.loss_function(config, task), **parts,
  )  # fmt: skip
