from __future__ import annotations

import numpy as np

from rl_jax.kernels import segments
from tests.kernels.kernel import Kernel

RNG = np.random.default_rng(0)
X, MASK = RNG.normal(size=(3, 12)), RNG.random((3, 12)) < 0.7
IDS = np.sort(RNG.integers(-1, 4, (3, 12)), axis=1)


def test_sums_lengths_and_means_against_loops():
  tokens = [[X[b][(IDS[b] == s) & MASK[b]] for s in range(4)] for b in range(3)]
  args = IDS, MASK
  sums, means = (f(X, *args, num_segments=4) for f in (segments.segment_sum, segments.segment_mean))
  np.testing.assert_allclose(sums, [[x.sum() for x in row] for row in tokens], atol=1e-6)
  np.testing.assert_allclose(means, [[x.mean() if x.size else 0 for x in row] for row in tokens], atol=1e-6)
  np.testing.assert_array_equal(segments.segment_lengths(*args, num_segments=4), [[len(x) for x in r] for r in tokens])


def test_tokens_get_the_value_of_their_segment():
  values = RNG.normal(size=(3, 4)).astype(np.float32)
  expected = [[values[b, s] if s >= 0 and m else 0 for s, m in zip(IDS[b], MASK[b], strict=True)] for b in range(3)]
  np.testing.assert_array_equal(segments.on_tokens(values, IDS, MASK), expected)


def test_the_ends_of_contiguous_segments_are_their_last_tokens():
  ends = np.zeros((3, 12), bool)
  for b, s in np.ndindex(3, 4):
    slots = np.flatnonzero((IDS[b] == s) & MASK[b])
    ends[b, slots[-1:]] = True
  np.testing.assert_array_equal(segments.segment_ends(IDS, MASK), ends)


SEGMENTED = {"x": "BT", "segment_ids": "BT", "mask": "BT"}

KERNELS = [
  Kernel(segments.segment_sum, SEGMENTED, {"num_segments": 4}, gradients=("x",), zero_masked=False),
  Kernel(segments.segment_mean, SEGMENTED, {"num_segments": 4}, gradients=("x",), zero_masked=False),
  Kernel(segments.segment_lengths, {"segment_ids": "BT", "mask": "BT"}, {"num_segments": 4}, zero_masked=False),
  Kernel(segments.on_tokens, {**SEGMENTED, "x": "BS"}, gradients=("x",)),
  Kernel(segments.segment_ends, {"segment_ids": "BT", "mask": "BT"}),
  Kernel(segments.last_token, {"mask": "BT"}),
]
