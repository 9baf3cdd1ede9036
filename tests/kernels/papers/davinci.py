"""daVinci-LLM (arXiv 2603.27164): schedules, mixtures, question masking and protocols of evaluation."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import numpy as np
import optax

from rl_jax.kernels.analysis.agreement import order_reversals
from rl_jax.kernels.curricula import mixture
from rl_jax.kernels.losses.supervised import negative_log_likelihood
from rl_jax.kernels.reductions import aggregate, group_mean, masked_mean
from tests.kernels.kernel import quick_jit

STAGES = ("1-1", "1-2", "2-1", "2-2", "done")
REACHED = (0, 3.99e12, 4e12, 6.5e12, 7.2e12, 8e12)
"""Tokens of the outputs "stage", and below steps of the learning rates: the case has the results alone."""
STEPS = {"lr_1_1": (0, 1000, 2000, 69999), "lr_1_2": (0, 30000, 60000, 119209), "lr_2_2_decay": (0, 30000, 59605)}
RATES = {
  "lr_1_1": optax.warmup_constant_schedule(0.0, 3e-4, 2000),
  "lr_1_2": optax.cosine_decay_schedule(3e-4, 119209, alpha=0.1),
  "lr_2_2_decay": optax.cosine_decay_schedule(3e-5, 59605, alpha=0.1),
}


def compute(case, inputs):
  kinds = {"schedule": schedule, "allocation": allocation, "qa_mask": question_mask, "protocols": protocols}
  return kinds.get(case, rebalanced)(**inputs)


def last_size(steps):
  return mixture.batch_schedule(steps, starts=(0,), batch_sizes=(4096,))


def schedule(steps):
  sizes, tokens = quick_jit(mixture.batch_schedule)(steps)
  stages = quick_jit(mixture.stage_at)(jnp.array(REACHED))
  names = [STAGES[i] for i in stages.number.tolist()]
  rates = {name: quick_jit(RATES[name])(jnp.array(at, float)) for name, at in STEPS.items()}
  return rates | {
    "gbs": sizes,
    "tokens": tokens,
    "tokens_per_eval": quick_jit(last_size)(jnp.array([5000])).tokens[0],
    "stage": [list(pair) for pair in zip(names, stages.tokens, strict=True)],
  }


def allocation(batch, stages):
  allocate = quick_jit(partial(mixture.allocate_batch, batch=batch))
  return {name: allocate(jnp.array(shares)) for name, shares in stages.items()}


def question_mask(logprobs, answer_mask, mask):
  loss = quick_jit(lambda mask: aggregate(negative_log_likelihood(logprobs, mask), mask, mode="token_mean").value)
  return {"masked": loss(answer_mask * mask), "unmasked": loss(mask), "nothing_counted": loss(0 * mask)}


@quick_jit
def _rebalance(shares, histories, mask, threshold, shift, floor):
  return mixture.rebalance(shares, histories, mask, window=2, threshold=threshold, shift=shift, floor=floor)


def rebalanced(props, histories, window, threshold, shift, floor):
  """Histories of 5 evaluations, not all of which have been, so that one program serves all cases."""
  assert window == 2
  there = np.arange(5) < histories.shape[1]
  padded = jnp.zeros((3, 5), props.dtype).at[:, : histories.shape[1]].set(histories)
  found = _rebalance(props, padded, np.tile(there, (3, 1)), threshold, shift, floor)
  saturated = found.saturated.tolist() if found.known else None
  return {"props": found.shares, "saturated": saturated, "format_shift": bool(found.format_shift)}


def protocols(ppl, gen, scores, groups):
  every = jnp.ones(scores.shape)
  means = group_mean(scores, groups, every)
  reversals = quick_jit(order_reversals)(ppl, gen, jnp.ones(ppl.shape))
  first = [np.flatnonzero(np.asarray(groups) == group)[0] for group in np.unique(groups)]
  return {
    "reversals": np.argwhere(reversals),
    "averages": [means[np.array(first)], masked_mean(scores, every).value],
  }
