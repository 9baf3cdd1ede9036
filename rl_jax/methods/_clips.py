"""Losses of the policy-gradient family by the name of their clip, from a config's section `method`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import FINITE
from rl_jax.kernels.losses.covariance import clip_cov, kl_cov
from rl_jax.kernels.losses.policy import PolicyLoss, cispo, policy_gradient
from rl_jax.kernels.losses.trust_region import dppo, gmpo, sapo, vespo
from rl_jax.methods.method import one_of
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """PPO's clip, with its kernel's bounds."""
  return {
    "clip": "ppo",  # or another of CLIPS
    "ratio": "token",  # or "sequence" (GSPO), "sequence_sum" (TRL's RLOO)
    "clip_low": None,  # None: the kernel's default: 0.2 and 0.2 for "ppo", the ratios 0 and 5 for "cispo"
    "clip_high": None,
    "dual_clip": None,  # a number c > 1: the loss of a negative advantage is at most c |A| (arXiv 1912.09729)
    "clip_options": {},  # further options of the clip's kernel by name, such as {"tau_negative": 1.1} for "sapo"
  }


Clipped = Callable[[Float[Array, "B T"], Trajectories, Float[Array, "B T"], Bool[Array, "B T"]], PolicyLoss]
"""(logprobs, trajectories, advantages, mask) -> per-token losses"""


class Clip(NamedTuple):
  """One loss of the family.

  Attributes:
    loss: kernel with the arguments of the kernel `policy_gradient`.
    arrays: further arguments, by name.
    compares_tokens: the loss compares all tokens of a minibatch with each other, so the minibatch must not be split.
  """

  loss: Callable[..., PolicyLoss]
  arrays: Callable[[Trajectories], dict[str, Array]] = lambda trajectories: {}
  compares_tokens: bool = False


def draws(trajectories: Trajectories) -> dict[str, Array]:
  """Uniform numbers [B, T], from a key derived from the trained tokens: equal batches get equal draws on any mesh."""
  tokens = jnp.where(trajectories.loss_mask, trajectories.tokens, 0).sum()
  return {"draws": jax.random.uniform(jax.random.fold_in(jax.random.key(0), tokens), trajectories.tokens.shape)}


CLIPS = {
  "ppo": Clip(partial(policy_gradient, clip="ppo")),
  "none": Clip(partial(policy_gradient, clip="none")),
  "cispo": Clip(cispo),
  "reinforce": Clip(partial(cispo, clip_low=1.0, clip_high=1.0)),
  "sapo": Clip(sapo),
  "gmpo": Clip(gmpo),
  "dppo_tv": Clip(dppo),
  "dppo_kl": Clip(partial(dppo, divergence="kl", clip_low=0.05, clip_high=0.05)),
  "vespo": Clip(vespo),
  "clip_cov": Clip(clip_cov, draws, compares_tokens=True),
  "kl_cov": Clip(kl_cov, compares_tokens=True),
}
_NAMED = ("clip", "divergence")
"""Options of a kernel that are fixed by its name in the table."""


def clipped_loss(config: ConfigDict) -> Clipped:
  """The loss that `method.clip` names, with the section's bounds and options. Raises ValueError for an option that it
  does not have."""
  m = config.method
  clip = CLIPS[one_of(m, "clip", CLIPS)]
  if clip.compares_tokens and (config.rows_per_microbatch or config.length_buckets > 1):
    raise ValueError(
      f"method.clip={m.clip!r} compares all tokens of a minibatch: leave rows_per_microbatch=None and length_buckets=1"
    )
  bounds = {name: m[name] for name in ("clip_low", "clip_high", "dual_clip") if m[name] is not None}
  options = bounds | ({"ratio": m.ratio} if m.ratio != "token" else {}) | dict(m.clip_options)
  parameters = inspect.signature(clip.loss).parameters.values()
  known = sorted(p.name for p in parameters if p.kind == p.KEYWORD_ONLY and p.name not in _NAMED)
  for name, value in options.items():
    if name not in known:
      raise ValueError(f"method.clip={m.clip!r} has no option {name!r}; it has {', '.join(known)}")
    if name != "ratio" and not FINITE.holds(value):
      raise ValueError(f"method.clip_options: {name} is {value!r}, want a finite number")
  return lambda logprobs, trajectories, advantages, mask: clip.loss(
    logprobs, trajectories.old_logprobs, advantages, mask, **clip.arrays(trajectories), **options
  )
