"""T-PPO (arXiv 2506.15050): extended GAE, masks, losses, and the schedule of successive batching."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.advantages.truncated import tppo
from rl_jax.kernels.curricula.batching import successive_batches, synchronous_tokens
from rl_jax.kernels.losses.policy import policy_gradient
from rl_jax.kernels.losses.value import value_loss
from rl_jax.kernels.reductions import aggregate
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  scalars = {name: value for name, value in inputs.items() if not isinstance(value, jax.Array)}
  arrays = {name: value for name, value in inputs.items() if name not in scalars}
  if "total_lengths" in inputs:
    return schedule(**inputs)
  return quick_jit(lambda arrays: training(**arrays, **scalars))(arrays)


def training(
  rewards,
  values,
  lengths,
  window_start,
  finished,
  gamma,
  lam,
  logprobs=None,
  old_logprobs=None,
  eps_low=None,
  eps_high=None,
  new_values=None,
):
  mask = jnp.arange(values.shape[1]) < lengths[:, None]
  estimate = tppo(rewards, values, mask, window_start, finished, discount=gamma, lam=lam)
  outputs = estimate._asdict()
  if logprobs is not None:
    losses = policy_gradient(
      logprobs, old_logprobs, estimate.advantages, estimate.policy_mask, clip_low=eps_low, clip_high=eps_high
    ).losses
    outputs["policy_loss"] = aggregate(losses, estimate.policy_mask, mode="token_mean").value
  if new_values is not None:
    losses = value_loss(new_values, values, estimate.returns, estimate.value_mask, clip=None)
    outputs["value_loss"] = aggregate(losses, estimate.value_mask, mode="token_mean").value
  return outputs


def schedule(total_lengths, batch_size, window, max_len):
  batches = successive_batches(total_lengths, num_slots=batch_size, window=window, max_length=max_len)
  return {
    "steps": records(batches),
    "n_steps": batches.num_steps,
    "tppo_sequential_tokens": batches.sequential_tokens,
    "sync_sequential_tokens": synchronous_tokens(total_lengths, num_slots=batch_size, max_length=max_len),
  }


def records(schedule):
  """The schedule as the reference has it: busy slots only, by prompt."""
  fields = [np.asarray(x) for x in schedule]
  steps = []
  for prompts, starts, ends, finished in zip(*fields, strict=True):
    busy = [
      {"prompt": int(p), "start": int(s), "end": int(e), "finished": bool(f)}
      for p, s, e, f in zip(prompts, starts, ends, finished, strict=True)
      if p >= 0
    ]
    if busy:
      steps.append(sorted(busy, key=lambda record: record["prompt"]))
  return steps
