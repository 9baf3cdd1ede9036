"""V0.5: a value known beforehand as the prior of a baseline from few responses (arXiv 2603.10848).

Idea: the mean of four rewards is a noisy baseline, and a predicted value may be wrong. Shrink the mean m_k of a
prompt's k rewards towards the prediction V, unless they refute it, and sample more where they do. With s_k = v / k, v
a bound of the variance of one reward:

  D_k^2 = max(0, (m_k - V)^2 - s_k),  w_k = D_k^2 / (D_k^2 + s_k),  b = w_k m_k + (1 - w_k) V
  MSE(k) = D_k^2 s_k / (D_k^2 + s_k);  one more response iff MSE(k) - MSE(k + 1) > c at fixed D_k^2, up to k_max
  A_i = r_i - b on every token, also where all rewards are equal; the loss is that of the family

The first round has `completions_per_prompt` responses, the paper's k_init (4; below 3 a mean has too few values for the
test). Then come `rounds` of `rows_per_round`, in order of gain, as arrays have fixed sizes: ample ones are the paper's
rule with up to `rows_per_round` responses at once, scant ones serve where they help most (rollouts/look_ahead.py).
Updates have room for all of them. The paper's V0 is a large pretrained model that reads the policy's ability from its
scores; here V is learned on the way. `prior` (_priors.py):
  running: the decayed mean reward of the prompt's level.
  regression: a ridge regression on the tokens of the prompt.
  model: a small critic at the last token of the prompt, with a loss of its own.
  constant: `prior_start`.

Inferred: the inequality; no division by a std; v = ((r_max - r_min) / 2)^2 and c times that for rewards other than -1
and 1, where v is 1: decisions do not depend on the scale. Rounds and priors are not the paper's.

Metrics: those of policy_gradient.py and rollouts/look_ahead.py, and, every prompt counting once,
  prior: V.
  prior_error: (V - m)^2, the noise of m included.
  sample_weight: w.
  baseline_error: MSE, as estimated.
Config: experiments/v05.py.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import COUNT, DECAY, FINITE, NOT_NEGATIVE, POSITIVE, WHOLE
from rl_jax.kernels.advantages.prior import prior_baseline, v05
from rl_jax.kernels.reductions import masked_mean
from rl_jax.methods import policy_gradient
from rl_jax.methods._priors import PRIORS
from rl_jax.methods.method import Method, Signal, one_of
from rl_jax.rollouts.look_ahead import look_ahead
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.rollouts.turns import responses
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The paper's rule, for rewards of 0 and 1, with the mean of earlier rewards as the prior."""
  return policy_gradient.get_config() | {
    "lowest_reward": 0.0,
    "highest_reward": 1.0,
    "k_max": 16,
    "cost": 0.0039,  # c, of a response, for rewards of -1 and 1
    "rounds": 4,  # after the first; 0: no prompt has more responses
    "rows_per_round": None,  # None: prompts_per_iteration
    "prior": "running",  # or "regression", "model", "constant"
    "prior_start": 0.5,  # V before anything is learned
    "prior_strength": 1.0,  # prompts that prior_start counts for
    "prior_decay": 0.9,  # per iteration, of what is learned
    "prior_features": 64,  # most kinds of tokens that "regression" tells apart
    "prior_init_from": "policy",  # of "model"
    "prior_learning_rate": None,  # of "model"; None: the policy's
  }


RANGES = {
  "lowest_reward": FINITE, "highest_reward": FINITE, "k_max": COUNT, "cost": NOT_NEGATIVE, "rounds": WHOLE,
  "rows_per_round": COUNT.optional(), "prior_start": FINITE, "prior_strength": POSITIVE, "prior_decay": DECAY,
  "prior_features": COUNT, "prior_learning_rate": NOT_NEGATIVE.optional(),
}  # fmt: skip


def build(config: ConfigDict, task: Task) -> Method:
  """V0.5 from its section of a config. Raises ValueError for options."""
  m = config.method
  if m.highest_reward <= m.lowest_reward:
    raise ValueError(f"method.highest_reward={m.highest_reward} is not above lowest_reward={m.lowest_reward}")
  if not m.lowest_reward <= m.prior_start <= m.highest_reward:
    raise ValueError(f"method.prior_start={m.prior_start} is no reward from {m.lowest_reward} to {m.highest_reward}")
  rows_per_round, most = m.rows_per_round or config.prompts_per_iteration, config.prompts_per_iteration * m.k_max
  if rows_per_round > most:
    raise ValueError(f"method.rows_per_round={rows_per_round} are more than k_max for each prompt: take {most} at most")
  prior = PRIORS[one_of(m, "prior", PRIORS)](config, task)
  noise = ((m.highest_reward - m.lowest_reward) / 2) ** 2

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    priors, weights = (trajectories.extras[name] for name in ("priors", "prompt_weights"))
    rows = trajectories.rewards, priors, trajectories.group_ids, trajectories.scored
    fused = prior_baseline(*rows, noise_variance=noise)
    stream = policy_gradient.token_stream(trajectories, v05(*rows, noise_variance=noise))
    errors = {"prior_error": jnp.square(priors - fused.mean), "baseline_error": fused.error}
    of_prompts = {"prior": priors, "sample_weight": fused.weight, **errors}
    return Signal({"policy": stream}, {name: masked_mean(x, weights) for name, x in of_prompts.items()})

  rollout = look_ahead(
    lambda completions: responses(task, completions, sampling_from(config)),
    prior.estimator, config.completions_per_prompt, rounds=m.rounds,
    rows_per_round=rows_per_round, k_max=m.k_max, cost=m.cost * noise, noise_variance=noise,
  )  # fmt: skip
  return policy_gradient.method(
    config, task, signal, papers=("2603.10848",), requires=("priors", "prompt_weights"), rollout=rollout,
    models=prior.models,
  )  # fmt: skip
