"""Loss of the policy-gradient family: clipped ratios, a divergence from a reference, an entropy bonus."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from rl_jax.kernels.losses.divergence import kl
from rl_jax.kernels.losses.off_policy import off_policy_mask
from rl_jax.kernels.reductions import Mean, aggregate
from rl_jax.methods._clips import clipped_loss
from rl_jax.methods._corrections import correction
from rl_jax.methods.method import Loss, LossFunction, Outputs, Stream, Streams, Term, one_of
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

AGGREGATIONS = ("token_mean", "sequence_mean_token_mean", "sequence_mean_token_sum", "sequence_mean_constant")
"""Aggregations of a loss over tokens and rows that do not depend on the size of the batch."""


def loss_function(config: ConfigDict, task: Task) -> LossFunction:
  """Loss of the family for a config. Options are validated here, at build time (ValueError)."""
  m = config.method
  one_of(m, "aggregation", AGGREGATIONS)
  clipped, corrected = clipped_loss(config), correction(m)
  constant = (m.aggregation_constant or task.response_tokens) if m.aggregation.endswith("constant") else None
  if m.aggregation_constant is not None and constant is None:
    raise ValueError(
      f"method.aggregation_constant={m.aggregation_constant!r} belongs to method.aggregation=sequence_mean_constant, "
      f"got method.aggregation={m.aggregation}"
    )

  def loss(outputs: Outputs, trajectories: Trajectories, streams: Streams) -> Loss:
    stream, out = streams["policy"], outputs["policy"]
    weights, metrics, factors = stream.weights, dict[str, Mean](), jnp.float32(1.0)
    found = corrected(trajectories, weights > 0)
    if found is not None:
      of_sampler = lambda x: aggregate(x, stream.weights, mode="token_mean")
      metrics |= {"importance_weight": of_sampler(found.weights), "rejected": of_sampler(1.0 - found.kept)}
      weights, factors = weights * found.kept, found.weights
    mask = weights > 0
    reduce = lambda x: aggregate(x, weights, mode=m.aggregation, constant=constant)
    tokens = lambda x: aggregate(x, weights, mode="token_mean")

    policy = clipped(out["logprobs"], trajectories, stream.targets, mask)
    if m.off_policy_threshold is not None:
      logprobs = out["logprobs"], trajectories.behaviour_logprobs
      kept = off_policy_mask(*logprobs, stream.targets, mask, threshold=m.off_policy_threshold)
      factors, metrics["off_policy"] = factors * kept, tokens(1.0 - kept)
    terms = {"policy": Term(reduce(policy.losses * factors), trains="policy")}
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
