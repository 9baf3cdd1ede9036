"""PDR's training loss: CISPO and imitation of the policy's own successes, on long traces and on refinement rounds."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.losses.policy import cispo
from rl_jax.kernels.losses.supervised import negative_log_likelihood
from rl_jax.kernels.reductions import Mean, aggregate, zero_masked


class ImitationLoss(NamedTuple):
  """The two parts of a batch's loss, with weights of their own: add over micro-batches before `value`."""

  policy: Mean
  imitation: Mean

  def value(self, *, alpha: float = 0.1) -> Float[Array, ""]:
    """policy + alpha imitation."""
    return self.policy.value + alpha * self.imitation.value


class Mixture(NamedTuple):
  """The losses of both halves of a batch."""

  trace: ImitationLoss
  """Rows that answer the prompt alone."""
  operator: ImitationLoss
  """Rows that answer prompt and workspace."""

  def value(self, *, alpha: float = 0.1, share: float = 0.5) -> Float[Array, ""]:
    """(1 - share) trace + share operator, whatever the number of rows or tokens of each; an empty half adds 0."""
    return (1 - share) * self.trace.value(alpha=alpha) + share * self.operator.value(alpha=alpha)


def cispo_with_imitation(
  logprobs: Float[Array, "B T"],
  old_logprobs: Float[Array, "B T"],
  advantages: Float[Array, "B T"],
  correct: Bool[Array, " B"],
  mask: Num[Array, "B T"],
  *,
  clip_low: float = 1.0,
  clip_high: float = 0.28,
) -> ImitationLoss:
  """-mean_t sg[clip(r_t, 1 - clip_low, 1 + clip_high)] A_t logp_t, and the mean over correct rows of -mean_t logp_t.

  PDR, arXiv 2510.01123: L = CISPO + alpha SFT. Clip bounds and the mean over all tokens of the batch are not in the
  paper; clip_low 1 leaves the lower side open, as MiniMax-M1 does. Advantages are GRPO's with ddof 0: 0 in a group that
  is all correct, which is then only imitated. Rows without tokens are not in I+; an empty I+ gives 0.

  >>> logprobs, mask = jnp.array([[-0.5, -1.0], [-0.2, 0.0]]), jnp.array([[1, 1], [1, 0]])
  >>> old, advantages = jnp.array([[-1.0, -1.0], [-0.2, 0.0]]), jnp.array([[1.0, 1.0], [-1.0, 0.0]])
  >>> loss = cispo_with_imitation(logprobs, old, advantages, jnp.array([True, False]), mask)
  >>> print(loss.policy.value.round(2), loss.imitation.value, loss.value().round(3))
  0.48 0.75 0.555
  """
  low, high = 1 - clip_low, 1 + clip_high
  losses = cispo(logprobs, old_logprobs, advantages, mask, clip_low=low, clip_high=high).losses
  imitated = zero_masked(mask, (correct != 0)[:, None])
  return ImitationLoss(
    aggregate(losses, mask, mode="token_mean"),
    aggregate(negative_log_likelihood(logprobs, imitated), imitated, mode="sequence_mean_token_mean"),
  )


def pdr_loss(
  logprobs: Float[Array, "B T"],
  old_logprobs: Float[Array, "B T"],
  advantages: Float[Array, "B T"],
  correct: Bool[Array, " B"],
  refined: Bool[Array, " B"],
  mask: Num[Array, "B T"],
  *,
  clip_low: float = 1.0,
  clip_high: float = 0.28,
) -> Mixture:
  """`cispo_with_imitation` of the rows of long traces and of those of one refinement round; L = 0.5 and 0.5 of them.

  PDR, arXiv 2510.01123, "operator-consistent" training. `refined` marks rows sampled from prompt and workspace; their
  groups share a workspace, and drafts are not trained on (the latter is not in the paper).

  >>> ones, args = jnp.ones((2, 1)), (jnp.array([True, True]), jnp.array([False, True]))
  >>> print(pdr_loss(-2 * ones, -2 * ones, 0 * ones, *args, ones).value())
  0.2
  """
  same_shape("pdr_loss", "B", correct=correct, refined=refined)
  halves = ((refined == 0)[:, None], (refined != 0)[:, None])
  return Mixture(
    *(
      cispo_with_imitation(
        logprobs, old_logprobs, advantages, correct, zero_masked(mask, half), clip_low=clip_low, clip_high=clip_high
      )
      for half in halves
    )
  )
