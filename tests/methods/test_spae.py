"""SPAE: the spec's worked example from probes on, groups that are left out, and two iterations of training."""

from __future__ import annotations

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.methods import spae
from rl_jax.rollouts import probes
from rl_jax.tasks.task import ForcedAnswer
from tests.methods.batches import RESPONSE_TOKENS, batch_of, config_of
from tests.methods.counting import counted
from tests.methods.two_iterations import assert_whole, two_iterations

TASK = types.SimpleNamespace(
  response_tokens=RESPONSE_TOKENS, prompt_tokens=0, turns=None, marks_steps=True,
  forced_answer=ForcedAnswer((9,), lambda prompts: None),
)  # fmt: skip
ACCURACY = np.array([[0.2, 0.97, 0.99, 0.99], [0.2, 0.1, 0.02, 1.0]])
CONFIDENCE = np.array([[0.3, 0.98, 0.99, 0.99], [0.3, 0.6, 0.95, 1.0]])
STEP_IDS = [[0, 0, 1, 2, 2, 3], [0, 1, 1, 2, -1, -1]]
LOSS_MASK = [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]
WANTED = [
  [0.66405745, 0.66405745, 1.72582196, 0.44988871, 0.44988871, 0.32776789],
  [-0.89164178, -1.11169913, -1.11169913, -1.16644213, 0, 0],
]


def batch(repeat=1, loss_mask=LOSS_MASK, **fields):
  """The spec's group of two, with one-token answers and probes, `repeat` times as groups of their own."""
  again = lambda x: np.concatenate([np.asarray(x)] * repeat)
  extras = {
    "probe_mask": again([[1, 1, 1, 1], [1, 1, 1, 0]]).astype(bool),
    "probe_answer_logprobs": again(np.log(ACCURACY))[..., None].astype(np.float32),
    "probe_answer_mask": np.ones((2 * repeat, 1), bool),
    "probe_entropies": again(-np.log(CONFIDENCE))[..., None, None].astype(np.float32),
    "probe_sampled": np.ones((2 * repeat, 4, 1, 1), bool),
  }
  given = {"rewards": np.float32([1, 0] * repeat), "step_ids": again(STEP_IDS), "extras": extras}
  return batch_of(again(loss_mask), group_ids=np.repeat(np.arange(repeat), 2), **given | fields)


def signal_of(trajectories, **options):
  return spae.build(config_of("spae", **options), TASK).signal(trajectories, jnp.int32(0))


def stream_of(trajectories, **options):
  return signal_of(trajectories, **options).streams["policy"]


def test_the_worked_example_of_the_spec():
  streams, metrics = signal_of(batch())
  np.testing.assert_allclose(streams["policy"].targets, WANTED, atol=2e-5)
  np.testing.assert_array_equal(streams["policy"].weights, LOSS_MASK)
  potentials = np.array([[-0.11, 0.9309, 0.97515, 0.97515], [-0.11, -0.46, -0.9115, 0]])
  of_tokens = np.take_along_axis(potentials, np.array(STEP_IDS), axis=1)[np.array(LOSS_MASK, bool)]
  np.testing.assert_allclose(metrics["potential"].value, of_tokens.mean(), atol=1e-5)
  np.testing.assert_allclose(metrics["late_tokens"].value, 3 / 10)
  assert metrics["potential"].weight == metrics["late_tokens"].weight == 10


def test_the_tokens_of_the_answer_take_the_last_step_before_it():
  steps = [[0, 0, 1, 2, 2, 3], [0, 1, 1, 2, 3, 3]]
  whole = np.ones((2, 6), bool)
  targets = signal_of(batch(step_ids=steps, loss_mask=whole), normalization="none").streams["policy"].targets
  assert targets[1, 4] == targets[1, 5] == targets[1, 3] != 0


@pytest.mark.parametrize("groups", ["drop", "keep"])
def test_a_group_of_equal_rewards(groups):
  """Dropped, it changes nothing of the other group; kept, it has the bonus alone, which adds up to 0 over steps."""
  rows = batch(2, rewards=np.float32([1, 0, 1, 1]))
  stream = stream_of(rows, uninformative_groups=groups, normalization="none")
  if groups == "drop":
    alone = stream_of(batch(), normalization="none").targets
    np.testing.assert_allclose(stream.targets[:2], alone, atol=1e-6)
    assert not stream.weights[2:].any() and not stream.targets[2:].any()
  else:
    assert (stream.weights == rows.loss_mask).all()
    bonus = np.array([0, 0, 1, 1, 1, 1]) * stream.targets[2]
    np.testing.assert_allclose(bonus[3], bonus[4], atol=1e-6)
    assert stream.targets[2, 2] > 0 > stream.targets[2, 0]


def test_without_alpha_and_xi_it_is_the_whitened_reward():
  targets = np.asarray(stream_of(batch(), alpha=0.0, xi=0.0).targets)
  mask = np.array(LOSS_MASK, bool)
  plain = np.where(mask, [[0.5], [-0.5]], 0)[mask]
  np.testing.assert_allclose(targets[mask], (plain - plain.mean()) / plain.std(ddof=1), atol=1e-5)


def test_options_and_tasks_that_do_not_fit_are_one_line():
  with pytest.raises(ValueError, match="method.uninformative_groups is one of drop, keep, got 'none'"):
    signal_of(batch(), uninformative_groups="none")
  with pytest.raises(ValueError, match="no `forced_answer`"):
    spae.build(config_of("spae"), types.SimpleNamespace(response_tokens=4, turns=None, forced_answer=None))


def test_two_iterations_count_the_probes_and_agree_with_the_sampler():
  with counted(probes) as counts:
    done = two_iterations("spae", "method.probe_samples=2", "method.probe_tokens=2", "method.max_steps=2")
  assert sum(counts) > 0
  assert_whole(done._replace(sampled=done.sampled + sum(counts)))
  metrics = jax.tree.map(np.asarray, done.metrics)
  assert all((np.abs(m["potential"]) <= 1).all() and (m["late_tokens"] >= 0).all() for m in metrics)
