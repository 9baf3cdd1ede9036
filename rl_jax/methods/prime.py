"""PRIME: implicit process rewards, learned online (arXiv 2502.01456).

Idea: a second language model pi_phi is trained on outcomes alone, with the sum of its log-ratios to a reference as the
logit of a right answer. That sum is a sum of token rewards, so no step needs a label.

  r_t = beta (log pi_phi(y_t) - log pi_ref(y_t)),  r(y) = sum_t r_t                                (eq. 3)
  PRM loss: - mean_i [ y_i log sigmoid(r(y_i)) + (1 - y_i) log sigmoid(-r(y_i)) ]                  (algorithm 1)
  R_t = sum_{s >= t} (r_s - mean_{j != i} r(y_j) / |y_j|) + y_i - mean_{j != i} y_j               (eq. 5)
  A = R whitened over the tokens of the batch; policy loss: PPO's clip, mean over tokens, no KL

As in the code, r is divided by its largest return before eq. 5. The code's factor K / (K - 1) of r_s is left out, since
it is not in the paper. Both models start as the policy, so r is 0 at first and the method begins as RLOO. The PRM
learns from the same rows: "after" they were scored, by a term of the joint loss, or "before", by its own loss. Groups
are kept if low <= mean outcome <= high; the code keeps surplus prompts for the next iteration, here they are dropped.

Metrics: those of policy_gradient.py and of rollouts/dynamic_sampling.py, and
  prm_accuracy: share of a prompt's pairs that r(y), as used for the policy, ranks by outcome; ties count half.
  loss/prm ("after") or prm/loss/prm ("before"): the PRM's loss; log 2 = 0.69 without knowledge.
Config: experiments/prime.py. Result: experiments/results/credit.md.
Source: paper and code; the std of the GRPO variant is inferred.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import COUNT, NOT_NEGATIVE, POSITIVE, SHARE
from rl_jax.kernels.advantages import process
from rl_jax.kernels.curricula.filters import accuracy_filter
from rl_jax.kernels.losses.reward_model import binary_cross_entropy, pair_accuracy
from rl_jax.kernels.reductions import masked_mean
from rl_jax.kernels.rewards.implicit import implicit_rewards, scale_to_unit_return
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Loss, Method, ModelRole, Outputs, Signal, Streams, Term, one_of
from rl_jax.rollouts.dynamic_sampling import dynamic_sampling
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The paper's options, with the choices of its code."""
  return policy_gradient.get_config() | {
    "beta": 0.05,
    "discount": 1.0,  # of process rewards
    "outcome_discount": 1.0,
    "unit_return": True,  # divide token rewards by their largest return in the batch
    "unit_return_epsilon": 1e-6,
    "rounding": 1e-5,  # log-ratios up to this count as 0, relative to the logprob where that is above 1
    "granularity": "token",  # or "whole": the sum on the last token
    "last_token": "keep",  # or "zero", as in verl
    "reference": "freeze",  # the initial policy, or "policy": the current one
    "prm_update": "after",  # or "before" it scores
    "prm_learning_rate": None,  # None: the policy's; the paper's is twice that
    "lowest_accuracy": 0.2,
    "highest_accuracy": 0.8,
    "keep_truncated": True,  # False: also drop groups with an answer that was cut
    "max_rounds": 3,  # largest number of sampling rounds per iteration
  }


RANGES = {"beta": POSITIVE, "prm_learning_rate": NOT_NEGATIVE.optional(), "max_rounds": COUNT}
RANGES |= dict.fromkeys(("discount", "outcome_discount", "lowest_accuracy", "highest_accuracy"), SHARE)
RANGES |= dict.fromkeys(("unit_return_epsilon", "rounding"), NOT_NEGATIVE)


def build(config: ConfigDict, task: Task) -> Method:
  """PRIME from its section of a config. Raises ValueError for options, and for groups of one."""
  m, group_size = config.method, config.completions_per_prompt
  if group_size < 2:
    raise ValueError(f"its baselines need completions_per_prompt of 2 or more, got {group_size}")
  reference = {"freeze": "reference", "policy": "policy"}[one_of(m, "reference", ("freeze", "policy"))]
  before = one_of(m, "prm_update", ("after", "before")) == "before"
  reward_options = {"beta": m.beta, "granularity": m.granularity, "last_token": m.last_token}
  return_options = {"discount": m.discount, "outcome_discount": m.outcome_discount}

  def keep(trajectories: Trajectories) -> Bool[Array, " B"]:
    outcomes = trajectories.rewards, trajectories.group_ids, trajectories.scored
    cut = None if m.keep_truncated else trajectories.truncated
    return accuracy_filter(*outcomes, truncated=cut, low=m.lowest_accuracy, high=m.highest_accuracy)

  def implicit(logprobs, trajectories):
    mask = trajectories.trained & trajectories.scored[:, None]
    return mask, implicit_rewards(logprobs, trajectories.ref_logprobs, mask, **reward_options)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    outcomes = trajectories.rewards, trajectories.group_ids, trajectories.scored
    prm, ref = trajectories.extras["prm_logprobs"], trajectories.ref_logprobs
    # Equal models differ by rounding, which the division by the largest return would blow up to full size.
    equal = jnp.abs(prm - ref) <= m.rounding * jnp.maximum(1.0, jnp.abs(ref))
    mask, (rewards, scores) = implicit(jnp.where(equal, ref, prm), trajectories)
    rewards = scale_to_unit_return(rewards, mask, eps=m.unit_return_epsilon) if m.unit_return else rewards
    advantages = process.prime(rewards, *outcomes, mask, **return_options, singleton="zero").advantages
    accuracy = pair_accuracy(scores, *outcomes)
    return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)}, {"prm_accuracy": accuracy})

  def prm_loss(outputs: Outputs, trajectories: Trajectories) -> Loss:
    _, (_, scores) = implicit(outputs["prm"]["logprobs"], trajectories)
    losses = binary_cross_entropy(scores, trajectories.rewards, trajectories.scored)
    return Loss({"prm": Term(masked_mean(losses, trajectories.scored), trains="prm")}, {})

  policy_loss = policy_gradient.loss_function(config, task)

  def loss(outputs: Outputs, trajectories: Trajectories, streams: Streams) -> Loss:
    terms, metrics = policy_loss(outputs, trajectories, streams)
    return Loss(terms | prm_loss(outputs, trajectories).terms, metrics)

  respond = policy_gradient.independent(config, task)
  prm = ModelRole(init_from="policy", learning_rate=m.prm_learning_rate, loss=prm_loss if before else None)
  frozen = {} if reference == "policy" else {reference: ModelRole(trained=False, init_from="policy")}
  return policy_gradient.method(
    config,
    task,
    signal,
    papers=("2502.01456",),
    requires=("prm_logprobs",),
    prompts=m.max_rounds,
    rollout=dynamic_sampling(respond, group_size, keep, m.max_rounds),
    loss=policy_loss if before else loss,
    models={"prm": prm, **frozen},
    scoring={"prm_logprobs": ("prm", "logprobs"), "ref_logprobs": (reference, "logprobs")},
  )
