"""Loss of the policy-gradient family: clipped ratios, a divergence from a reference, an entropy bonus."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from rl_jax.kernels.losses.divergence import kl
from rl_jax.kernels.losses.policy import PolicyLoss, cispo, policy_gradient, truncated_importance_weights
from rl_jax.kernels.reductions import Mean, aggregate
from rl_jax.methods.method import Loss, LossFunction, Outputs, Stream, Streams, Term, one_of
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

AGGREGATIONS = ("token_mean", "sequence_mean_token_mean", "sequence_mean_token_sum", "sequence_mean_constant")
"""Aggregations of a loss over tokens and rows, none of which depends on the size of the batch."""

CLIPS = ("ppo", "none", "cispo")
"""Clips of `policy_gradient`, and CISPO, which is a separate loss."""


def loss_function(config: ConfigDict, task: Task) -> LossFunction:
  """Loss of the family for a config. Options are validated here, at build time (ValueError)."""
  m = config.method
  one_of(m, "aggregation", AGGREGATIONS)
  clip = one_of(m, "clip", CLIPS)
  if clip == "cispo" and m.dual_clip is not None:
    raise ValueError(f"method.dual_clip belongs to clip='ppo', got clip={clip!r}")
  clipped: Callable[..., PolicyLoss] = partial(policy_gradient, clip=clip, dual_clip=m.dual_clip)
  clipped = cispo if clip == "cispo" else clipped
  options = {name: m[name] for name in ("ratio", "clip_low", "clip_high") if m[name] is not None}
  constant = (m.aggregation_constant or task.response_tokens) if m.aggregation.endswith("constant") else None

  def loss(outputs: Outputs, trajectories: Trajectories, streams: Streams) -> Loss:
    stream, out = streams["policy"], outputs["policy"]
    mask = stream.weights > 0
    reduce = lambda x: aggregate(x, stream.weights, mode=m.aggregation, constant=constant)
    tokens = lambda x: aggregate(x, stream.weights, mode="token_mean")

    advantages = stream.targets
    metrics: dict[str, Mean] = {}
    if m.importance_sampling_cap is not None:
      weights = truncated_importance_weights(
        trajectories.old_logprobs, trajectories.behaviour_logprobs, mask, cap=m.importance_sampling_cap
      )
      advantages, metrics["importance_weight"] = advantages * weights, tokens(weights)
    policy = clipped(out["logprobs"], trajectories.old_logprobs, advantages, mask, **options)
    terms = {"policy": Term(reduce(policy.losses), trains="policy")}
    metrics["clip_fraction"] = tokens((policy.clipped_low | policy.clipped_high).astype(jnp.float32))
    metrics["entropy"] = tokens(out["entropies"])
    if m.kl_coefficient:
      divergence = kl(out["logprobs"], trajectories.ref_logprobs, mask, value=m.kl_value, gradient=m.kl_gradient)
      terms["kl"] = Term(reduce(divergence), m.kl_coefficient, "policy")
      metrics["kl_to_reference"] = tokens(divergence)
    if m.entropy_coefficient:
      terms["entropy"] = Term(reduce(out["entropies"]), -m.entropy_coefficient, "policy")
    return Loss(terms, jax.lax.stop_gradient(metrics))

  slot: Any = jax.ShapeDtypeStruct((1, 1), jnp.float32)
  batch = Trajectories.empty(1, 1, 0)
  jax.eval_shape(loss, {"policy": {"logprobs": slot, "entropies": slot}}, batch, {"policy": Stream(slot, slot)})
  return loss
