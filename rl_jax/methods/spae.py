"""SPAE: step potentials from forced answers (arXiv 2601.03823).

Idea: after each reasoning step the policy is forced to answer. Its confidence (Conf) and the probability of the right
answer (Acc) give a potential in [-1, 1]: 0 exploring, 1 certain and right, -1 certain and wrong. Steps that raise it
get a bonus. Text after the answer is known counts less, so that re-checking is not rewarded.

  Conf_k = mean_n exp(-mean_l H_nl) over sampled answers,  Acc_k = mean_m pi(y*_m | steps <= k, opening, y*_<m)
  Phi_k = 1.5 Acc_k Conf_k + 0.5 Acc_k - Conf_k
  A_ij = (R_i - mean_g R) f_k + xi g_k,  k the step of token j; then whitened over the trained tokens of the batch
  f_k = 1 - alpha (1 - exp(-C_k)),  C_k = number of earlier steps with Phi > threshold
  g_k = exp(z_k) - mean exp(z),  z_k = Phi_k - Phi_{k-1} scaled to [0, 1] over the steps of the batch

The loss is DAPO's: clipped at 1 - 0.2 and 1 + 0.28, mean over tokens. Groups of equal rewards are neither probed nor
trained on. The tokens of the answer take f and g of the last step before it. Not in the paper: the threshold (of the
authors' script), the range and scope of z, the form of the whitening.

Metrics: those of policy_gradient.py, and
  potential: Phi of a token's step, mean over trained tokens.
  late_tokens: share of trained tokens in steps after one with Phi > threshold.
Config: experiments/spae.py. Result: experiments/results/credit.md.
Source: second hand; two of its formulas from one source.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import COUNT, NOT_NEGATIVE, SHARE
from rl_jax.kernels.advantages import step
from rl_jax.kernels.curricula.filters import informative_groups
from rl_jax.kernels.reductions import aggregate
from rl_jax.kernels.rewards.probes import probe_accuracy, probe_confidence, step_potential
from rl_jax.kernels.segments import on_tokens
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Method, Signal, check_answers, one_of
from rl_jax.rollouts.probes import probed, required_forced_answer, step_ends
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.rollouts.step_values import required_steps
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

READ = ("probe_mask", "probe_answer_logprobs", "probe_answer_mask", "probe_entropies", "probe_sampled")
"""Extras of its rollout."""


def get_config() -> dict[str, Any]:
  """The paper's options, except `max_steps`, which depends on the task, and the threshold."""
  return policy_gradient.get_config() | {
    "clip_low": 0.2,
    "clip_high": 0.28,
    "alpha": 0.5,  # reduction of credit after the answer is known
    "xi": 0.5,  # coefficient of the bonus for steps that raise the potential
    "threshold": 0.9,  # potential from which the answer counts as known
    "normalization": "batch",  # or "none"
    "max_steps": 8,  # number of probed steps; later ones take f and g of the last
    "probe_samples": 5,  # answers sampled at each boundary
    "probe_tokens": 10,  # largest number of tokens of an answer
    "uninformative_groups": "drop",  # those of equal rewards; or "keep": they have the bonus alone
  }


RANGES = {
  "alpha": SHARE,
  "xi": NOT_NEGATIVE,
  "threshold": SHARE,
  "max_steps": COUNT,
  "probe_samples": COUNT,
  "probe_tokens": COUNT,
}


def build(config: ConfigDict, task: Task) -> Method:
  """SPAE from its section of a config."""
  if config.method.uninformative_groups == "drop":
    check_answers(config)
  m = config.method
  drop = one_of(m, "uninformative_groups", ("drop", "keep")) == "drop"
  required_forced_answer(task)
  required_steps(task, "potentials are")

  def kept(trajectories: Trajectories) -> Bool[Array, " B"]:
    informative = informative_groups(trajectories.rewards, trajectories.group_ids, trajectories.scored)
    return trajectories.scored & (informative if drop else True)

  def boundaries(task: Task, trajectories: Trajectories) -> tuple[Int[Array, "B K"], Bool[Array, "B K"]]:
    cuts, mask = step_ends(task, trajectories, m.max_steps)
    return cuts, mask & kept(trajectories)[:, None]

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    extras, mask = trajectories.extras, kept(trajectories)
    answers, steps = extras["probe_answer_logprobs"], extras["probe_mask"]
    accuracy = probe_accuracy(answers, jnp.broadcast_to(extras["probe_answer_mask"][:, None], answers.shape))
    confidence = probe_confidence(extras["probe_entropies"], extras["probe_sampled"])
    potentials = step_potential(accuracy, confidence, steps)
    step_ids = jnp.minimum(trajectories.step_ids, steps.sum(axis=1, keepdims=True) - 1)
    of_method = {name: m[name] for name in ("alpha", "xi", "threshold", "normalization")}
    advantages = step.spae(
      trajectories.rewards, trajectories.group_ids, mask, potentials, steps, step_ids, trajectories.trained, **of_method
    )
    stream = policy_gradient.token_stream(trajectories.replace(reward_mask=mask), advantages)
    late = jnp.cumsum(potentials > m.threshold, axis=1) > (potentials > m.threshold)
    spread = lambda x: on_tokens(x.astype(jnp.float32), step_ids, trajectories.trained)
    mean = lambda x: aggregate(spread(x), stream.weights, mode="token_mean")
    return Signal({"policy": stream}, {"potential": mean(potentials), "late_tokens": mean(late)})

  rollout = probed(
    task,
    policy_gradient.independent(config, task),
    boundaries,
    samples=m.probe_samples,
    max_tokens=m.probe_tokens,
    sampling=sampling_from(config),
  )
  return policy_gradient.method(config, task, signal, papers=("2601.03823",), requires=READ, rollout=rollout)
