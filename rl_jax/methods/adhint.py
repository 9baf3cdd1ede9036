"""ADHint: hints by difficulty, beside plain responses to the same prompts (arXiv 2512.13095).

Idea: a prompt that the policy never solves gives no signal. So some responses to each prompt continue a hint, the first
part of a reference solution; the fewer plain responses are right, the longer the hint. The success rates of both kinds
set the size of the credit, and the gradient on the hint, which the policy did not write, is weighted. With D_N and D_H
the shares of plain and of hinted responses that fail,

  w = (w_max - w_min) D_N + w_min + noise,   hint = the first floor(w L) of the L tokens of the solution
  a_i = (r_i - mean) / (std + eps) over all responses to the prompt,  rho_N = exp(beta (D_N - D_H) / 2) = 1 / rho_H
  A_i = a_i rho_own if a_i > 0,  a_i rho_other if a_i < 0
  g_t = min(H_t, H) / max(H_t, H) on hint tokens, H the mean entropy of the continuation; 0 if A_i < 0; 1 elsewhere
  loss = - mean over tokens, those of hints included, of g_t min(r_t A_i, clip(r_t) A_i)

If the hint made the prompt easier, a success without it counts more, and so does a failure with it. `hint_gradient`:
  modulated: g as above, the paper's consistency-based modulation with selective masking.
  consistency: without the masking; hints of failures are pushed down.
  selective: only the masking.
  full: 1 on all hint tokens.
  none: 0.
Fixed hints of half of each solution, pooled as by GRPO: w_min = w_max = 0.5, noise 0, beta 0, "full".

No sampler drew the hints, so the trainer computes `old_logprobs`, which also serve as behaviour logprobs on hints.
Rewards are in [0, 1]. Evaluation gives no hints.

Inferred, as only parts of the paper were read: floor, clip of w, the forms of a and rho, the ratio in g, the mean over
tokens, and all defaults. The last token of a solution is never given.

Metrics: those of policy_gradient.py, over hint tokens too, and
  plain_reward, hinted_reward: mean reward of each kind, and hint_gap, their difference; `reward` is the mean of both.
  hint_ratio, hint_length: w and the number of hint tokens, means over prompts.
  hint_weight: g, mean over hint tokens.
  hint_logprob: mean logprob of hint tokens before the update.
Config: experiments/adhint.py.
Source: second hand: formulas of w and the rules; the rest inferred.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import COUNT, NOT_NEGATIVE, SHARE
from rl_jax.kernels.advantages.hints import adhint, hint_token_weights
from rl_jax.kernels.reductions import Mean, masked_mean, per_token
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Loss, Method, Outputs, Signal, Stream, Streams, one_of
from rl_jax.rollouts.hints import hint_tokens, hinted
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """Options with as many hinted responses as plain ones; no number is the paper's."""
  return policy_gradient.get_config() | {
    "old_logprobs": "trainer",  # no other: hints have no sampler
    "hinted_completions": None,  # per prompt, beside completions_per_prompt plain ones; None: equally many
    "w_min": 0.0,  # share of the solution in the hint of a prompt that is always solved
    "w_max": 0.9,  # share for a prompt that is never solved
    "noise": 0.05,  # largest shift of the share, uniform for each prompt
    "base": "joint",  # mean and std over both kinds; or "separate"
    "beta": 1.0,  # exponent of the difficulty posterior; 0: advantages of GRPO
    "hint_gradient": "modulated",  # or "consistency", "selective", "full", "none"
  }


RANGES = {"w_min": SHARE, "w_max": SHARE, "noise": SHARE, "beta": NOT_NEGATIVE, "hinted_completions": COUNT.optional()}

HINT_GRADIENTS: dict[str, Callable[..., Float[Array, "B T"]]] = {
  "modulated": hint_token_weights,
  "consistency": lambda entropies, advantages, *masks: hint_token_weights(entropies, jnp.abs(advantages), *masks),
  "selective": lambda *arguments: (hint_token_weights(*arguments) > 0).astype(jnp.float32),
  "full": lambda entropies, advantages, hint, mask: mask.astype(jnp.float32),
  "none": lambda entropies, advantages, hint, mask: (mask & ~hint).astype(jnp.float32),
}
"""Weights g [B, T] from entropies [B, T], advantages [B], and the masks of hints and of all tokens, [B, T]."""


def build(config: ConfigDict, task: Task) -> Method:
  """ADHint from its section of a config. Raises ValueError for options, and for a task without solutions."""
  m, plain = config.method, config.completions_per_prompt
  one_of(m, "old_logprobs", ("trainer",))
  if m.w_min > m.w_max:
    raise ValueError(f"method.w_min={m.w_min} is above method.w_max={m.w_max}: hard prompts have longer hints")
  weights_of = HINT_GRADIENTS[one_of(m, "hint_gradient", HINT_GRADIENTS)]
  base, policy_loss = one_of(m, "base", ("joint", "separate")), policy_gradient.loss_function(config, task)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    scored, helped = trajectories.scored, trajectories.extras["hinted"]
    hint = hint_tokens(trajectories) & scored[:, None]
    mask = hint | (trajectories.trained & scored[:, None])
    advantages = adhint(trajectories.rewards, helped, trajectories.group_ids, scored, base=base, beta=m.beta)
    weights = weights_of(trajectories.extras["entropies"], advantages, hint, mask)
    stream = Stream(targets=per_token(advantages, mask) * weights, weights=mask.astype(jnp.float32))
    plain_reward, hinted_reward = (masked_mean(trajectories.rewards, kind & scored) for kind in (~helped, helped))
    metrics = {"hint_weight": masked_mean(weights, hint), "hint_logprob": masked_mean(trajectories.old_logprobs, hint)}
    metrics |= {"plain_reward": plain_reward, "hinted_reward": hinted_reward}
    metrics["hint_gap"] = Mean(hinted_reward.value - plain_reward.value, jnp.float32(1.0))
    return Signal({"policy": stream}, metrics)

  def loss(outputs: Outputs, trajectories: Trajectories, streams: Streams) -> Loss:
    written = jnp.where(hint_tokens(trajectories), trajectories.old_logprobs, trajectories.behaviour_logprobs)
    return policy_loss(outputs, trajectories.replace(behaviour_logprobs=written), streams)

  rollout = hinted(
    task, plain, m.hinted_completions or plain, sampling_from(config), low=m.w_min, high=m.w_max, noise=m.noise
  )
  return policy_gradient.method(
    config, task, signal, papers=("2512.13095",), requires=("hinted",), rollout=rollout, loss=loss,
    scoring={"entropies": ("policy", "entropies")},
  )  # fmt: skip
