"""Mismatch between trainer and sampler logprobs of the policy's tokens, measured before an update."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rl_jax.kernels.losses.divergence import kl
from rl_jax.kernels.reductions import Mean, aggregate
from rl_jax.methods.method import Outputs
from rl_jax.training.update import Watch
from rl_jax.trajectories import POLICY, Trajectories


class Mismatch(NamedTuple):
  """Mismatch of one batch."""

  ratio_error: Float[Array, ""]
  """max over tokens of |pi / pi_old - 1| / max(1, |log pi_old|), since rounding grows with the logprob."""
  kl_to_behaviour: Mean
  """k3 estimate of KL(behaviour || policy), where behaviour is the sampled distribution, after truncation."""


def mismatch(logprobs: Float[Array, "B T"], trajectories: Trajectories) -> Mismatch:
  """Mismatch of the trainer's logprobs, over the policy's tokens."""
  mask = trajectories.trained & (trajectories.source_ids == POLICY)
  difference = jnp.where(mask, logprobs - trajectories.old_logprobs, 0.0)
  # KL of the behaviour policy from its own samples: x = log(policy / behaviour), E[e^x - x - 1].
  divergence = kl(trajectories.behaviour_logprobs, logprobs, mask, value="k3")
  rounding = jnp.where(mask, jnp.maximum(1.0, jnp.abs(trajectories.old_logprobs)), 1.0)
  return Mismatch(
    (jnp.abs(jnp.expm1(difference)) / rounding).max(initial=0.0),
    aggregate(divergence, mask.astype(jnp.float32), mode="token_mean"),
  )


def _measure(outputs: Outputs, trajectories: Trajectories) -> Mismatch:
  own = trajectories.old_logprobs  # no mismatch if the policy is not trained
  return mismatch(outputs["policy"]["logprobs"] if "policy" in outputs else own, trajectories)


def _merge(parts: Mismatch) -> Mismatch:
  total = jax.tree.map(lambda x: x.sum(axis=0), parts.kl_to_behaviour)
  return Mismatch(parts.ratio_error.max(axis=0), total)


WATCH = Watch(_measure, _merge)
"""Measurement of the mismatch, for `Objective.watch`."""
