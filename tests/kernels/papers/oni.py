"""ONI: rewards from captions, and V-trace as its code computes it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.advantages.off_policy import vtrace
from rl_jax.kernels.losses.policy import policy_gradient
from rl_jax.kernels.losses.reward_model import binary_cross_entropy, bradley_terry
from rl_jax.kernels.losses.value import value_loss
from rl_jax.kernels.reductions import masked_mean, whiten
from rl_jax.kernels.rewards import intrinsic
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  kinds = {"messages": retrieval, "logits": classification, "batches": ranking, "values": chunk}
  if (kind := next((kind for name, kind in kinds.items() if name in inputs), None)) is not None:
    return kind(**inputs)
  return {"adv_norm": whiten(inputs["adv"], jnp.ones(3), form="appo")}


def retrieval(messages, episode_ids, table, beta, extrinsic, a_ext, a_int):
  texts = sorted({*messages, *table})
  captions = jnp.array([texts.index(text) for text in messages]).reshape(2, 4)
  assert (episode_ids.reshape(2, 4) == episode_ids[::4][:, None]).all()
  known, labels = jnp.array([texts.index(text) for text in table]), jnp.array([*table.values()])

  @quick_jit
  def rewards(captions, extrinsic):
    every = jnp.ones((2, 4))
    repeats = intrinsic.repeat_factors(captions, every, beta=beta)
    found = intrinsic.retrieved_rewards(captions, known, labels, jnp.ones(len(table)), every)
    options = {"extrinsic_weight": a_ext, "intrinsic_weight": a_int}
    mixed = intrinsic.oni_rewards(extrinsic, found.rewards, repeats.factors, every, **options)
    return *repeats, found.rewards, mixed, found.unlabelled

  *outputs, unlabelled = rewards(captions, extrinsic.reshape(2, 4))
  waiting = ["a", "b", "c", "d", "e"]  # the queue is not in the case
  next_ones = np.asarray(intrinsic.newest(jnp.ones((1, 5), bool), count=2))[0]
  return {
    **{name: x.ravel() for name, x in zip(("counts", "coeff", "intrinsic", "rewards"), outputs, strict=True)},
    "to_label": sorted({texts[i] for i in np.asarray(captions)[np.asarray(unlabelled)]}),
    "lifo": [
      [text for text, chosen in zip(waiting, next_ones, strict=True) if chosen == part] for part in (True, False)
    ],
  }


def classification(logits, labels, thresholds):
  every = jnp.ones((1, labels.size))
  rewards = {
    f"reward_{x:.1f}": intrinsic.classified_rewards(logits[None], every, threshold=x)[0] for x in thresholds.tolist()
  }
  losses = binary_cross_entropy((logits[:, 1] - logits[:, 0])[None], labels[None], every)
  return rewards | {"cross_entropy": masked_mean(losses, every).value}


def ranking(r1, r2, label, batches, threshold):
  every = jnp.ones(r1.size)
  outputs = {"loss": masked_mean(bradley_terry(r1, r2, label, every), every).value}
  statistics = jax.tree.map(lambda x: x.astype(r1.dtype), intrinsic.RewardStatistics.empty())
  for i, batch in enumerate(batches, start=1):
    rewards, mask = jnp.asarray(batch, r1.dtype)[None], jnp.ones((1, len(batch)))
    statistics = intrinsic.update_statistics(statistics, rewards, mask)
    outputs[f"rms_after_{i}"] = jnp.stack(statistics)
    outputs[f"reward_{i}"] = intrinsic.ranked_rewards(rewards, statistics, mask, threshold=threshold)[0]
  return outputs


@quick_jit
def _chunk(rewards, values, dones, ratio, mask):
  every = jnp.ones((1, values.size))
  rewards, values, ratio, mask = (x[None] for x in (rewards, values, ratio, mask))
  # The mask of valid steps is for the losses alone.
  found = vtrace(rewards, values, ratio, dones[None], every, discount=0.99)
  normalized = whiten(found.advantages, every, form="appo")
  policy = policy_gradient(jnp.log(ratio), 0 * ratio, normalized, mask, clip_low=1 - 1 / 1.1, clip_high=0.1)
  # The behaviour's values are not in the case: 1.5 below, so that the clip of 1 binds.
  losses = value_loss(values, values - 1.5, found.targets, mask, clip=1.0)
  return {
    "vs": found.targets[0],
    "adv": found.advantages[0],
    "adv_norm": normalized[0],
    "ppo_loss": masked_mean(policy.losses, mask).value,
    "value_loss": masked_mean(losses, mask).value,
  }


def chunk(gamma, clip, **arrays):
  assert (gamma, clip) == (0.99, 0.1)  # in all cases
  return _chunk(**arrays)
