"""Provers that judge a step: how well each tells actions apart, and the policy update that its advantages give.

PAV, arXiv 2410.08146. Arrays are [B, V]: B states, V actions; actions of probability 0 do not exist.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import masked_mean, zero_masked
from rl_jax.kernels.rewards.process import effective_rewards


class ProverDiagnostics(NamedTuple):
  """Both terms of the improvement bound of each state; 0 for a state without actions."""

  distinguishability: Float[Array, " B"]
  """Var_{a ~ pi}[A^mu]: 0 for a prover that solves everything or nothing."""
  alignment: Float[Array, " B"]
  """E_{a ~ pi}[A^mu A^pi]: negative where the prover prefers what the base policy cannot finish."""

  @property
  def bound(self) -> Float[Array, " B"]:
    """Sum of both terms, to which the improvement of one natural policy gradient step is at least proportional."""
    return self.distinguishability + self.alignment


def prover_diagnostics(
  probabilities: Float[Array, "B V"], prover_advantages: Float[Array, "B V"], base_advantages: Float[Array, "B V"]
) -> ProverDiagnostics:
  """Var_{a ~ pi}[A^mu(a)] and E_{a ~ pi}[A^mu(a) A^pi(a)] of every state.

  PAV, arXiv 2410.08146, theorem 3.1. `probabilities` belong to the base policy pi and need not sum to 1.

  >>> print(*prover_diagnostics(jnp.array([[0.5, 0.5]]), jnp.array([[0.5, -0.5]]), jnp.array([[0.25, -0.25]])))
  [0.25] [0.125]
  """
  arrays = dict(prover_advantages=prover_advantages, base_advantages=base_advantages)
  same_shape("prover_diagnostics", "B V", probabilities=probabilities, **arrays)
  prover, base = (zero_masked(x, probabilities) for x in arrays.values())
  expectation = lambda x: masked_mean(x, probabilities, axis=1).value
  variance = expectation(jnp.square(prover - expectation(prover)[:, None]))
  return jax.lax.stop_gradient(ProverDiagnostics(variance, expectation(prover * base)))


def natural_policy_gradient(
  probabilities: Float[Array, "B V"],
  values: Float[Array, "B V"],
  advantages: Float[Array, "B V"],
  *,
  learning_rate: float,
  alpha: float = 1.0,
) -> Float[Array, "B V"]:
  """pi'(a) proportional to pi(a) exp(learning_rate (Q^pi(a) + alpha A^mu(a))): one tabular update.

  PAV, arXiv 2410.08146, analysis of theorem 3.1; alpha 1 as in its didactic task. A state without actions gives 0.

  >>> probabilities, values = jnp.array([[0.5, 0.5, 0.0]]), jnp.log(jnp.array([[3.0, 1.0, 1.0]]))
  >>> print(natural_policy_gradient(probabilities, values, 0 * values, learning_rate=1.0).round(2))
  [[0.75 0.25 0.  ]]
  """
  exists = probabilities > 0
  scores = jnp.log(jnp.where(exists, zero_masked(probabilities, exists), 1))
  scores = scores + learning_rate * effective_rewards(values, advantages, exists, alpha=alpha)
  return jax.lax.stop_gradient(zero_masked(jax.nn.softmax(jnp.where(exists, scores, -jnp.inf), axis=1), exists))
