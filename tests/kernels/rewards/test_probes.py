from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.rewards import probes
from tests.kernels.kernel import Kernel


def test_confidence_is_a_mean_over_answers_of_the_exponential_of_a_mean_over_tokens():
  entropies = jnp.log(jnp.array([[[2.0, 8.0], [4.0, 1e9]], [[1.0, 1.0], [1.0, 1.0]]]))
  mask = jnp.array([[[1, 1], [1, 0]], [[1, 1], [0, 0]]])
  # exp(-(log 2 + log 8) / 2) = 1/4 and 1/4; then one answer of certain tokens, and one without tokens, left out.
  np.testing.assert_allclose(probes.probe_confidence(entropies, mask), [0.25, 1.0], rtol=1e-6)


def test_accuracy_is_not_the_probability_of_the_whole_answer():
  logprobs = jnp.log(jnp.array([[0.5, 0.1, jnp.nan], [0.9, 0.9, 0.9]]))
  np.testing.assert_allclose(probes.probe_accuracy(logprobs, jnp.array([[1, 1, 0]] * 2)), [0.3, 0.9], rtol=1e-6)


def test_nothing_probed_is_zero():
  nothing = jnp.zeros((2, 3, 4))
  assert not probes.probe_confidence(nothing, nothing).any()
  assert not probes.probe_accuracy(nothing, nothing).any()


def test_the_potential_stays_between_minus_one_and_one():
  grid = jnp.linspace(0, 1, 21)
  accuracy, confidence = (jnp.repeat(grid, 21)[None], jnp.tile(grid, 21)[None])
  potential = probes.step_potential(accuracy, confidence, jnp.ones((1, 441)))
  assert potential.min() == -1 and potential.max() == 1
  # Being sure helps exactly where the right answer has more than 2/3.
  slope = potential.reshape(21, 21)[:, -1] - potential.reshape(21, 21)[:, 0]
  np.testing.assert_array_equal(slope > 0, grid > 2 / 3)


def test_shapes_are_checked():
  with pytest.raises(ValueError, match=r"step_potential: expected arrays of one shape \[B S\]"):
    probes.step_potential(jnp.ones((2, 3)), jnp.ones((2, 4)), jnp.ones((2, 3)))


KERNELS = [
  Kernel(probes.probe_confidence, {"entropies": "BSNL", "mask": "BSNL"}, sizes={"N": 2, "L": 3}),
  Kernel(probes.probe_accuracy, {"answer_logprobs": "BSM", "mask": "BSM"}, sizes={"M": 3}),
  Kernel(probes.step_potential, {"accuracy": "BS", "confidence": "BS", "mask": "BS"}),
]
