"""SPO: signal and loss by hand, what the paper promises of both, and two iterations through the trainer."""

from __future__ import annotations

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.losses.segment import spo
from rl_jax.methods import spo_chain, spo_tree
from rl_jax.trajectories import REPLAY
from tests.methods import batches
from tests.methods.batches import batch_of, config_of
from tests.methods.two_iterations import assert_whole, two_iterations

TASK = types.SimpleNamespace(**vars(batches.TASK), prompt_tokens=1)
# The worked example of the authors' rule, after a prompt of one slot: cuts at 1, 4 and 8, of which the policy was sure
# at 0, 2, 5 and 7; and a second response, one short and right.
PROBABILITIES = np.array([[1, 0.95, 0.5, 0.99, 0.6, 0.7, 0.98, 0.3, 0.92, 0.8, 0.85], [1, 0.5, 0.4] + [1] * 8])
MASK = np.array([[0] + [1] * 10, [0, 1, 1] + [0] * 8], bool)
OLD = np.log(PROBABILITIES).astype(np.float32)
CHAIN = np.array([[0, 0, -1 / 3, 0, -1 / 3, 2 / 3, 0, 2 / 3, 0, -1, -1], [0, 0.25, 0.25] + [0] * 8])
UNCERTAIN = MASK & (PROBABILITIES < 0.9)
VALUES = [[2 / 3, 1 / 3, 1], [0.75, 0, 0]]
RNG = np.random.default_rng(0)
OUTPUTS = {
  "policy": {
    "logprobs": OLD + RNG.normal(size=OLD.shape).astype(np.float32) * 0.3,
    "entropies": np.ones(OLD.shape, np.float32),
  }
}


def batch(**fields):
  given = {"rewards": [0.0, 1.0], "old_logprobs": OLD, "ref_logprobs": OLD - 0.1, "extras": {"cut_values": VALUES}}
  return batch_of(MASK, **given | fields)


def built(module, **options):
  options = {"segment_tokens": 1, **options} if module is spo_tree else options
  return module.build(config_of(module.__name__.rsplit(".")[-1], **options), TASK)


def stream_of(method, trajectories):
  return method.signal(trajectories, jnp.int32(0)).streams["policy"]


def whitened(advantages, mask):
  values = advantages[mask]
  return np.where(mask, (advantages - values.mean()) / np.sqrt(values.var(ddof=1) + 1e-8), 0)


def test_credit_of_a_chain_by_hand():
  found = stream_of(built(spo_chain, interval=2, max_segments=3, whiten=False), batch())
  np.testing.assert_allclose(found.targets, CHAIN, atol=1e-6)
  np.testing.assert_array_equal(found.weights, UNCERTAIN)
  found = stream_of(built(spo_chain, interval=2, max_segments=3), batch())
  np.testing.assert_allclose(found.targets, whitened(CHAIN, UNCERTAIN), atol=1e-5)


def test_without_the_probability_mask_segments_keep_their_credit():
  found = stream_of(built(spo_chain, interval=2, max_segments=3, whiten=False, probability_mask=False), batch())
  expected = [[0, 0] + [-1 / 3] * 3 + [2 / 3] * 4 + [-1] * 2, CHAIN[1]]
  np.testing.assert_allclose(found.targets, expected, atol=1e-6)
  np.testing.assert_array_equal(found.weights, MASK)


def test_credit_of_edges_by_hand():
  """Every token of an edge alike; the second edge goes on, and so has no verdict."""
  trajectories = batch(
    extras={"edge_advantages": [-0.5, 0.25]}, reward_mask=np.array([True, False]), unfinished=np.array([False, True])
  )
  edges = np.where(UNCERTAIN, [[-0.5], [0.25]], 0)
  np.testing.assert_allclose(stream_of(built(spo_tree, whiten=False), trajectories).targets, edges)
  np.testing.assert_allclose(stream_of(built(spo_tree), trajectories).targets, whitened(edges, UNCERTAIN), atol=1e-5)


@pytest.mark.parametrize("module", [spo_chain, spo_tree])
def test_the_loss_is_the_paper_s(module):
  trajectories = batch(extras={"cut_values": VALUES, "edge_advantages": [-0.5, 0.25]})
  options = {"interval": 2, "max_segments": 3} if module is spo_chain else {}
  method = built(module, kl_coefficient=0.5, clip_range=0.1, **options)
  streams, metrics = method.signal(trajectories, jnp.int32(0))

  def total(logprobs):
    loss = method.loss({"policy": OUTPUTS["policy"] | {"logprobs": logprobs}}, trajectories, streams)
    return sum(term.coefficient * term.mean.value for term in loss.terms.values())

  def paper(logprobs):
    parts = spo(logprobs, OLD, OLD - 0.1, streams["policy"].targets, MASK, clip=0.1, kl_coefficient=0.5)
    return parts.total(max_ratio=10.0)

  for one, other in zip(*(jax.value_and_grad(f)(OUTPUTS["policy"]["logprobs"]) for f in (total, paper)), strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-6)
  np.testing.assert_allclose(metrics["uncertain"].value, UNCERTAIN.sum() / MASK.sum(), rtol=1e-6)
  assert not np.any(jax.grad(total)(OLD + 3.0)), "a mean ratio of 20 is above 10: nothing is learned"
  assert np.any(jax.grad(total)(OLD))


def test_rows_without_a_verdict_are_left_out():
  method = built(spo_chain, interval=2, max_segments=3)
  found = stream_of(method, batch(rewards=[0.0, np.nan], reward_mask=np.array([True, False])))
  np.testing.assert_array_equal(found.weights, UNCERTAIN & np.array([[True], [False]]))
  np.testing.assert_allclose(found.targets[0], whitened(CHAIN[:1], UNCERTAIN[:1])[0], atol=1e-5)


@pytest.mark.parametrize(("option", "value"), [("ratio", "sequence"), ("clip_high", 0.3), ("old_logprobs", "trainer")])
def test_options_that_the_paper_leaves_no_room_for(option, value):
  with pytest.raises(ValueError, match=f"method.{option} is .* in SPO, got .*: leave it out"):
    built(spo_chain, **{option: value})


def test_two_iterations_of_a_chain():
  done = two_iterations("spo_chain", "method.interval=1", "method.max_segments=2", "method.completions_per_cut=2")
  assert_whole(done)
  first = done.metrics[0]
  assert (first["generated_tokens"] > 8 * first["response_length"]).all(), "completions count"


@pytest.mark.slow
def test_two_iterations_of_a_tree():
  """39 edges of each of 2 prompts, all trained on."""
  done = two_iterations("spo_tree", "method.branching=(3,3,3)", "method.segment_tokens=3")
  assert_whole(done)
  for metrics in done.metrics:
    assert (metrics["usable"] > 0.1).all() and (metrics["gradient_norm"] > 0).all()


@pytest.mark.slow
def test_two_iterations_of_a_tree_with_replay():
  """39 edges of each of 2 prompts, of which 4 are trained on at once; the others wait."""
  options = "method.branching=(3,3,3)", "method.segment_tokens=3", "method.edges_per_prompt=4"
  done = two_iterations("spo_tree", *options)
  assert_whole(done)
  buffer = jax.device_get(done.trainer.state.seeds.rollout.buffer)
  waiting = buffer.rows.row_mask
  assert waiting.any(axis=1).all() and (buffer.iteration == 2).all()
  assert (buffer.rows.extras["edge_advantages"][waiting] != 0).all()
  assert (buffer.rows.source_ids[waiting][buffer.rows.loss_mask[waiting]] == REPLAY).all()
  for metrics in done.metrics:
    assert (metrics["usable"] > 0.5).all()
