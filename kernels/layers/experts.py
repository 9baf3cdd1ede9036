"""A reward model of two layers of experts: a sparse router over tasks, and within a task, experts that are all used.

DMoERM, arXiv 2403.01197. Phase 1 trains a task's backbone with one linear head, phase 2 a LoRA expert and head per
capability point on the frozen backbone, phase 3 the fusion of all frozen experts; the heads are then dropped. The
optimizer selects the parameters that a phase trains: these functions pass gradients to every argument. The loss of all
phases is `losses.ranking.pairwise_ranking`. Rows with mask 0 give 0.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import matching_axes
from rl_jax.kernels.logprobs.reference import categorical
from rl_jax.kernels.reductions import widen, zero_masked
from rl_jax.kernels.segments import last_token


class Routing(NamedTuple):
  """Logits and probabilities of the tasks, and the task of each row (the lowest index of ties)."""

  logits: Float[Array, "B Q"]
  probs: Float[Array, "B Q"]
  tasks: Int[Array, " B"]


def _affine(x, weight, bias):
  return widen(x) @ widen(weight).T + widen(bias)


def last_hidden(hidden: Float[Array, "B T D"], mask: Num[Array, "B T"]) -> Float[Array, "B D"]:
  """z: the hidden state of a row's last unmasked token; 0 for a row without tokens.

  >>> print(last_hidden(jnp.array([[[1.0, 2.0], [3.0, 4.0], [jnp.nan, 6.0]]]), jnp.array([[1, 1, 0]])))
  [[3. 4.]]
  """
  if hidden.ndim != 3 or hidden.shape[:2] != mask.shape:
    raise ValueError(f"last_hidden: expected hidden [B T D] and mask [B T], got {hidden.shape} and {mask.shape}")
  last = last_token(mask)
  return zero_masked(hidden, last[..., None]).sum(axis=1)


def router(
  z: Float[Array, "B D"], weight: Float[Array, "Q D"], bias: Float[Array, " Q"], mask: Num[Array, " B"]
) -> Routing:
  """p = softmax(W z + b); the task is the argmax. The probability does not weight the reward.

  DMoERM, arXiv 2403.01197, the outer layer. z comes from the user's queries alone. Q is 5 in the paper.

  >>> routing = router(jnp.array([[1.0, 2.0]]), jnp.eye(2), jnp.zeros(2), jnp.ones(1))
  >>> print(routing.logits, routing.tasks)
  [[1. 2.]] [1]
  """
  matching_axes("router", z=(z, "B D"), weight=(weight, "Q D"), bias=(bias, "Q"), mask=(mask, "B"))
  logits = zero_masked(_affine(zero_masked(z, mask[:, None]), weight, bias), mask[:, None])
  tasks = jnp.where(mask != 0, jnp.argmax(logits, axis=-1), 0).astype(jnp.int32)
  return Routing(logits, zero_masked(jax.nn.softmax(logits), mask[:, None]), tasks)


def router_cross_entropy(
  logits: Float[Array, "B Q"], labels: Int[Array, " B"], mask: Num[Array, " B"]
) -> Float[Array, " B"]:
  """-log p of the labelled task, per row.

  DMoERM, arXiv 2403.01197. Computed from logits; its code passes probabilities to a loss that applies softmax again.

  >>> print(router_cross_entropy(jnp.array([[0.0, 0.0]]), jnp.array([1]), jnp.ones(1)).round(4))
  [0.6931]
  """
  matching_axes("router_cross_entropy", logits=(logits, "B Q"), labels=(labels, "B"), mask=(mask, "B"))
  logits = zero_masked(logits, mask[:, None])
  return zero_masked(-categorical(logits, jnp.where(mask != 0, labels, 0)).logprobs, mask)


def lora(
  x: Float[Array, "*N D"],
  weight: Float[Array, "O D"],
  down: Float[Array, "R D"],
  up: Float[Array, "O R"],
  *,
  lora_alpha: float = 32.0,
) -> Float[Array, "*N O"]:
  """y = W0 x + lora_alpha / r B A x: an expert's low-rank change of a shared projection.

  LoRA, arXiv 2106.09685; DMoERM, arXiv 2403.01197, on the query and value projections with r = 32 and scale 1. `down`
  is A, `up` is B, which starts at 0: the expert then is the backbone. Dropout (0.05) belongs on the input of A.

  >>> print(lora(jnp.ones(2), jnp.eye(2), jnp.ones((1, 2)), jnp.array([[0.0], [0.5]]), lora_alpha=1.0))
  [1. 2.]
  """
  if weight.ndim != 2 or x.shape[-1:] != weight.shape[1:]:
    raise ValueError(f"lora: expected x [*N D] and weight [O D], got {x.shape} and {weight.shape}")
  matching_axes("lora", weight=(weight, "O D"), down=(down, "R D"), up=(up, "O R"))
  if not down.shape[0]:
    raise ValueError("lora: expected a rank of at least 1, got 0")
  x, weight, down, up = (widen(a) for a in (x, weight, down, up))
  return x @ weight.T + lora_alpha / down.shape[0] * (x @ down.T) @ up.T


def expert_rewards(
  zs: Float[Array, "B K D"], weights: Float[Array, "K D"], biases: Float[Array, " K"], mask: Num[Array, " B"]
) -> Float[Array, "B K"]:
  """reward_k = w_k . z_k + b_k: each expert's own linear head (phase 2); with one expert, that of phase 1.

  DMoERM, arXiv 2403.01197. Heads of phase 2 start as copies of phase 1's.

  >>> zs = jnp.array([[[1.0, 2.0], [3.0, 4.0]]])
  >>> print(expert_rewards(zs, jnp.array([[1.0, 1.0], [0.0, 2.0]]), jnp.array([0.0, 1.0]), jnp.ones(1)))
  [[3. 9.]]
  """
  matching_axes("expert_rewards", zs=(zs, "B K D"), weights=(weights, "K D"), biases=(biases, "K"), mask=(mask, "B"))
  zs = zero_masked(zs, mask[:, None, None])
  return zero_masked(jnp.einsum("bkd,kd->bk", zs, widen(weights)) + widen(biases), mask[:, None])


def fused_reward(
  zs: Float[Array, "B K D"],
  hidden_weight: Float[Array, "H KD"],
  hidden_bias: Float[Array, " H"],
  out_weight: Float[Array, " H"],
  out_bias: Float[Array, ""],
  slope: Float[Array, ""],
  mask: Num[Array, " B"],
) -> Float[Array, " B"]:
  """reward = W2 . PReLU(W1 concat(z_1 .. z_K) + b1) + b2, PReLU(v) = v if v >= 0, else slope v (phase 3).

  DMoERM, arXiv 2403.01197, after its code. `slope` is one learned number that starts at 0.25. The reward is unbounded.

  >>> zs, w1 = jnp.array([[[1.0, -1.0], [0.5, 2.0]]]), jnp.array([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, -1.0]])
  >>> args = jnp.array([0.0, 0.5]), jnp.array([2.0, 1.0]), jnp.array(-0.5), jnp.array(0.25), jnp.ones(1)
  >>> print(fused_reward(zs, w1, *args))
  [1.875]
  """
  if zs.ndim != 3 or hidden_weight.shape[1] != zs.shape[1] * zs.shape[2]:
    raise ValueError(f"fused_reward: expected zs [B K D] and weights [H K*D], got {zs.shape}, {hidden_weight.shape}")
  arrays = dict(hidden_weight=(hidden_weight, "H C"), hidden_bias=(hidden_bias, "H"), out_weight=(out_weight, "H"))
  matching_axes("fused_reward", zs=(zs, "B K D"), **arrays, mask=(mask, "B"))
  joined = zero_masked(zs, mask[:, None, None]).reshape(zs.shape[0], -1)
  before = _affine(joined, hidden_weight, hidden_bias)
  after = jnp.where(before >= 0, before, widen(jnp.asarray(slope)) * before)
  return zero_masked(after @ widen(out_weight) + widen(jnp.asarray(out_bias)), mask)
