"""V0.5's fusion of prior and samples, and V0's loss."""

from __future__ import annotations

from rl_jax.kernels.advantages import prior
from rl_jax.kernels.losses import prior_model
from tests.kernels.kernel import Kernel

ROWS = {"rewards": "B", "priors": "B", "group_ids": "B", "mask": "B"}
FUSED = {"mean": "B", "samples": "B", "prior": "B"}
PAIRS = {
  "positive_logits": "BC",
  "negative_logits": "BC",
  "positive_labels": "B",
  "negative_labels": "B",
  "mask": "B",
}
UNIT = lambda rng, shape: rng.random(shape).astype("float32")
DRAWS = {
  "samples": lambda rng, shape: rng.integers(0, 9, shape).astype("int32"),
  "positive_labels": UNIT,
  "negative_labels": UNIT,
  "labels": UNIT,
}
TWO = {"C": 2}

KERNELS = [
  Kernel(prior.fuse_prior, FUSED, {"noise_variance": 0.25}, mask=None, draws=DRAWS),
  Kernel(prior.prior_baseline, ROWS, scope="group"),
  Kernel(prior.v05, ROWS, scope="group"),
  Kernel(prior_model.score_labels, {"scores": "B"}, mask=None),
  Kernel(prior_model.prior_from_logits, {"logits": "BC"}, mask=None, sizes=TWO),
  Kernel(prior_model.query_pairs, {"labels": "BS", "mask": "BS"}, draws=DRAWS),
  Kernel(prior_model.v0_loss, PAIRS, gradients=("positive_logits", "negative_logits"), draws=DRAWS, sizes=TWO),
]
