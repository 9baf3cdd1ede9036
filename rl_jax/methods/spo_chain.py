"""SPO-chain: segment values from completions at cut points (arXiv 2505.23564).

Idea: a response is cut where the policy was uncertain, at every `interval`-th token of probability p < rho. The value
of a cut is the mean reward of N completions from there, and a segment earns the difference of the values at its ends.

  A_j = V_{j+1} - V_j,  A_last = reward - V_last,  on tokens with p <= rho          (segments add up to reward - V_0)
  A is whitened over M, the tokens with p < rho, and only these are trained:
  loss = sum_M -min(r A, clip(r, 1 - e, 1 + e) A) / |M|  +  beta mean_rows sum_{t in M} k3_t

log r is clamped to +-10; a minibatch with a mean r above `max_ratio` is skipped. Tokens before the first cut have A = 0
before whitening. Differences from the authors' code: whitening pools the rows of an iteration, not of a minibatch; with
fewer `max_segments` than cuts the last segment runs to the end; micro-batches are skipped one by one; cuts with equal
text share their completions.

Metrics: those of policy_gradient.py, over M, and
  uncertain: share of trained tokens that are in M.
  ratio: mean r over M.
Config: experiments/spo_chain.py. Result: experiments/results/credit.md
Source: authors' code.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import COUNT, NOT_NEGATIVE, POSITIVE, SHARE
from rl_jax.kernels.advantages.segment import cutpoint_segments, probability_mask, spo_chain, whiten_uncertain
from rl_jax.kernels.losses.segment import spo
from rl_jax.kernels.reductions import Mean, aggregate
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Loss, LossFunction, Method, Outputs, Signal, Stream, Streams, Term
from rl_jax.rollouts.branches import Boundaries, branches
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

OPEN = ("kl_coefficient", "entropy_coefficient", "curriculum")  # options of the family that fit the paper's loss


def loss_config() -> dict[str, Any]:
  """Options that chain and tree share: the paper's rho, clip, KL and whitening."""
  return policy_gradient.get_config() | {
    "threshold": 0.9,  # rho
    "probability_mask": True,  # False: all tokens are trained, with the credit of their segment (the paper's ablation)
    "whiten": True,
    "clip_range": 0.2,  # e
    "kl_coefficient": 1e-4,  # beta
    "max_ratio": 10.0,
  }


def get_config() -> dict[str, Any]:
  """The paper's options (int5): a cut at every fifth uncertain token, 9 completions; all segments of a response."""
  return loss_config() | {"interval": 5, "completions_per_cut": 9, "max_segments": None}


def threshold(m: ConfigDict) -> float:
  """Probability below which a token is trained; no probability reaches 2."""
  return m.threshold if m.probability_mask else 2.0


def trained(trajectories: Trajectories) -> Bool[Array, "B T"]:
  """Mask [B, T] of tokens of rows with a verdict, or whose text continues."""
  return trajectories.trained & (trajectories.scored | trajectories.unfinished)[:, None]


def signal_of(m: ConfigDict, trajectories: Trajectories, advantages: Float[Array, "B T"]) -> Signal:
  """Advantages [B, T], whitened, on the tokens of M."""
  old, mask = trajectories.old_logprobs, trained(trajectories)
  advantages = whiten_uncertain(advantages, old, mask, threshold=threshold(m)) if m.whiten else advantages
  weights = probability_mask(old, mask, threshold=threshold(m))
  stream = Stream(jnp.where(weights, advantages, 0.0), weights.astype(jnp.float32))
  return Signal({"policy": stream}, {"uncertain": aggregate(stream.weights, mask, mode="token_mean")})


def loss_function(config: ConfigDict, task: Task) -> LossFunction:
  """Loss of chain and tree. Raises ValueError if an option of the family that SPO fixes is set."""
  m, base = config.method, policy_gradient.loss_function(config, task)
  given = m.to_dict()
  for name, only in policy_gradient.get_config().items():
    if name not in OPEN and given[name] != only:
      raise ValueError(f"method.{name} is {only} in SPO, got {given[name]!r}: leave it out")

  def loss(outputs: Outputs, trajectories: Trajectories, streams: Streams) -> Loss:
    terms, metrics = base(outputs, trajectories, streams)
    old, ref, mask = trajectories.old_logprobs, trajectories.ref_logprobs, trained(trajectories)
    advantages, options = streams["policy"].targets, {"threshold": threshold(m), "clip": m.clip_range}
    parts = spo(outputs["policy"]["logprobs"], old, ref, advantages, mask, kl_coefficient=1.0, **options)
    within_ratio = lambda mean: Mean(jnp.where(parts.ratio.value > m.max_ratio, 0.0, mean.sum), mean.weight)
    terms |= {"policy": Term(within_ratio(parts.policy), trains="policy")}
    terms |= {"kl": Term(within_ratio(parts.kl), m.kl_coefficient, "policy")} if m.kl_coefficient else {}
    return Loss(terms, metrics | {"ratio": jax.lax.stop_gradient(parts.ratio)})

  return loss


LOSS_RANGES = {"threshold": SHARE, "clip_range": NOT_NEGATIVE, "max_ratio": POSITIVE}
RANGES = LOSS_RANGES | {"interval": COUNT, "completions_per_cut": COUNT, "max_segments": COUNT.optional()}


def build(config: ConfigDict, task: Task) -> Method:
  """SPO-chain from its section of a config."""
  m = config.method
  places = m.max_segments or math.ceil(task.response_tokens / m.interval)
  cuts = {"interval": m.interval, "threshold": m.threshold}

  def boundaries(trajectories: Trajectories) -> Boundaries:
    segments = cutpoint_segments(trajectories.old_logprobs, trajectories.trained, num_segments=places, **cuts)
    return Boundaries(segments.starts, segments.mask)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    rewards = jnp.where(trajectories.scored, trajectories.rewards, 0.0)
    values, old, mask = trajectories.extras["cut_values"], trajectories.old_logprobs, trajectories.trained
    credited = "uncertain" if m.probability_mask else "all"
    return signal_of(m, trajectories, spo_chain(values, rewards, old, mask, tokens=credited, **cuts).tokens)

  episodes, sampling = policy_gradient.independent(config, task), sampling_from(config)
  rollout, loss = branches(task, episodes, boundaries, m.completions_per_cut, sampling), loss_function(config, task)
  return policy_gradient.method(
    config, task, signal, papers=("2505.23564",), requires=("cut_values",), rollout=rollout, loss=loss
  )
