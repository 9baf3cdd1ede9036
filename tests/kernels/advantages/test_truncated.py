from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages.returns import gae
from rl_jax.kernels.advantages.truncated import extended_gae, tppo
from tests.kernels.kernel import Kernel

VALUES = jnp.array([[0.2, 0.4, 9.0, 0.5, 0.7]] * 2)
MASK = jnp.array([[1, 1, 0, 1, 1]] * 2)
REWARDS = jnp.array([[0.0, 0.0, 9.0, 0.0, 0.0], [0.0, 0.0, 9.0, 0.0, 1.0]])
FINISHED = jnp.array([False, True])


def test_a_cut_response_telescopes_to_its_last_value():
  estimate = extended_gae(REWARDS, VALUES, MASK, FINISHED, lam=1.0)
  np.testing.assert_allclose(estimate.advantages, [[0.5, 0.3, 0, 0.2, 0], [0.8, 0.6, 0, 0.5, 0.3]], atol=1e-6)
  # The last residual of a cut response is (discount - 1) V.
  assert extended_gae(REWARDS, VALUES, MASK, FINISHED, discount=0.9).advantages[0, 4] == pytest.approx(-0.07)


def test_the_critics_own_value_at_the_cut_is_the_entry_after_the_last_token():
  """Of [0.2, 0.4, 0.5] and 0.7 after them: with lambda 1 a cut response telescopes to 0.7, not 0.5."""
  mask = jnp.array([[1, 1, 0, 1, 0]] * 2)
  last, following = (extended_gae(REWARDS, VALUES, mask, FINISHED, lam=1.0, at_cut=at) for at in ("last", "next"))
  np.testing.assert_allclose(last.advantages[0], [0.3, 0.1, 0, 0, 0], atol=1e-6)
  np.testing.assert_allclose(following.advantages[0], [0.5, 0.3, 0, 0.2, 0], atol=1e-6)
  np.testing.assert_array_equal(last.advantages[1], following.advantages[1])  # a real end has the value 0


def test_finished_responses_are_those_of_gae():
  everyone = jnp.ones(2, bool)
  actual, expected = (
    extended_gae(REWARDS, VALUES, MASK, everyone, discount=0.9),
    gae(REWARDS, VALUES, MASK, discount=0.9, lam=0.95),
  )
  np.testing.assert_array_equal(actual.advantages, expected.advantages)


def test_the_window_counts_tokens_and_needs_no_earlier_ones():
  starts = jnp.array([2, 2])
  estimate = tppo(REWARDS, VALUES, MASK, starts, FINISHED)
  np.testing.assert_array_equal(estimate.policy_mask, [[0, 0, 0, 1, 1]] * 2)
  np.testing.assert_array_equal(estimate.value_mask, [[0] * 5, [1, 1, 0, 1, 1]])
  alone = extended_gae(REWARDS[:, 3:], VALUES[:, 3:], MASK[:, 3:], FINISHED)
  np.testing.assert_allclose(estimate.advantages[:, 3:], alone.advantages, rtol=1e-6)
  response = tppo(REWARDS, VALUES, MASK, starts, FINISHED, tokens="response")
  np.testing.assert_array_equal(response.policy_mask, MASK)
  np.testing.assert_array_equal(response.advantages[:, 3:], estimate.advantages[:, 3:])
  assert response.advantages[:, 0].all()


def test_nothing_new_and_nothing_finished():
  estimate = tppo(REWARDS, VALUES, MASK, jnp.array([4, 7]), jnp.zeros(2, bool))
  assert not any(x.any() for x in estimate)


def test_an_unknown_option_lists_the_known():
  with pytest.raises(ValueError, match="unknown tokens 'all'; known: window, response"):
    tppo(REWARDS, VALUES, MASK, jnp.zeros(2, jnp.int32), FINISHED, tokens="all")


RESPONSES = {"token_rewards": "BT", "values": "BT", "mask": "BT", "finished": "B"}
DRAWS = {
  "finished": lambda rng, shape: rng.random(shape) < 0.5,
  "window_starts": lambda rng, shape: rng.integers(0, 3, shape).astype("int32"),
}

KERNELS = [
  Kernel(extended_gae, RESPONSES, {"discount": 0.9}, draws=DRAWS),
  Kernel(tppo, {**RESPONSES, "window_starts": "B"}, {"discount": 0.9}, draws=DRAWS),
  Kernel(tppo, {**RESPONSES, "window_starts": "B"}, {"tokens": "response"}, draws=DRAWS),
]
