from __future__ import annotations

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.analysis import planted_prover
from tests.kernels.kernel import Kernel

TARGET = jnp.array([3, 6, 0, 3, 5])


def follow(table, tokens):
  state = 0
  for token in tokens:
    state = table[state, token]
  return state


def occurs(response, target, eos):
  response = response[: response.index(eos)] if eos in response else response
  return any(response[i : i + len(target)] == target for i in range(len(response)))


@pytest.mark.parametrize("target", [(0, 0, 1), (0, 1, 0), (1, 1, 1), (0, 1, 0, 1)])
def test_match_states_against_search_in_every_response(target):
  table = np.asarray(planted_prover.match_transitions(jnp.array(target), vocab_size=3, eos=2))
  for response in itertools.product(range(3), repeat=6):
    assert (follow(table, response) == len(target)) == occurs(response, target, eos=2)


def test_values_are_the_sum_over_all_responses():
  target, length, gamma = (0, 1, 0), 5, 4.0
  table = np.asarray(planted_prover.match_transitions(jnp.array(target), vocab_size=3, eos=2))
  policy = np.asarray(planted_prover.prover_policy(jnp.array(target), vocab_size=3, gamma=gamma))
  np.testing.assert_allclose(policy[0], [4 / 6, 1 / 6, 1 / 6], rtol=1e-6)
  total = 0.0
  for response in itertools.product(range(3), repeat=length):
    if occurs(response, target, eos=2):
      total += np.prod([policy[follow(table, response[:t]), token] for t, token in enumerate(response)])
  values = planted_prover.prover_values(jnp.array(target), length=length, vocab_size=3, eos=2, gamma=gamma)
  assert values.shape == (length + 1, 5)
  assert values[length, 0].item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize(("gamma", "value"), [(10.0, 0.0455242), (50.0, 0.585071), (100.0, 0.815088)])
def test_values_of_the_paper_s_target(gamma, value):
  assert planted_prover.prover_values(TARGET, gamma=gamma)[10, 0].item() == pytest.approx(value, abs=1e-6)


def test_gaps_padding_and_the_end_token():
  tokens = jnp.array([[3, 99, 6, 0, 3, 5, 14], [3, 6, 0, 14, 3, 5, 99], [99] * 7])
  mask = jnp.array([[1, 0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 0], [0] * 7])
  planted = planted_prover.planted_values(tokens, TARGET, mask)
  np.testing.assert_allclose(planted.initial_values, np.full(3, 0.0455242253), rtol=1e-6)
  np.testing.assert_allclose(planted.values[0, :4], [0.0578635073, 0, 0.0938164390, 0.1886030283], rtol=1e-6)
  np.testing.assert_array_equal(planted.values[0, 5:], [1, 1])  # solved: the end token takes nothing back
  np.testing.assert_array_equal(planted.values[1, 3:], [0, 0, 0, 0])
  np.testing.assert_array_equal(planted.outcomes, [1, 0, 0])


def _target(rng, shape):
  return rng.integers(0, 2, shape).astype(np.int32)


# Tokens 0 and 1 are those of the target, so that prefixes of it occur.
TASK = {"draws": {"target": _target}, "sizes": {"L": 3, "V": 4}, "mask": None}
SMALL = {"vocab_size": 4, "eos": 3}

KERNELS = [
  Kernel(planted_prover.match_transitions, {"target": "L"}, SMALL, **TASK),
  Kernel(planted_prover.prover_policy, {"target": "L"}, {"vocab_size": 4}, **TASK),
  Kernel(planted_prover.prover_values, {"target": "L"}, {**SMALL, "length": 5}, **TASK),
  Kernel(
    planted_prover.planted_values,
    {"tokens": "BT", "target": "L", "mask": "BT"},
    {**SMALL, "length": 5},
    zero_masked=False,  # the value of the bare prompt belongs to rows without tokens too
    **TASK | {"mask": "mask"},
  ),
]
