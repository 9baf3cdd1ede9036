"""Efficiency leverage: the dense compute that one unit of mixture-of-experts compute replaces at equal loss.

arXiv 2507.17702: a law in the activation ratio A, the granularity G and the training compute C, which ranks layers
without training them. M is the non-embedding FLOPs per token of a forward pass, and C is M times the number of tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.reductions import widen, zero_masked


class ExpertShape(NamedTuple):
  """Variables of the law for one layer."""

  activation: float
  """(active + shared) / (routable + shared)."""
  sharing: float
  """shared / (active + shared)."""
  granularity: float
  """2 width of the model / width of an expert."""


class LeverageLaw(NamedTuple):
  """Coefficients, as fitted in the paper, and the bases of its logarithms."""

  a: float | Float[Array, ""] = 1.23
  d: float | Float[Array, ""] = -7.61e-2
  gamma: float | Float[Array, ""] = 1.67e-2
  beta: float | Float[Array, ""] = -1.17e-1
  start: float | Float[Array, ""] = 1.63e-2
  largest: float | Float[Array, ""] = 5.28e16
  compute_base: float = 10.0
  granularity_base: float = 2.0

  @property
  def best_granularity(self) -> Float[Array, ""]:
    """G* = base^(-beta / (2 gamma)), at any A and C: 11.3."""
    return self.granularity_base ** (-widen(jnp.asarray(self.beta)) / (2 * jnp.asarray(self.gamma)))


FITTED = LeverageLaw()


class Allocation(NamedTuple):
  """The best division of a compute budget: FLOPs per token, and tokens."""

  flops_per_token: Float[Array, "*N"]
  tokens: Float[Array, "*N"]


class Hyperparameters(NamedTuple):
  """Learning rate, and batch size in tokens."""

  learning_rate: Float[Array, "*N"]
  batch_tokens: Float[Array, "*N"]


def expert_shape(num_experts: int, num_active: int, num_shared: int, d_model: int, d_expert: int) -> ExpertShape:
  """Ratios of a layer of `num_experts` routable experts, `num_active` of them active for a token, and shared ones.

  arXiv 2507.17702, which recommends one shared expert, G from 8 to 12, 256 routable and 8 active experts. Other papers
  define G with a factor of 4.

  >>> print(expert_shape(255, 7, 1, 2048, 512))
  ExpertShape(activation=0.03125, sharing=0.125, granularity=8.0)
  """
  if not 0 < num_active <= num_experts or num_shared < 0 or min(d_model, d_expert) < 1:
    raise ValueError(
      "expert_shape: expected 0 < active <= routable, shared >= 0 and widths of at least 1, "
      f"got {num_active}, {num_experts}, {num_shared}, {d_model} and {d_expert}"
    )
  active = num_active + num_shared
  return ExpertShape(active / (num_experts + num_shared), num_shared / active, 2 * d_model / d_expert)


def efficiency_leverage(
  activation: Float[Array, "*N"],
  granularity: Float[Array, "*N"],
  compute: Float[Array, "*N"],
  law: LeverageLaw = FITTED,
) -> Float[Array, "*N"]:
  """EL = Ahat^(a + d log C + gamma log^2 G + beta log G), 1 / Ahat = 1 / (A + 1 / (1/start - 1/largest)) + 1 / largest.

  arXiv 2507.17702, equation 13; with its numbers Ahat = A + 0.0163. A dense model with EL times the FLOPs per token is
  as good. The paper's laws in A, G or C alone are this one with the others fixed. The bases of the logarithms, 10 for C
  and 2 for G, are inferred: only these give the paper's two examples. EL(A = 1) is 0.994, not 1, and is not clamped;
  fitted from A = 0.8 % to 1, G = 2 to 16, C = 1e18 to 6e20. A, G or C of 0 or less is an error unless it is traced.

  >>> print(efficiency_leverage(jnp.array(0.031), jnp.array(12.0), jnp.array(1e22)) > 7)
  True
  """
  for name, x in (("activation", activation), ("granularity", granularity), ("compute", compute)):
    if not isinstance(x, jax.core.Tracer) and (np.asarray(x, np.float64) <= 0).any():
      raise ValueError(f"efficiency_leverage: {name} must be above 0, got {np.asarray(x, np.float64).min()}")
  activation, granularity, compute = (widen(jnp.asarray(x)) for x in (activation, granularity, compute))
  size = jnp.log(compute) / np.log(law.compute_base)
  fineness = jnp.log(granularity) / np.log(law.granularity_base)
  exponent = law.a + law.d * size + law.gamma * jnp.square(fineness) + law.beta * fineness
  offset = 1 / (1 / jnp.asarray(law.start, size.dtype) - 1 / jnp.asarray(law.largest, size.dtype))
  saturated = 1 / (1 / (activation + offset) + 1 / jnp.asarray(law.largest, size.dtype))
  return jnp.exp(exponent * jnp.log(saturated))


def equivalent_compute(
  loss: Float[Array, "*N"], alpha: float | Float[Array, ""], beta: float | Float[Array, ""]
) -> Float[Array, "*N"]:
  """C = (alpha / L)^(1 / beta): the compute for a loss L in a family with the scaling law L = alpha C^-beta.

  arXiv 2507.17702: measured leverage is the dense family's C at a mixture's loss, divided by the mixture's own C.

  >>> print(equivalent_compute(jnp.array(2.0), 8.0, 0.5))
  16.0
  """
  return jnp.exp((jnp.log(alpha) - jnp.log(widen(loss))) / beta)


def leverage_fit(
  predicted: Float[Array, " B"], measured: Float[Array, " B"], mask: Num[Array, " B"], *, delta: float = 1e-3
) -> Float[Array, " B"]:
  """Huber loss of log EL: d^2 / 2 within delta, delta (|d| - delta / 2) beyond, d the difference of the logs.

  arXiv 2507.17702, fitted by BFGS on points with EL < 6 and validated on the others. Delta and the natural logarithm
  are inferred (Hoffmann et al.). The sum over points is minimised; masked points have 0.

  >>> print(leverage_fit(jnp.exp(jnp.array([3.0])), jnp.exp(jnp.array([1.0])), jnp.ones(1), delta=1.0).round(2))
  [1.5]
  """
  same_shape("leverage_fit", "B", predicted=predicted, measured=measured, mask=mask)
  logs = [jnp.log(jnp.where(mask != 0, widen(x), 1)) for x in (predicted, measured)]
  apart = jnp.abs(logs[0] - logs[1])
  # Each branch is finite everywhere, so that the select keeps gradients finite.
  return zero_masked(jnp.where(apart <= delta, jnp.square(apart) / 2, delta * (apart - delta / 2)), mask)


def compute_allocation(compute: Float[Array, "*N"], *, family: str = "moe") -> Allocation:
  """M = 0.1915 C^0.5095 and D = 5.2232 C^0.4905; `family` "dense": 0.0655 C^0.5422 and 15.2582 C^0.4578.

  arXiv 2507.17702.

  >>> print((compute_allocation(jnp.array(1e20)).tokens / 1e9).round())
  34.0
  """
  known_option("compute_allocation", "family", family, ("moe", "dense"))
  (m, m_exponent), (d, d_exponent) = {
    "moe": ((0.1915, 0.5095), (5.2232, 0.4905)),
    "dense": ((0.0655, 0.5422), (15.2582, 0.4578)),
  }[family]
  compute = widen(jnp.asarray(compute))
  return Allocation(m * compute**m_exponent, d * compute**d_exponent)


def moe_hyperparameters(compute: Float[Array, "*N"]) -> Hyperparameters:
  """lr = 1.1576 C^-0.1529 and batch = 0.0694 C^0.3644 tokens.

  arXiv 2507.17702. Tokens as the unit of the batch are inferred: both numbers of the paper's run then give the same C.

  >>> print((1e4 * moe_hyperparameters(jnp.array(1e20)).learning_rate).round())
  10.0
  """
  compute = widen(jnp.asarray(compute))
  return Hyperparameters(1.1576 * compute**-0.1529, 0.0694 * compute**0.3644)
