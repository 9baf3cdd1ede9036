"""On-policy distillation, GKD and MiniLLM against reference numbers from the papers, TRL and tinker's cookbook."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from rl_jax.kernels.advantages import distillation, group
from rl_jax.kernels.logprobs.reference import categorical
from rl_jax.kernels.losses.distillation import forward_kl, generalized_jsd, reverse_kl
from rl_jax.kernels.losses.divergence import kl
from rl_jax.kernels.losses.policy import policy_gradient
from rl_jax.kernels.reductions import aggregate, masked_mean, per_token
from tests.kernels.kernel import quick_jit
from tests.kernels.papers.as_released import minillm_trl

SAMPLED = "tml_opd_sampled_tokens"
# The recipes leave the sum of later tokens on a masked slot; here masked slots hold 0.
MASKED = {
  (SAMPLED, name): "mask"
  for name in (
    "adv_discount_0.9",
    "adv_discount_1",
    "minillm_gamma0.9_coded",
    "minillm_gamma0.9_docstring",
    "minillm_gamma0.9_lengthnorm",
  )
}


def compute(case, inputs):
  kinds = {"sampler_logprobs": sampled, "student_logits": one_state, "mix_coef": grpo_and_mixed, "ddof": grpo}
  if "mask" in inputs and "student_logits" in inputs:
    return gkd(**inputs)
  kind = next(kind for name, kind in kinds.items() if name in inputs)
  scalars = {name: value for name, value in inputs.items() if not isinstance(value, jax.Array)}
  arrays = {name: value for name, value in inputs.items() if name not in scalars}
  outputs = quick_jit(partial(kind, **scalars))(**arrays)
  names = {"forward_kl", "reverse_kl", "jsd_0.5", "rkl_grad"}
  return {name: outputs[name] for name in names} if case == "identical_models" else outputs


def gkd(student_logits, teacher_logits, mask):
  """Names of the reference say beta and temperature: beta_0.5, beta_1_temp_0.7 (whose tokens it does not list)."""
  outputs = {}
  for name in ("beta_0", "beta_0.1", "beta_0.5", "beta_0.9", "beta_1", "beta_1_temp_0.7"):
    beta, _, temperature = name.removeprefix("beta_").partition("_temp_")
    losses = generalized_jsd(
      student_logits, teacher_logits, mask, beta=float(beta), temperature=float(temperature or 1)
    )
    outputs[name] = {"loss": aggregate(losses, mask, mode="token_mean").value}
    outputs[name] |= {} if temperature else {"per_token": losses}
  return outputs


def one_state(student_logits, teacher_logits):
  student, teacher, one = student_logits[None, None], teacher_logits[None, None], jnp.ones((1, 1))
  vocabulary = jnp.arange(student_logits.size)[None]
  all_tokens = jnp.ones(vocabulary.shape)

  def logprobs(logits):
    return categorical(jnp.broadcast_to(logits, (*vocabulary.shape, logits.size)), vocabulary).logprobs

  s, t = logprobs(student_logits), logprobs(teacher_logits)
  advantages = distillation.opd(s, t, all_tokens)

  def expected_loss(logits):
    """The mean over what the student samples, which is not differentiated."""
    losses = policy_gradient(logprobs(logits), s, advantages, all_tokens, clip="none").losses
    return (jnp.exp(s) * losses).sum()

  def value_and_gradient(divergence):
    value, gradient = jax.value_and_grad(lambda x: divergence(x, teacher, one)[0, 0])(student)
    return value, gradient[0, 0]

  (forward, forward_gradient), (reverse, reverse_gradient) = map(value_and_gradient, (forward_kl, reverse_kl))
  return {
    "forward_kl": forward,
    "reverse_kl": reverse,
    "jsd_0.5": generalized_jsd(student, teacher, one)[0, 0],
    "student_logprobs": s[0],
    "teacher_logprobs": t[0],
    "k1_reward_per_token": advantages[0],
    "fkl_grad": forward_gradient,
    "rkl_grad": reverse_gradient,
    "expected_opd_pg": -jax.grad(expected_loss)(student_logits),
  }


def sampled(sampler_logprobs, teacher_logprobs, logprobs, mask, coef):
  args = sampler_logprobs, teacher_logprobs, mask
  outputs = {}
  for discount in (0, 0.9, 1):
    advantages = distillation.opd(*args, coef=coef, discount=discount)
    losses = policy_gradient(logprobs, sampler_logprobs, advantages, mask, clip="none").losses
    outputs |= {
      f"adv_discount_{discount}": advantages,
      f"is_loss_sum_discount_{discount}": aggregate(losses, mask, mode="constant", constant=1).value,
      f"is_loss_mean_discount_{discount}": aggregate(losses, mask, mode="token_mean").value,
    }
  return {
    **outputs,
    "teacher_kl": masked_mean(kl(*args, value="k1"), mask).value,
    "minillm_gamma0.9_coded": minillm_trl(*args, discount=0.9),
    "minillm_gamma0.9_docstring": distillation.minillm(*args, discount=0.9),
    "minillm_gamma0.9_lengthnorm": minillm_trl(*args, discount=0.9, length_normalized=True),
  }


def grpo(rewards, group_ids, eps, ddof):
  args = rewards, group_ids, jnp.ones(rewards.shape, bool)
  return {"advantages": group.grpo(*args, eps=eps, ddof=ddof), "advantages_no_std": group.dr_grpo(*args)}


def grpo_and_mixed(
  rewards, group_ids, logprobs, old_logprobs, ref_logprobs, teacher_logprobs, mask, clip, kl_coef, mix_coef
):
  args = rewards, group_ids, jnp.ones(rewards.shape, bool)
  advantages = group.grpo(*args)
  bounds = dict(clip_low=clip, clip_high=clip)
  losses = policy_gradient(logprobs, old_logprobs, per_token(advantages, mask), mask, **bounds).losses
  loss = aggregate(losses, mask, mode="token_mean").value
  divergence = aggregate(kl(logprobs, ref_logprobs, mask, value="k3"), mask, mode="token_mean").value
  return {
    "advantages": advantages,
    "loss": loss + kl_coef * divergence,
    "pg": loss,
    "k3": divergence,
    "centred_reward_plus_opd": distillation.opd_with_rewards(
      *args, old_logprobs, teacher_logprobs, mask, coef=mix_coef
    ),
  }
