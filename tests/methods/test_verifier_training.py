"""Training of a verifier: labels and weights by hand, its loss, and a verifier that learns from a prover that stays."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.methods import verifier_training
from rl_jax.methods.method import ModelRole
from tests.methods.batches import TASK, batch_of, config_of
from tests.methods.two_iterations import two_iterations

MASK = np.array([[0, 1, 1, 1, 1], [0, 1, 1, 1, 1], [0, 1, 1, 1, 1]], bool)
VALUES = np.float32([[0.25, 0.75, 0.0, 0.0], [0.25, 0.25, 1.0, 0.0], [0.5, 0.5, 0.5, 0.5]])


def rows():
  """One that fails, with a pit at its third step; one of three steps that succeeds; and one without a verdict."""
  exists = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]], bool)
  starts = np.where(exists, [[0, 1, 2, 3], [0, 1, 3, 0], [0, 1, 2, 3]], 0)
  return batch_of(
    MASK, prompt_width=1, rewards=np.float32([0, 1, np.nan]), reward_mask=np.array([True, True, False]),
    extras={"cut_values": np.where(exists, VALUES, 0), "cut_mask": exists, "cut_starts": starts},
  )  # fmt: skip


def signal_of(**options):
  return verifier_training.build(config_of("verifier_training", **options), TASK).signal(rows(), jnp.int32(0))


def test_labels_stand_before_steps_and_their_classes_weigh_the_same():
  """Of six prefixes four are below one half and two are not: weights 6 / 8 and 6 / 4."""
  streams, metrics = signal_of()
  np.testing.assert_allclose(streams["verifier"].targets, [[0, 0.25, 0.75, 0, 0], [0, 0.25, 0.25, 0, 1], [0] * 5])
  np.testing.assert_allclose(
    streams["verifier"].weights, [[0, 0.75, 1.5, 0.75, 0], [0, 0.75, 0.75, 0, 1.5], [0] * 5], rtol=1e-6
  )
  np.testing.assert_allclose(metrics["promising"].value, 2 / 6, rtol=1e-6)


def test_without_a_pit_all_prefixes_are_kept():
  weights = np.asarray(signal_of(pit_threshold=2.0).streams["verifier"].weights)
  assert (weights[0, 1:] > 0).all() and not weights[2].any()


def test_the_loss_is_the_cross_entropy_of_soft_labels():
  method = verifier_training.build(config_of("verifier_training"), TASK)
  logits = np.random.default_rng(0).normal(size=MASK.shape).astype(np.float32)
  stream = signal_of().streams["verifier"]
  terms, metrics = method.loss({"verifier": {"values": logits}}, rows(), {"verifier": stream})
  p, q, w = 1 / (1 + np.exp(-logits)), np.asarray(stream.targets), np.asarray(stream.weights)
  wanted = np.sum(w * -(q * np.log(p) + (1 - q) * np.log(1 - p))) / w.sum()
  np.testing.assert_allclose(terms["verifier"].mean.value, wanted, rtol=1e-5)
  np.testing.assert_allclose(metrics["verifier_error"].value, np.sum(w * (p - q) ** 2) / w.sum(), rtol=1e-5)
  assert method.models["policy"] == ModelRole(trained=False)
  assert method.models["verifier"] == ModelRole(outputs=("values",), init_from="policy")


def test_two_iterations_move_the_verifier_and_leave_the_prover():
  done = two_iterations("verifier_training", "method.completions=2", "method.max_steps=2", of="no_reward")
  before, after = done.before.seeds.models, jax.device_get(done.trainer.state.seeds.models)
  jax.tree.map(np.testing.assert_array_equal, after["policy"].params, before["policy"].params)
  moved = jax.tree.map(lambda a, b: np.abs(a - b).max() > 0, after["verifier"].params, before["verifier"].params)
  assert all(jax.tree.leaves(moved))
  assert (done.metrics[-1]["loss/verifier"] > 0).all() and done.metrics[-1]["generated_tokens"].sum() == done.sampled
