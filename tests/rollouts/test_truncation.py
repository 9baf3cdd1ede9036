"""Which tokens truncation leaves, by hand."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.logprobs import categorical
from rl_jax.rollouts.truncation import Truncation, truncate

PROBABILITIES = np.array([0.05, 0.4, 0.1, 0.3, 0.15])
"""In descending order: tokens 1, 3, 4, 2, 0."""


def kept(truncation, probabilities=PROBABILITIES, temperature=1.0):
  logits = jnp.log(jnp.asarray(probabilities, jnp.float32))[None]
  out = np.asarray(truncate(logits, temperature, truncation))[0]
  finite = np.isfinite(out)
  np.testing.assert_array_equal(out[finite], logits[0][finite])  # logits that stay are not touched
  assert np.all(np.isneginf(out[~finite]))
  return set(np.flatnonzero(finite).tolist())


@pytest.mark.parametrize(
  ("truncation", "tokens"),
  [
    (Truncation(), {0, 1, 2, 3, 4}),
    (Truncation(top_k=1), {1}),
    (Truncation(top_k=3), {1, 3, 4}),
    (Truncation(top_k=9), {0, 1, 2, 3, 4}),
    (Truncation(top_p=0.3), {1}),
    (Truncation(top_p=0.6), {1, 3}),
    (Truncation(top_p=0.8), {1, 3, 4}),
    (Truncation(top_p=1e-9), {1}),
    (Truncation(min_p=0.5), {1, 3}),  # at least 0.2
    (Truncation(min_p=0.2), {1, 2, 3, 4}),  # at least 0.08
    (Truncation(min_p=1.0), {1}),
    (Truncation(top_k=4, top_p=0.8, min_p=0.5), {1, 3}),  # what all of them leave
    (Truncation(top_k=2, min_p=0.01), {1, 3}),
  ],
)
def test_sets_by_hand(truncation, tokens):
  assert kept(truncation) == tokens
  assert truncation.active == (truncation != Truncation())


def test_temperature_comes_before_truncation():
  """At temperature 0.5 probabilities are squared: 0.55, 0.31, 0.08, 0.03, 0.01; at 2 they are 0.30, 0.26, 0.18, ..."""
  assert kept(Truncation(top_p=0.5), temperature=0.5) == {1}
  assert kept(Truncation(top_p=0.5), temperature=2.0) == {1, 3}
  assert kept(Truncation(min_p=0.5), temperature=0.5) == {1, 3}  # 0.09 / 0.16
  assert kept(Truncation(min_p=0.5), temperature=2.0) == {1, 2, 3, 4}  # sqrt(0.1 / 0.4) = 0.5


def test_what_is_left_sums_to_one():
  logits = jnp.log(jnp.asarray(PROBABILITIES, jnp.float32))[None]
  left = truncate(logits, 0.7, Truncation(top_k=3))
  every = categorical(jnp.repeat(left, 5, axis=0), jnp.arange(5), temperature=0.7)
  np.testing.assert_allclose(np.exp(every.logprobs).sum(), 1.0, atol=1e-6)
  powers = np.where(PROBABILITIES >= 0.15, PROBABILITIES, 0) ** (1 / 0.7)
  np.testing.assert_allclose(np.exp(every.logprobs), powers / powers.sum(), atol=1e-6)
  assert np.all(np.isfinite(every.entropies))


def test_ties_at_the_border_stay_together():
  assert kept(Truncation(top_k=1), [0.4, 0.4, 0.2]) == {0, 1}
  assert kept(Truncation(top_p=0.5), [0.25, 0.25, 0.25, 0.25]) == {0, 1, 2, 3}


def test_rows_are_truncated_each_on_its_own():
  rows = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3]]))
  left = np.isfinite(truncate(rows, 1.0, Truncation(top_p=0.65)))
  np.testing.assert_array_equal(left, [[True, False, False], [False, False, True], [True, True, True]])


@pytest.mark.parametrize(
  "fields", [{"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1}, {"min_p": -0.1}, {"min_p": 1.5}, {"top_p": float("nan")}]
)
def test_limits_that_make_no_sense_are_one_line(fields):
  with pytest.raises(ValueError, match=f"{next(iter(fields))}=") as error:
    Truncation(**fields)
  assert "\n" not in str(error.value)
