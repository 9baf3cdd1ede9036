"""SPO (arXiv 2505.23564): chain and tree advantages, whitening over the probability mask, the loss."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.advantages.segment import cutpoint_segments, probability_mask, spo_chain, whiten_uncertain
from rl_jax.kernels.advantages.tree import spo_tree
from rl_jax.kernels.losses.segment import spo
from rl_jax.kernels.reductions import group_mean, group_std
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  for kind, function in {"chain": chain, "tree": tree, "whiten": whitening, "loss": loss}.items():
    if case.startswith(kind):
      return function(**inputs)
  raise KeyError(case)


def chain(old_logprobs, mask, cut_values, final_reward, interval):
  # At most one segment per token; the reference lists only the segments that exist.
  room = mask.shape[0]
  values = jnp.pad(cut_values, (0, room - cut_values.shape[0]))[None]
  row = old_logprobs[None], mask[None]
  segments = quick_jit(lambda *row: cutpoint_segments(*row, num_segments=room, interval=interval))(*row)
  rewards = jnp.array([final_reward])
  credit = quick_jit(lambda *args: spo_chain(*args, interval=interval))(values, rewards, *row)
  exists = np.asarray(segments.mask)
  return {
    "cuts": np.asarray(segments.starts)[exists],
    "segment_ids": segments.ids[0] + 1,  # the reference counts from 1
    "segment_advantages": np.asarray(credit.segments)[exists],
    "advantages": credit.tokens[0],
  }


def tree(parent, leaf_reward, is_leaf, adv_method):
  scale = {"rloo": "none", "grpo": "group"}[adv_method]
  nodes = leaf_reward[None], parent[None], is_leaf[None], jnp.ones((1, parent.shape[0]), bool)
  result = quick_jit(lambda *nodes: spo_tree(*nodes, scale=scale))(*nodes)
  return {name: x[0] for name, x in result._asdict().items()}


def whitening(advantages, mask, old_logprobs):
  trained = probability_mask(old_logprobs, mask)
  # The reference shifts and scales padding too: with every slot unmasked, and padding certain, so does the kernel.
  padded = jnp.where(mask != 0, old_logprobs, 0.0)
  return {
    "whitened": quick_jit(whiten_uncertain)(advantages, padded, jnp.ones(mask.shape)),
    "mean": group_mean(advantages, None, trained),
    "var": group_std(advantages, None, trained) ** 2,
    "count": trained.sum(),
  }


def loss(logprobs, old_logprobs, ref_logprobs, advantages, mask):
  terms = quick_jit(spo)(logprobs, old_logprobs, ref_logprobs, advantages, mask)
  return {
    "pg_loss": terms.policy.value,
    "kl_loss": terms.kl.value,
    "loss": terms.total(),
    "count": terms.policy.weight,
  }
