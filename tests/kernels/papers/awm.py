"""Advantage weighted matching and the reverse steps of Flow-GRPO; the reference has times first, the kernels rows."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from rl_jax.kernels.advantages.group import grpo
from rl_jax.kernels.flow import matching, reverse_steps, times
from rl_jax.kernels.losses.policy import policy_gradient
from tests.kernels.kernel import quick_jit

NAMES = {"Uniform": "uniform"}


def compute(case, inputs):
  kinds = {"rewards": advantages, "pairs": schedules, "prev_sample": baseline, "noise": step, "adv": losses}
  kind = next((kind for name, kind in kinds.items() if name in inputs), worked)
  return kind(**inputs)


def advantages(rewards, group_ids):
  standardized = lambda scale: grpo(
    rewards, group_ids, jnp.ones(rewards.size, bool), scale=scale, ddof=0, eps=1e-4, singleton="zero"
  )
  overall = standardized("batch")
  return {
    "global_std": overall,
    "group_std": standardized("group"),
    "clipped_scaled": matching.bounded_advantages(overall),
    # Its advantages are no inputs of the case: beyond either bound, half of it, and none.
    "clip_extreme": matching.bounded_advantages(jnp.array([10.0, -10.0, 2.5, 0.0])),
  }


def worked(v_pred, x0, eps, t):
  every, at = jnp.ones(1), jnp.full(1, t)
  logprobs = lambda name: matching.matching_logprobs(
    v_pred[None, None], x0[None], eps[None, None], at, every, weighting=NAMES.get(name, name)
  )
  return {name: logprobs(name)[0, 0] for name in ("Uniform", "t", "t**2", "huber", "ghuber")}


def losses(v_pred, v_old, v_ref, v_ema, x0, eps, t, adv):
  every = jnp.ones(adv.size)
  by_row = lambda x: x.swapaxes(0, 1)
  ref, ema = by_row(v_ref), by_row(v_ema)

  def parts(v, old, weighting, **options):
    logprobs = lambda v: matching.matching_logprobs(
      v, x0, by_row(eps), t, every, weighting=NAMES.get(weighting, weighting)
    )
    loss = matching.MatchingLoss(
      matching.awm(logprobs(v), logprobs(old), adv, every, **options),
      *(matching.velocity_kl(v, other, t, every) for other in (ref, ema)),
    )
    found = {name: part.value for name, part in loss._asdict().items()}
    found["policy_loss"] = found.pop("policy")
    return found | {"loss": loss.value(), "logprob": logprobs(v).T}

  def gradient(v, weighting):
    """On-policy, of the sum over rows and times."""
    loss = lambda x: (
      matching.awm(
        *[
          matching.matching_logprobs(y, x0, by_row(eps), t, every, weighting=NAMES.get(weighting, weighting))
          for y in (x, jax.lax.stop_gradient(x))
        ],
        adv,
        every,
      ).sum
    )
    return jax.grad(loss)(v)[0, 0]

  @quick_jit
  def everything(v, old):
    if v_pred.shape[2] == 2:
      return {name: parts(v, old, name) for name in ("Uniform", "huber", "ghuber")}
    names = ("Uniform", "t", "t**2", "huber", "ghuber")
    found = {name: parts(v, old, name) for name in names}
    found |= {f"{name}_grad_k0b0": gradient(v, name) for name in names}
    return found | {
      "ghuber_sum_first": parts(v, old, "ghuber", order="sum_first"),
      "ghuber_clip_0.01": parts(v, old, "ghuber", clip=0.01),
      "ghuber_on_policy": parts(v, v, "ghuber"),
    }

  return everything(by_row(v_pred), by_row(v_old))


def baseline(x, v_new, v_old, v_ref, prev_sample, sigma, sigma_prev, adv):
  every = jnp.ones(adv.size)

  @quick_jit
  def loss(x, v_new, v_old, v_ref, prev_sample):
    new, old, ref = (
      reverse_steps.reverse_step(x, v, jnp.asarray(sigma), jnp.asarray(sigma_prev)) for v in (v_new, v_old, v_ref)
    )
    logprobs = [reverse_steps.step_logprobs(prev_sample, s.means, s.std, every)[:, None] for s in (new, old)]
    policy = policy_gradient(*logprobs, adv[:, None], every[:, None], clip_low=1e-4, clip_high=1e-4).losses.mean()
    kls = {"kl_with_dt": new.std, "kl_without_dt": new.diffusion}
    kls = {name: reverse_steps.step_kl(new.means, ref.means, std, every).mean() for name, std in kls.items()}
    return {name: {"policy_loss": policy, "kl": kl, "loss": policy + 0.04 * kl} for name, kl in kls.items()}

  return loss(x, v_new, v_old, v_ref, prev_sample)


def step(x, v, sigma, sigma_prev, noise_level, sigma_max, noise):
  options = {"noise_level": noise_level, "largest_sigma": sigma_max}

  @quick_jit
  def sampled(x, v, noise):
    found = reverse_steps.reverse_step(x[None], v[None], jnp.asarray(sigma), jnp.asarray(sigma_prev), **options)
    sample = found.means + found.std * noise
    return {
      "sample": sample[0],
      "mean": found.means[0],
      "step_std": found.std,
      "std_dev_t": found.diffusion,
      "logprob": reverse_steps.step_logprobs(sample, found.means, found.std, jnp.ones(1))[0],
    }

  return sampled(x, v, noise)


def schedules(pairs, num_steps, timestep_fraction, K, rand_u):
  assert rand_u.shape == (K,)
  indices = partial(times.training_indices, rand_u, num_steps=num_steps, fraction=timestep_fraction)
  return {
    "kappa": times.score_variance_gap(*pairs.T),
    # Its steps are no inputs of the case: the first, one on the way, and two at the bound.
    "ema_decay": matching.ema_decay(jnp.array([0, 50, 300, 1000])),
    "idx_discrete": indices(kind="discrete"),
    "idx_discrete_wo_init": indices(),
  }
