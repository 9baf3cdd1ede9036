from __future__ import annotations

from collections import Counter

import numpy as np

from rl_jax.kernels.retrieval import attacks
from tests.kernels.kernel import Kernel, compiled

RNG = np.random.default_rng(0)


def test_rates_against_loops_and_their_order():
  attacked, answers = RNG.random((12, 6)) < 0.2, RNG.random((12, 6)) < 0.3
  mask, ks = np.arange(12) < 10, (1, 3, 6)
  rates = compiled(attacks.attack_rates, ks=ks)
  found = [rate.sum / rate.weight for rate in rates(attacked, answers, mask)]
  for n, k in enumerate(ks):
    rows = list(zip(attacked[:10, :k], answers[:10, :k], strict=True))
    expected = [
      np.mean([any(has and not bad for bad, has in zip(*row, strict=True)) for row in rows]),
      np.mean([bad.any() for bad, _ in rows]),
      np.mean([has.any() and not bad.any() for bad, has in rows]),
    ]
    np.testing.assert_allclose([rate[n] for rate in found], expected, rtol=1e-6)
  hit, attack, safe = found
  assert (np.diff(hit) >= 0).all() and (np.diff(attack) >= 0).all()
  assert (safe <= hit).all() and (safe <= 1 - attack + 1e-6).all()
  assert not any(rate.weight.any() for rate in rates(attacked, answers, mask & False))


def test_confusion_sets_against_counts():
  correct, wrong = RNG.integers(0, 4, (2, 60))
  mask = RNG.random(60) < 0.9
  table = compiled(attacks.confusion_sets, vocab_size=4, min_count=3)(correct, wrong, mask)
  counts = Counter(pair for pair, m in zip(zip(correct, wrong, strict=True), mask, strict=True) if m)
  kept = {pair: count for pair, count in counts.items() if count >= 3}
  for v in range(4):
    total = sum(count for (word, _), count in kept.items() if word == v)
    np.testing.assert_allclose(table[v], [kept.get((v, w), 0) / total if total else 0 for w in range(4)], rtol=1e-6)


def test_expected_edits_are_those_asked_for_unless_there_are_fewer_words():
  confusions = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], np.float32)
  tokens, mask = np.array([[0, 1, 2, 0], [0, 3, 3, 3], [2, 3, 2, 3]]), np.array([[1, 1, 1, 0]] * 3)
  found = compiled(attacks.edit_probabilities)(tokens, confusions, np.array([1.0, 3.0, 2.0]), mask)
  np.testing.assert_allclose(found, [[0.5, 0.5, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])


FLAGS = lambda rng, shape: rng.random(shape) < 0.4


def _words(rng, shape):
  return rng.integers(0, 3, shape).astype(np.int32)


DRAWS = {"attacked": FLAGS, "has_answer": FLAGS, "correct": _words, "wrong": _words, "tokens": _words, "edits": _words}
DRAWS |= {"confusions": lambda rng, shape: (rng.random(shape) * [[1], [0], [1]]).astype(np.float32)}

KERNELS = [
  Kernel(
    attacks.attack_rates,
    {"attacked": "BS", "has_answer": "BS", "mask": "B"},
    {"ks": (1, 3)},
    scope="batch",
    draws=DRAWS,
  ),
  Kernel(
    attacks.confusion_sets,
    {"correct": "N", "wrong": "N", "mask": "N"},
    {"vocab_size": 3, "min_count": 2},
    draws=DRAWS,
    sizes={"N": 12},
  ),
  Kernel(
    attacks.edit_probabilities,
    {"tokens": "BT", "confusions": "KK", "edits": "B", "mask": "BT"},
    draws=DRAWS,
  ),
]
