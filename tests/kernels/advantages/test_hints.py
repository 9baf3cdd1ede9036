from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages import hints
from rl_jax.kernels.advantages.group import grpo
from tests.kernels.kernel import Kernel

# One prompt without and with a hint, rows shuffled; one with a single kind; an unscored row.
REWARDS = jnp.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, jnp.nan])
HINTED = jnp.array([0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1]) != 0
IDS = jnp.array([7] * 8 + [-3] * 3)
SCORED = jnp.array([True] * 10 + [False])
ARGS = REWARDS, HINTED, IDS, SCORED


def test_worked_example():
  expected = np.where(np.asarray(HINTED[:8]), 0.728500062802, -0.728500062802)
  expected[4], expected[5] = 1.201093549249, -1.201093549249
  np.testing.assert_allclose(hints.adhint(*ARGS)[:8], expected, rtol=1e-6)
  weights = hints.kind_weights(*ARGS)
  np.testing.assert_allclose(weights.plain[:8], np.exp(0.25), rtol=1e-6)
  np.testing.assert_allclose(weights.hinted[:8], np.exp(-0.25), rtol=1e-6)


@pytest.mark.parametrize("rewards", [REWARDS, 1 - REWARDS], ids=["hint helps", "hint harms"])
def test_outcomes_against_the_odds_of_their_kind_count_more(rewards):
  base = grpo(rewards, *ARGS[2:])
  gain = hints.adhint(rewards, *ARGS[1:])[:8] / base[:8]
  odd = np.isin(np.arange(8), [4, 5])
  np.testing.assert_allclose(gain, np.exp(np.where(odd, 0.25, -0.25)), rtol=1e-5)


def test_a_group_of_one_kind_and_beta_zero_are_grpo():
  plain = grpo(REWARDS, IDS, SCORED, singleton="zero")
  np.testing.assert_allclose(hints.adhint(*ARGS)[8:], plain[8:])
  np.testing.assert_allclose(hints.adhint(*ARGS, beta=0.0), plain)


def test_separate_bases_are_two_groups():
  ids = IDS + 100 * HINTED
  expected = grpo(REWARDS, ids, SCORED, singleton="zero")
  np.testing.assert_allclose(hints.adhint(*ARGS, base="separate", beta=0.0), expected, rtol=1e-6)


def test_all_wrong_without_and_all_right_with_a_hint_keeps_a_gradient():
  advantages = hints.adhint(HINTED[:8].astype(float), HINTED[:8], IDS[:8], SCORED[:8])
  np.testing.assert_array_equal(jnp.sign(advantages), jnp.where(HINTED[:8], 1, -1))
  assert not hints.adhint(jnp.ones(8), HINTED[:8], IDS[:8], SCORED[:8]).any()


def test_token_weights():
  entropies = jnp.array([[0.5, 4.0, 1.0, 3.0, jnp.nan]] * 4)
  hint = jnp.array([[1, 1, 0, 0, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 0]])
  mask = jnp.array([[1, 1, 1, 1, 0]] * 4)
  actual = hints.hint_token_weights(entropies, jnp.array([0.0, -1.0, -1.0, 2.0]), hint, mask)
  # Success, failure, no hint, no continuation.
  expected = [[0.25, 0.5, 1, 1, 0], [0, 0, 1, 1, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 0]]
  np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_an_unknown_base():
  with pytest.raises(ValueError, match="unknown base 'pooled'; known: joint, separate"):
    hints.adhint(*ARGS, base="pooled")


ROWS = {"rewards": "B", "hinted": "B", "group_ids": "B", "mask": "B"}
TOKENS = {"entropies": "BT", "advantages": "B", "hint_mask": "BT", "mask": "BT"}
DRAWS = {
  "hinted": lambda rng, shape: rng.random(shape) < 0.5,
  "entropies": lambda rng, shape: rng.random(shape).astype("float32"),
}

KERNELS = [
  Kernel(hints.kind_weights, ROWS, scope="group", zero_masked=False, draws=DRAWS),
  Kernel(hints.adhint, ROWS, scope="group", draws=DRAWS),
  Kernel(hints.adhint, ROWS, {"base": "separate"}, scope="group", draws=DRAWS),
  Kernel(hints.hint_token_weights, TOKENS, draws=DRAWS),
]
