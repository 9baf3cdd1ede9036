from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages import segment
from rl_jax.kernels.reductions import whiten
from tests.kernels.kernel import Kernel

# A tool's answer (masked) between the first two cuts; the third uncertain token begins the second segment.
OLD_LOGPROBS = jnp.log(jnp.array([[0.95, 0.5, 0.2, 0.6, 0.99, 0.7, 0.3]]))
MASK = jnp.array([[1, 1, 0, 1, 1, 1, 1]])


def test_cuts_count_unmasked_tokens_only():
  segments = segment.cutpoint_segments(OLD_LOGPROBS, MASK, num_segments=3, interval=2)
  np.testing.assert_array_equal(segments.ids, [[-1, 0, 0, 0, 0, 1, 1]])
  np.testing.assert_array_equal(segments.starts, [[1, 4, 0]])
  np.testing.assert_array_equal(segments.mask, [[True, True, False]])


def test_long_responses_are_cut_as_by_a_loop():
  rng = np.random.default_rng(0)
  probabilities, mask = rng.random((4, 203)), rng.random((4, 203)) < 0.8
  mask[3] = False
  segments = segment.cutpoint_segments(jnp.log(jnp.float32(probabilities)), mask, num_segments=6, interval=20)
  for row, (p, exists) in enumerate(zip(probabilities, mask, strict=True)):
    uncertain = before = 0
    starts = []
    for t in range(203):
      if exists[t] and p[t] < 0.9:
        if uncertain % 20 == 0:
          starts.append(before)
        uncertain += 1
      before += exists[t]
      assert segments.ids[row, t] == min((uncertain - 1) // 20, 5)
    kept = starts[:6]
    np.testing.assert_array_equal(segments.starts[row], kept + [0] * (6 - len(kept)))
    np.testing.assert_array_equal(segments.mask[row], np.arange(6) < len(kept))


def test_certain_tokens_get_credit_only_on_request():
  args = jnp.array([[0.25, 0.75]]), jnp.array([0.5]), OLD_LOGPROBS, MASK
  np.testing.assert_allclose(segment.spo_chain(*args, interval=2).tokens, [[0, 0.5, 0, 0.5, 0, -0.25, -0.25]])
  everywhere = segment.spo_chain(*args, interval=2, tokens="all").tokens
  np.testing.assert_allclose(everywhere, [[0, 0.5, 0, 0.5, 0.5, -0.25, -0.25]])


def test_the_last_of_too_few_segments_runs_to_the_end():
  chain = segment.spo_chain(jnp.array([[0.25, 0.75]]), jnp.array([0.0]), OLD_LOGPROBS, MASK, interval=1)
  np.testing.assert_allclose(chain.segments, [[0.5, -0.75]])
  np.testing.assert_allclose(chain.tokens, [[0, 0.5, 0, -0.75, 0, -0.75, -0.75]])


def test_a_response_without_a_cut_has_no_credit():
  chain = segment.spo_chain(jnp.ones((1, 3)), jnp.ones(1), jnp.full((1, 4), -0.01), jnp.ones((1, 4)), tokens="all")
  assert not chain.tokens.any() and not chain.segments.any()


def test_whitening_is_that_of_the_uncertain_tokens():
  advantages = jnp.array([[9.0, 1.0, jnp.nan, -2.0, 5.0, 0.5, 0.0]])
  trained = segment.probability_mask(OLD_LOGPROBS, MASK)
  actual = segment.whiten_uncertain(advantages, OLD_LOGPROBS, MASK)
  np.testing.assert_allclose(jnp.where(trained, actual, 0), whiten(advantages, trained), rtol=1e-6)


def test_whitening_over_few_tokens():
  advantages = jnp.array([[1.0, 2.0, 6.0]])
  all_certain = jnp.full((1, 3), -0.01)
  everything = jnp.ones((1, 3))
  np.testing.assert_allclose(
    segment.whiten_uncertain(advantages, all_certain, everything), whiten(advantages, everything), rtol=1e-6
  )
  one = segment.whiten_uncertain(advantages, all_certain.at[0, 1].set(-1.0), everything)
  assert one[0, 1] == 0 and np.isfinite(one).all()


def test_errors():
  with pytest.raises(ValueError, match="unknown tokens 'cut'; known: uncertain, all"):
    segment.spo_chain(jnp.ones((1, 2)), jnp.ones(1), OLD_LOGPROBS, MASK, tokens="cut")
  with pytest.raises(ValueError, match="num_segments and interval start at 1, got 2 and 0"):
    segment.cutpoint_segments(OLD_LOGPROBS, MASK, num_segments=2, interval=0)


TOKENS = {"old_logprobs": "BT", "mask": "BT"}
CHAIN = {"cut_values": "BS", "rewards": "B", **TOKENS}

KERNELS = [
  Kernel(segment.probability_mask, TOKENS),
  Kernel(segment.cutpoint_segments, TOKENS, {"num_segments": 2, "interval": 2}, zero_masked=False),
  Kernel(segment.spo_chain, CHAIN, {"interval": 2}),
  Kernel(segment.spo_chain, CHAIN, {"interval": 1, "tokens": "all"}),
  Kernel(segment.whiten_uncertain, {"advantages": "BT", **TOKENS}, scope="batch"),
]
