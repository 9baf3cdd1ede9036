from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.rewards import information_gain
from tests.kernels.kernel import Kernel

LOGPROBS = jnp.array([[[-2.0, -3.0, jnp.nan], [-1.0, -1.0, jnp.nan], [-1.5, -2.5, jnp.nan]]])
ANSWER, TURNS = jnp.array([[1, 1, 0]]), jnp.ones((1, 3))


@pytest.mark.parametrize(
  "gain, expected", [("prob_diff", [0.28579444, -0.23254416, 0.4]), ("log_prob_diff", [1.5, -1.0, 0.4])]
)
def test_the_worked_example(gain, expected):
  beliefs = information_gain.log_beliefs(LOGPROBS, TURNS, ANSWER)
  rewards = information_gain.information_gain_rewards(beliefs, jnp.array([0.4]), TURNS, gain=gain)
  np.testing.assert_allclose(rewards, [expected], rtol=1e-6)


def test_gains_telescope_from_the_prompt_to_the_last_belief():
  beliefs = -jnp.abs(jnp.array(np.random.default_rng(0).normal(size=(2, 6))))
  mask = jnp.arange(6) < jnp.array([6, 4])[:, None]
  rewards = information_gain.information_gain_rewards(beliefs, jnp.zeros(2), mask)
  pi = np.exp(beliefs)
  np.testing.assert_allclose(rewards.sum(axis=1), [pi[0, 5] - pi[0, 0], pi[1, 3] - pi[1, 0]], rtol=1e-5)


def test_degenerate_rows():
  # One turn: the outcome alone. No turn: nothing, whatever the outcome says. An empty answer: no gains.
  mask = jnp.array([[1, 0, 0], [0, 0, 0], [1, 1, 1]])
  beliefs = information_gain.log_beliefs(
    jnp.tile(LOGPROBS, (3, 1, 1)), mask, jnp.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]])
  )
  rewards = information_gain.information_gain_rewards(beliefs, jnp.array([0.4, jnp.nan, -2.0]), mask)
  np.testing.assert_allclose(rewards, [[0.4, 0, 0], [0, 0, 0], [0, 0, -2]], rtol=1e-6)


def test_the_curriculum_is_linear_and_clipped():
  weights = information_gain.curriculum_weights(jnp.array([-1.0, 0.0, 0.25, 1.0, 2.0]))
  np.testing.assert_allclose(weights.outcome, [0.5, 0.5, 0.625, 1, 1])
  np.testing.assert_allclose(weights.gain, [1, 1, 0.875, 0.5, 0.5])


def test_wrong_calls_say_what_is_wrong():
  with pytest.raises(ValueError, match="unknown gain 'logprob'; known: prob_diff, log_prob_diff"):
    information_gain.information_gain_rewards(jnp.zeros((1, 3)), jnp.zeros(1), TURNS, gain="logprob")
  with pytest.raises(ValueError, match=r"log_beliefs: expected answer_logprobs \[B S L\]"):
    information_gain.log_beliefs(LOGPROBS, TURNS, ANSWER[:, :2])


GAINS = {"beliefs": "BS", "outcome_rewards": "B", "mask": "BS"}

KERNELS = [
  Kernel(
    information_gain.log_beliefs,
    {"answer_logprobs": "BSL", "mask": "BS", "answer_mask": "BL"},
    sizes={"L": 3},
  ),
  Kernel(information_gain.information_gain_rewards, GAINS),
  Kernel(information_gain.information_gain_rewards, GAINS, {"gain": "log_prob_diff"}),
  Kernel(information_gain.curriculum_weights, {"progress": ""}, mask=None, scope="batch"),
]
