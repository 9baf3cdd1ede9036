"""DMoERM's reward model, loss and labels against reference numbers from its code, as the code intends them."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from rl_jax.kernels.layers import experts
from rl_jax.kernels.losses import ranking
from tests.kernels.kernel import quick_jit
from tests.kernels.papers.as_released import double_softmax_cross_entropy

ONE = jnp.ones(1)


def compute(case, inputs):
  if case == "swap_filter":
    return swap_filter(**inputs)
  kinds = {"hidden": router, "zs": fusion, "x": lora, "rank": preferences}
  kind = next(kind for name, kind in kinds.items() if name in inputs)
  scalars = {name: value for name, value in inputs.items() if not isinstance(value, jax.Array)}
  arrays = {name: value for name, value in inputs.items() if name not in scalars}
  outputs = quick_jit(partial(kind, **scalars))(**arrays)
  if case == "worked_example":
    pair = jnp.stack([outputs["reward"], jnp.zeros_like(outputs["reward"])])
    loss = ranking.pairwise_ranking(pair, jnp.array([1, 2]), jnp.zeros(2, int), jnp.ones(2))
    outputs["loss_vs_zero"] = loss.value
  return outputs


def swap_filter(pairs):
  answers = jnp.array([[answer or 0 for answer in pair] for pair in pairs])  # null: no answer was found
  ranks, kept = ranking.swap_consistent_ranks(answers[:, 0], answers[:, 1], jnp.ones(len(answers)))
  return {"labels": [rank if keep else None for rank, keep in zip(ranks.tolist(), kept.tolist(), strict=True)]}


def router(hidden, mask, W, b, label):
  z = experts.last_hidden(hidden[None], mask[None])
  routing = experts.router(z, W, b, ONE)
  labelled = routing.logits, jnp.array([label]), ONE
  return {
    "probs": routing.probs[0],
    "task": routing.tasks[0],
    "ce": experts.router_cross_entropy(*labelled)[0],
    "ce_double_softmax": double_softmax_cross_entropy(*labelled)[0],
  }


def fusion(zs, W1, b1, W2, b2, prelu_a):
  scalars = (jnp.asarray(x, zs.dtype) for x in (b2, prelu_a))
  return {"reward": experts.fused_reward(zs[None], W1, b1, W2, *scalars, ONE)[0]}


def lora(W, A, B, x, r, lora_alpha):
  assert A.shape[0] == r
  return {
    "y": experts.lora(x, W, A, B, lora_alpha=lora_alpha),
    "y_zero_B": experts.lora(x, W, A, jnp.zeros_like(B), lora_alpha=lora_alpha),
  }


def preferences(rewards, rank):
  group_ids, mask = jnp.zeros(rank.shape, int), jnp.ones(rank.shape, bool)
  return {
    "loss": ranking.pairwise_ranking(rewards, rank, group_ids, mask).value,
    "consistency": ranking.ranking_consistency(rewards, rank, group_ids, mask).value,
    "bon": jnp.argmax(ranking.best_of_n(rewards, group_ids, mask)),
  }
