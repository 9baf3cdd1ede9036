"""What the policy-gradient methods share: independent responses, a stream of advantages, clipped loss, KL, entropy.

A method of this family adds a `signal`: its advantage estimator. See grpo.py, dr_grpo.py, rloo.py, ppo.py.

Metrics:
  clip_fraction: share of trained tokens whose ratio was clipped.
  entropy: of the policy, mean over trained tokens.
  kl_to_reference: estimate of KL(policy || reference), where there is a reference.
  importance_weight: mean of the truncated trainer-to-sampler weights, where they are used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels.losses.kl import kl
from kernels.losses.policy_gradient import policy_gradient, truncated_importance_weights
from kernels.reductions import Mean, aggregate, per_token, zero_masked
from rl_jax.curricula.epochs import epochs
from rl_jax.curricula.uniform import uniform
from rl_jax.methods.method import Loss, Method, ModelRole, Stream, Term, one_of
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.rollouts.turns import responses
from rl_jax.trajectories import Trajectories

PROMPTS = {"uniform": uniform, "epochs": epochs}


def get_config() -> dict:
  """PPO's clipped objective (arXiv 1707.06347, eq. 7), averaged over the tokens of the batch."""
  return {
    "ratio": "token",  # or "sequence" (GSPO), "sequence_sum" (TRL's RLOO)
    "clip": "ppo",  # or "cispo", "none"
    "clip_low": None,  # None: the kernel's, 0.2 and 0.2 for "ppo"
    "clip_high": None,
    "dual_clip": None,  # a number c > 1: the loss of a negative advantage is at most c |A| (arXiv 1912.09729)
    "aggregation": "token_mean",  # see kernels.reductions.aggregate
    "aggregation_constant": None,  # None: the response tokens of the task
    "kl_coefficient": 0.0,  # of KL(policy || reference) in the loss; 0: no reference model is kept
    "kl_value": "k3",
    "kl_gradient": None,  # None: the gradient of kl_value
    "entropy_coefficient": 0.0,  # of the entropy bonus
    "prompts": "uniform",  # drawn anew each iteration; "epochs": shuffled passes over the problems of a finite task
    "old_logprobs": "sampler",  # or "trainer": scored again before the update
    "importance_sampling_cap": None,  # a number: weigh by min(old / behaviour, cap), the trainer-sampler gap
  }


def token_stream(trajectories: Trajectories, advantages: Float[Array, " B"] | Float[Array, "B T"]) -> Stream:
  """Advantages on all trained tokens of scored rows; one number per row is given to all its tokens."""
  mask = trajectories.trained & trajectories.scored[:, None]
  tokens = per_token(advantages, mask) if advantages.ndim == 1 else zero_masked(advantages, mask)
  return Stream(targets=tokens, weights=mask.astype(jnp.float32))


def loss_function(config, task) -> Callable[..., Loss]:
  """The loss of the family for a config. Raises ValueError now, not in the midst of training, for its options."""
  m = config.method
  divisor = (m.aggregation_constant or task.response_tokens) if m.aggregation.endswith("constant") else None
  minibatch = config.prompts_per_iteration * config.completions_per_prompt // config.minibatches_per_epoch

  def loss(outputs, trajectories, signal) -> Loss:
    stream, out = signal["policy"], outputs["policy"]
    mask = stream.weights > 0
    # "constant" divides a minibatch, so a micro-batch has its share of it; then weights add in every mode.
    constant = divisor and divisor * (mask.shape[0] / minibatch if m.aggregation == "constant" else 1)
    reduce = lambda x: aggregate(x, stream.weights, mode=m.aggregation, constant=constant)
    tokens = lambda x: aggregate(x, stream.weights, mode="token_mean")

    advantages = stream.targets
    metrics: dict[str, Mean] = {}
    if m.importance_sampling_cap is not None:
      weights = truncated_importance_weights(
        trajectories.old_logprobs, trajectories.behaviour_logprobs, mask, cap=m.importance_sampling_cap
      )
      advantages, metrics["importance_weight"] = advantages * weights, tokens(weights)
    options = {name: m[name] for name in ("ratio", "clip", "clip_low", "clip_high", "dual_clip")}
    policy = policy_gradient(out["logprobs"], trajectories.old_logprobs, advantages, mask, **options)
    terms = {"policy": Term(reduce(policy.losses))}
    metrics["clip_fraction"] = tokens((policy.clipped_low | policy.clipped_high).astype(jnp.float32))
    metrics["entropy"] = tokens(out["entropies"])
    if m.kl_coefficient:
      divergence = kl(out["logprobs"], trajectories.ref_logprobs, mask, value=m.kl_value, gradient=m.kl_gradient)
      terms["kl"] = Term(reduce(divergence), m.kl_coefficient)
      metrics["kl_to_reference"] = tokens(divergence)
    if m.entropy_coefficient:
      terms["entropy"] = Term(reduce(out["entropies"]), -m.entropy_coefficient)
    return Loss(terms, jax.lax.stop_gradient(metrics))

  slot: Any = jax.ShapeDtypeStruct((1, 1), jnp.float32)
  batch = Trajectories(**dict.fromkeys(Trajectories.__dataclass_fields__, slot))
  jax.eval_shape(loss, {"policy": {"logprobs": slot, "entropies": slot}}, batch, {"policy": Stream(slot, slot)})
  return loss


def method(config, task, signal, *, papers: tuple[str, ...]) -> Method:
  """A method of the family, given its signal."""
  m = config.method
  models, scoring = {"policy": ModelRole()}, {}
  if m.kl_coefficient:
    models["reference"] = ModelRole(trained=False, starts_from="policy")
    scoring["ref_logprobs"] = ("reference", "logprobs")
  if one_of(m, "old_logprobs", ("sampler", "trainer")) == "trainer":
    scoring["old_logprobs"] = ("policy", "logprobs")
  return Method(
    curriculum=PROMPTS[one_of(m, "prompts", PROMPTS)](config.prompts_per_iteration, config.completions_per_prompt),
    rollout=responses(task, config.completions_per_prompt, sampling_from(config)),
    signal=signal,
    loss=loss_function(config, task),
    models=models,
    scoring=scoring,
    papers=papers,
  )
