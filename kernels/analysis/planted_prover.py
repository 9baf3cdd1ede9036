"""A task with exact values: produce a planted sequence, judged by a prover whose success follows from a small table.

The didactic task of PAV, arXiv 2410.08146. A response is correct if the target [L] occurs
contiguously before the end token. All that matters of a prefix is its match state: how many of its last tokens are the
first tokens of the target (the longest such number: not in the paper), L once the target has occurred, L + 1 once the
response ended without it.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import same_shape


def match_transitions(target: Int[Array, " L"], *, vocab_size: int = 15, eos: int = 14) -> Int[Array, "L+2 V"]:
  """The match state after each token in each state: from state k, the longest end of target[:k] + token that is a
  start of the target.

  States L and L + 1 stay as they are; the end token leads from any other state to L + 1.

  >>> print(match_transitions(jnp.array([1, 0]), vocab_size=3, eos=2))
  [[0 1 3]
   [2 1 3]
   [2 2 2]
   [3 3 3]]
  """
  length = target.shape[0]
  states, tokens, slots = jnp.arange(length), jnp.arange(vocab_size), jnp.arange(length)
  k, token, j, i = jnp.ix_(states, tokens, jnp.arange(length + 1), slots)
  # Slot i of the last j tokens is token k + 1 - j + i of the prefix, whose last token, k, is the new one.
  at = k + 1 - j + i
  suffix = jnp.where(at == k, token, target[jnp.clip(at, 0, length - 1)])
  matches = ((suffix == target) | (i >= j)).all(axis=3) & (j <= k + 1)[..., 0]
  longest = jnp.where(matches, jnp.arange(length + 1), 0).max(axis=2)
  running = jnp.where(tokens == eos, length + 1, longest)
  stopped = jnp.broadcast_to(jnp.array([[length], [length + 1]]), (2, vocab_size))
  return jnp.concatenate([running, stopped]).astype(jnp.int32)


def prover_policy(target: Int[Array, " L"], *, vocab_size: int = 15, gamma: float = 10.0) -> Float[Array, "L+2 V"]:
  """pi(token | match state): weight gamma on the next token of the target and 1 on each other token, normalised.

  PAV, arXiv 2410.08146; the unit weights are not in the paper, nor is the uniform policy in the two states
  that do not change any more. gamma 1 is uniform everywhere; the paper's supervised data come from gamma 5.

  >>> print(prover_policy(jnp.array([1, 0]), vocab_size=3, gamma=2.0))
  [[0.25       0.5        0.25      ]
   [0.5        0.25       0.25      ]
   [0.33333334 0.33333334 0.33333334]
   [0.33333334 0.33333334 0.33333334]]
  """
  following = jnp.concatenate([target, jnp.full(2, -1, target.dtype)])
  weights = jnp.where(following[:, None] == jnp.arange(vocab_size), jnp.asarray(gamma, float), 1)
  return weights / weights.sum(axis=1, keepdims=True)


def prover_values(
  target: Int[Array, " L"], *, length: int = 10, vocab_size: int = 15, eos: int = 14, gamma: float = 10.0
) -> Float[Array, "N L+2"]:
  """V(n, k) = sum_token pi(token | k) V(n - 1, next(k, token)): success with n = 0 .. length tokens left, N of them.

  PAV, arXiv 2410.08146: exact values of the prover by dynamic programming. V(n, L) = 1, V(n, L + 1) = 0,
  V(0, k) = 0 for all others.

  >>> print(prover_values(jnp.array([1]), length=2, vocab_size=3, eos=2, gamma=2.0))
  [[0.    1.    0.   ]
   [0.5   1.    0.   ]
   [0.625 1.    0.   ]]
  """
  following = match_transitions(target, vocab_size=vocab_size, eos=eos)
  policy = prover_policy(target, vocab_size=vocab_size, gamma=gamma)
  states = jnp.arange(target.shape[0] + 2)
  solved = (states == target.shape[0]).astype(policy.dtype)

  def step(values, _):
    expected = (policy * values[following]).sum(axis=1)
    values = jnp.where(states < target.shape[0], expected, solved)
    return values, values

  _, values = jax.lax.scan(step, solved, length=length)
  return jnp.concatenate([solved[None], values])


class PlantedValues(NamedTuple):
  """Values of the prover at the bare prompt (of rows without tokens too) and after each token; 0 in masked slots."""

  initial_values: Float[Array, " B"]
  values: Float[Array, "B T"]
  outcomes: Float[Array, " B"]
  """1 where the target occurs before the end token."""


def planted_values(
  tokens: Int[Array, "B T"],
  target: Int[Array, " L"],
  mask: Num[Array, "B T"],
  *,
  length: int = 10,
  vocab_size: int = 15,
  eos: int = 14,
  gamma: float = 10.0,
) -> PlantedValues:
  """The prover's probability to produce the target within `length` tokens, before and after each token of a response.

  PAV, arXiv 2410.08146. Masked slots hold no token of the response. `progress(values, initial_values,
  mask)` gives each token's advantage.

  >>> task = dict(length=2, vocab_size=3, eos=2, gamma=2.0)
  >>> planted = planted_values(jnp.array([[0, 1]]), jnp.array([1]), jnp.ones((1, 2)), **task)
  >>> print(planted.initial_values, planted.values, planted.outcomes)
  [0.625] [[0.5 1. ]] [1.]
  """
  same_shape("planted_values", "B T", tokens=tokens, mask=mask)
  following = match_transitions(target, vocab_size=vocab_size, eos=eos)
  table = prover_values(target, length=length, vocab_size=vocab_size, eos=eos, gamma=gamma)
  exists = mask != 0

  def step(state, inputs):
    token, exists_t = inputs
    state = jnp.where(exists_t, following[state, token], state)
    return state, state

  start = jnp.zeros(tokens.shape[0], jnp.int32)
  final, states = jax.lax.scan(step, start, (jnp.where(exists, tokens, 0).T, exists.T))
  left = jnp.maximum(length - jnp.cumsum(exists, axis=1), 0)
  values = jnp.where(exists, table[left, states.T], 0)
  return PlantedValues(
    jnp.broadcast_to(table[length, 0], start.shape), values, (final == target.shape[0]).astype(values.dtype)
  )
