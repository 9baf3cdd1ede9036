"""Process advantage verifiers: a step's reward is the change in success probability under a prover policy.

PAV, arXiv 2410.08146. Steps are [B, S] with a mask. `values` [B, S] hold the probability of success after each step and
`initial_values` [B] that of the bare prompt, so the value of step h and that of the state it leads to are one number.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import Mean, masked_mean, per_token, widen, zero_masked
from rl_jax.kernels.segments import on_tokens


def monte_carlo_values(outcomes: Num[Array, "B S R"], mask: Num[Array, "B S R"]) -> Mean:
  """q_h = mean outcome of the rollouts from prefix h, with the number of rollouts as its weight [B, S].

  PAV, arXiv 2410.08146. `mask` is True on rollouts that exist. A prefix without rollouts has value 0 and
  weight 0: leave it out of the step mask.

  >>> print(monte_carlo_values(jnp.array([[[1.0, 0.0], [1.0, jnp.nan]]]), jnp.array([[[1, 1], [1, 0]]])).value)
  [[0.5 1. ]]
  """
  same_shape("monte_carlo_values", "B S R", outcomes=outcomes, mask=mask)
  return masked_mean(outcomes, mask, axis=2)


def best_of_k_values(values: Float[Array, "*B"], mask: Num[Array, "*B"], *, k: int = 4) -> Float[Array, "*B"]:
  """1 - (1 - q)^k: the success probability of the best of k completions by a policy whose probability is q.

  PAV, arXiv 2410.08146, remark 3.1: a cheap family of provers. Apply it to every prefix, before differences are taken.

  >>> print(best_of_k_values(jnp.array([0.5, 1.0]), jnp.ones(2), k=2))
  [0.75 1.  ]
  """
  return jax.lax.stop_gradient(1 - (1 - zero_masked(values, mask)) ** k)


def progress(
  values: Float[Array, "B S"], initial_values: Float[Array, " B"], mask: Num[Array, "B S"]
) -> Float[Array, "B S"]:
  """A_h = q_h - q_{h-1}, q_0 the value of the bare prompt: the advantage of step h under the prover.

  PAV, arXiv 2410.08146, equation 2. The last value may be the known outcome instead of an estimate (not in the paper).
  A masked step is left out: the next one takes the difference to the last prefix before it (not in the paper). Constant
  values, as of a prompt that is always or never solved, give exactly 0.

  >>> print(progress(jnp.array([[0.75, 0.25]]), jnp.array([0.5]), jnp.ones((1, 2))))
  [[ 0.25 -0.5 ]]
  """
  same_shape("progress", "B S", values=values, mask=mask)
  q = jnp.concatenate([widen(initial_values)[:, None], zero_masked(values, mask)], axis=1)
  # Slot h + 1 of q holds the prefix after step h, slot 0 the prompt.
  newest = jax.lax.cummax(jnp.where(mask != 0, jnp.arange(1, q.shape[1]), 0), axis=1)
  previous = jnp.concatenate([jnp.zeros_like(newest[:, :1]), newest[:, :-1]], axis=1)
  return jax.lax.stop_gradient(zero_masked(q[:, 1:] - jnp.take_along_axis(q, previous, axis=1), mask))


def effective_rewards(
  values: Float[Array, "B S"], advantages: Float[Array, "B S"], mask: Num[Array, "B S"], *, alpha: float = 0.5
) -> Float[Array, "B S"]:
  """Q^pi + alpha A^mu: the value of a step under the base policy, and its progress under the prover.

  PAV, arXiv 2410.08146, equation 5. `values` belong to the base policy, `advantages` (`progress`) to the prover. The
  paper's search takes alpha 0.5, and 0.2 for its largest model; its RL takes 3 to 5.

  >>> print(effective_rewards(jnp.array([[0.5, 0.25]]), jnp.array([[0.25, -0.5]]), jnp.ones((1, 2))))
  [[0.625 0.   ]]
  """
  same_shape("effective_rewards", "B S", values=values, advantages=advantages, mask=mask)
  return jax.lax.stop_gradient(zero_masked(values, mask) + alpha * zero_masked(advantages, mask))


def token_weights(
  outcomes: Float[Array, " B"],
  advantages: Float[Array, "B S"],
  segment_ids: Int[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  baselines: Float[Array, "B T"] | None = None,
  alpha: float = 5.0,
) -> Float[Array, "B T"]:
  """w_t = R(y) + alpha A^mu_{step of t} - b_t: what multiplies the score of token t.

  PAV, arXiv 2410.08146, equation 5, with the outcome R(y) as the estimate of Q^pi. The loss is -w_t logp_t, aggregated
  by "token_mean" (not in the paper). The progress of later steps is NOT summed: the objective takes its states from the
  old policy, and the sum telescopes to the outcome minus a baseline (pass `discounted_sums(advantages, step_mask)` to
  see it). alpha is 5 for the paper's 2B model, 3 for 9B. `baselines` predict R + alpha A, default 0. Tokens of no
  segment get R(y) - b_t.

  >>> print(token_weights(jnp.array([1.0]), jnp.array([[0.25, -0.5]]), jnp.array([[0, 0, 1]]), jnp.array([[1, 1, 1]])))
  [[ 2.25  2.25 -1.5 ]]
  """
  same_shape("token_weights", "B T", segment_ids=segment_ids, mask=mask)
  weights = per_token(outcomes, mask) + alpha * on_tokens(advantages, segment_ids, mask)
  return jax.lax.stop_gradient(weights if baselines is None else weights - zero_masked(baselines, mask))


class FirstPit(NamedTuple):
  """Step at which a failed trace became hopeless, and the prefixes to keep as training data for a verifier."""

  step: Int[Array, " B"]
  """Index of the first pit; of the last step where there is none; 0 in a row without steps."""
  found: Bool[Array, " B"]
  keep: Bool[Array, "B S"]
  """Unmasked steps up to and including `step`."""


def first_pit(values: Float[Array, "B S"], mask: Num[Array, "B S"], *, high: float = 0.5) -> FirstPit:
  """The first step of value 0 after one of value >= `high`; later prefixes teach a verifier nothing.

  PAV, arXiv 2410.08146, data collection; meant for failed traces. The threshold is not in the paper, nor is
  keeping all prefixes of a trace without a pit.

  >>> pit = first_pit(jnp.array([[0.0, 0.6, 0.2, 0.0, 0.0]]), jnp.ones((1, 5)))
  >>> print(pit.step, pit.keep)
  [3] [[ True  True  True  True False]]
  """
  same_shape("first_pit", "B S", values=values, mask=mask)
  exists, values, slots = mask != 0, zero_masked(values, mask), jnp.arange(mask.shape[1])
  promising = jnp.cumsum(exists & (values >= high), axis=1) > 0
  pits = exists & promising & (values == 0)
  has_pit = pits.any(axis=1)
  step = jnp.where(has_pit, jnp.argmax(pits, axis=1), jnp.where(exists, slots, 0).max(axis=1)).astype(jnp.int32)
  return FirstPit(step, has_pit, exists & (slots <= step[:, None]))
