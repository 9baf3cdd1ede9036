"""PRIME: the worked example by equation 5, RLOO as its start, the loss of the PRM, and both orders of updates."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rl_jax.kernels.advantages.group import rloo
from rl_jax.kernels.reductions import per_token, whiten
from rl_jax.methods import prime
from rl_jax.methods.method import ModelRole
from tests.methods.batches import TASK, batch_of, config_of
from tests.methods.two_iterations import assert_whole, two_iterations
from tests.training import small

PRM = np.array([[9, -1.0, -0.5], [9, -2.0, -1.0], [9, -1.0, -1.0], [9, -1.0, 9]], np.float32)
REF = np.array([[9, -1.2, -0.9], [9, -1.5, -1.2], [9, -1.0, -1.0], [9, -1.5, 9]], np.float32)
MASK = np.array([[0, 1, 1], [0, 1, 1], [0, 1, 1], [0, 1, 0]], bool)


def batch(**fields):
  given = {"group_ids": [7, 7, 2, 2], "rewards": [1.0, 0.0, 0.0, 1.0], "ref_logprobs": REF}
  return batch_of(MASK, **given | fields)


def built(**options):
  return prime.build(config_of(prime, **options), TASK)


def signal_of(trajectories, prm=PRM, **options):
  return built(**options).signal(trajectories.with_extras(prm_logprobs=jnp.asarray(prm)), jnp.int32(0))


def test_the_worked_example_of_the_paper():
  first = batch(row_mask=[True, True, False, False])
  signal = signal_of(first)
  want = [[0, 0.96037524, 0.71812191], [0, -1.11610952, -0.56238763], [0] * 3, [0] * 3]
  np.testing.assert_allclose(signal.streams["policy"].targets, want, atol=1e-5)
  outputs = {"prm": {"logprobs": PRM}, "policy": {"logprobs": REF, "entropies": 0 * REF}}
  loss = built().loss(outputs, first, signal.streams)
  np.testing.assert_allclose(loss.terms["prm"].mean.value, 0.681967490819, rtol=1e-5)
  assert signal.metrics["prm_accuracy"].value == 1.0  # 0.03 beside -0.015


def test_a_prm_that_is_its_reference_gives_whitened_rloo():
  trajectories = batch(reward_mask=[True, True, True, False])
  rounded = REF * (1 + np.array([1e-6, -1e-6, 2e-6], np.float32))  # as far apart as two programs of one model are
  targets = signal_of(trajectories, prm=rounded).streams["policy"].targets
  mask = MASK & np.array([[1], [1], [1], [0]], bool)
  outcome = rloo(trajectories.rewards, trajectories.group_ids, trajectories.scored)
  np.testing.assert_array_equal(targets, whiten(per_token(outcome, jnp.asarray(mask)), jnp.asarray(mask)))


def test_the_prms_loss_moves_the_prm_alone():
  trajectories = batch()
  streams, method = signal_of(trajectories).streams, built()

  def total(outputs):
    return sum(t.coefficient * t.mean.value for t in method.loss(outputs, trajectories, streams).terms.values())

  policy = {"logprobs": jnp.zeros((4, 3)), "entropies": jnp.zeros((4, 3))}
  gradient = jax.grad(total)({"policy": policy, "prm": {"logprobs": jnp.asarray(PRM)}})["prm"]["logprobs"]
  scores = np.where(MASK, 0.05 * (PRM - REF), 0).sum(axis=1)
  rows = (1 / (1 + np.exp(-scores)) - np.asarray(trajectories.rewards)) * 0.05 / 4
  np.testing.assert_allclose(gradient, np.where(MASK, rows[:, None], 0), atol=1e-6)
  assert built(prm_update="before").loss({"policy": policy}, trajectories, streams).terms.keys() == {"policy"}


def test_the_pair_accuracy_is_that_of_whole_groups():
  """Group 7 is in order and group 2 too; read backwards neither is."""
  forwards, backwards = (signal_of(batch(), prm=prm).metrics["prm_accuracy"] for prm in (PRM, 2 * REF - PRM))
  assert (forwards.value, backwards.value) == (1.0, 0.0) and forwards.weight == backwards.weight == 2


def test_models_and_scoring_of_both_references_and_orders():
  frozen = ModelRole(trained=False, init_from="policy")
  after, own = built(prm_learning_rate=0.01), built(reference="policy")
  assert after.models["prm"] == ModelRole(init_from="policy", learning_rate=0.01)
  assert after.models["reference"] == frozen and "reference" not in own.models
  assert after.scoring == {"prm_logprobs": ("prm", "logprobs"), "ref_logprobs": ("reference", "logprobs")}
  assert own.scoring["ref_logprobs"] == ("policy", "logprobs")
  before = built(prm_update="before")
  assert before.models["prm"].loss is not None and before.scoring == after.scoring


def test_two_iterations_with_a_prm_that_learns_after_it_scored():
  done = two_iterations("prime", "method.prm_learning_rate=0.01", "optimizer.warmup_updates=0")
  assert_whole(done)
  models, before = done.trainer.state.seeds.models, done.before.seeds.models
  small.assert_same(models["reference"].params, before["reference"].params)
  small.assert_same(before["prm"].params, before["policy"].params)
  first, second = done.metrics
  np.testing.assert_allclose(first["loss/prm"], np.log(2), rtol=1e-6)
  np.testing.assert_array_equal(first["prm_accuracy"], 0.5)  # it scores all alike
  assert (second["loss/prm"] != first["loss/prm"]).all() and (first["prm/gradient_norm"] > 0).all()
  for metrics in done.metrics:
    assert ((0.2 <= metrics["reward"]) & (metrics["reward"] <= 0.8)).all()


@pytest.mark.slow
def test_two_iterations_with_a_prm_that_learns_before_it_scores():
  done = two_iterations(
    "prime", "method.prm_update=before", "method.prm_learning_rate=0.01", "optimizer.warmup_updates=0"
  )
  assert_whole(done)
  np.testing.assert_allclose(done.metrics[0]["prm/loss/prm"], np.log(2), rtol=1e-6)
  assert (done.metrics[0]["prm_accuracy"] > 0.5).all(), "it scores rows that it has just learned from"


@pytest.mark.slow
def test_without_learning_of_the_prm_every_iteration_is_whitened_rloo():
  """The control of the spec, in the trainer: the policy that comes out is that of a signal without a PRM."""

  def still(experiment):
    return dataclasses.replace(experiment, optimizers={**experiment.optimizers, "prm": optax.set_to_zero()})

  def without_prm(experiment):
    def signal(trajectories, iteration):
      zeros = jnp.zeros_like(trajectories.ref_logprobs)
      return experiment.method.signal(
        trajectories.replace(ref_logprobs=zeros).with_extras(prm_logprobs=zeros), iteration
      )

    return still(dataclasses.replace(experiment, method=dataclasses.replace(experiment.method, signal=signal)))

  ends = [
    two_iterations("prime", change=change).trainer.state.seeds.models["policy"] for change in (still, without_prm)
  ]
  small.assert_close(*ends, 1e-6)


@pytest.mark.parametrize(
  ("options", "said"),
  [
    ({"reference": "frozen"}, "method.reference is one of freeze, policy, got 'frozen'"),
    ({"prm_update": "never"}, "method.prm_update is one of after, before, got 'never'"),
  ],
)
def test_options_that_make_no_sense_are_refused(options, said):
  with pytest.raises(ValueError, match=said):
    built(**options)


def test_groups_of_one_are_refused():
  config = config_of(prime).copy_and_resolve_references()
  config.completions_per_prompt = 1
  with pytest.raises(ValueError, match="completions_per_prompt of 2 or more, got 1"):
    prime.build(config, TASK)
