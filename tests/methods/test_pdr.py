"""PDR: the spec's worked example and goldens, reductions, forms of inference, and iterations of both halves."""

from __future__ import annotations

import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.kernels.advantages.group import grpo
from rl_jax.kernels.losses.policy import cispo
from rl_jax.kernels.reductions import Mean, per_token
from rl_jax.methods import _refinement, _workspaces, pdr, refinement_start
from rl_jax.methods.method import check_options
from rl_jax.rollouts.rollout import BoundModel
from rl_jax.tasks.task import Vocabulary
from tests.kernels import goldens
from tests.methods.batches import TASK, batch_of, config_of
from tests.methods.two_iterations import assert_whole, even, two_iterations
from tests.training import small

is_mean = lambda x: isinstance(x, Mean)


def task(**fields):
  known = {"vocabulary": Vocabulary(("<pad>", "<end>", "=", ":")), "prompt_tokens": 2, "forced_answer": None}
  return types.SimpleNamespace(**vars(TASK) | known | fields)


def built(**options):
  return pdr.build(config_of(pdr, rows=8, **options), task())


def value_of(method, rows, logprobs):
  """Sum of coefficient times mean over all terms, as an update divides them."""
  streams = method.signal(rows, jnp.int32(0)).streams
  outputs = {"policy": {"logprobs": logprobs, "entropies": jnp.ones_like(logprobs)}}
  loss = method.loss(outputs, rows, streams)
  return sum(term.coefficient * term.mean.value for term in loss.terms.values())


def batch(correct, ids, mask, old, refined, **fields):
  extras = {"correct": np.asarray(correct, bool), "refined": np.asarray(refined, bool)}
  return batch_of(
    mask, rewards=np.float32(correct), group_ids=np.asarray(ids), old_logprobs=np.float32(old), extras=extras, **fields
  )


# Hand-computed.


def test_the_worked_example_of_the_spec():
  """Two rollouts of one group, in both halves: each is 0.48 + 0.1 * 0.75 = 0.555, and so is their mixture."""
  mask, logprobs = np.array([[1, 1], [1, 0]]), np.float32([[-0.5, -1.0], [-0.2, 0.0]])
  old, twice = np.float32([[-1.0, -1.0], [-0.2, 0.0]]), lambda x: np.concatenate([x, x])
  rows = batch([1, 0, 1, 0], [7, 7, 3, 3], twice(mask), twice(old), [0, 0, 1, 1])
  method = built()
  targets = method.signal(rows, jnp.int32(0)).streams["policy"].targets
  np.testing.assert_allclose(targets[:, 0], [0.999999, -0.999999] * 2, rtol=1e-6)
  np.testing.assert_allclose(value_of(method, rows, twice(logprobs)), 0.554999520, rtol=1e-6)
  gradient = jax.grad(lambda x: value_of(method, rows, x))(jnp.asarray(twice(logprobs)))
  expected = np.array([[-0.476666240, -0.383333000], [0.333333000, 0]])
  np.testing.assert_allclose(gradient, twice(expected) / 2, rtol=1e-5)


def test_the_mixture_of_the_golden():
  """Halves of unequal sizes, through signal and loss."""
  cases = json.loads((goldens.FOLDER / "pdr.json").read_text())
  case = next(case for case in cases if "trace" in case["inputs"])
  halves = [case["inputs"][name] for name in ("trace", "op")]
  width = max(len(half["mask"][0]) for half in halves)
  wide = lambda name: np.concatenate(
    [np.pad(np.float32(h[name]), ((0, 0), (0, width - len(h[name][0])))) for h in halves]
  )
  flat = lambda name: np.concatenate([np.asarray(half[name]) for half in halves])
  refined = np.repeat([False, True], [len(half["rewards"]) for half in halves])
  ids = flat("group_ids") + 1000 * refined
  rows = batch(flat("rewards") > 0, ids, wide("mask"), wide("old_logprobs"), refined)
  options = {"alpha": case["inputs"].get("alpha", 0.1)}
  names = {"eps_low": "clip_low", "eps_high": "clip_high"}
  options |= {name: case["inputs"][given] for given, name in names.items() if given in case["inputs"]}
  value = value_of(built(**options), rows, jnp.asarray(wide("logprobs")))
  np.testing.assert_allclose(value, case["outputs"]["loss"], rtol=1e-5)


def test_rewards_of_both_halves_are_told_apart():
  rows = batch([1, 0, 1, 1], [0, 0, 1, 1], np.ones((4, 2)), np.zeros((4, 2)), [0, 0, 1, 1])
  metrics = built().signal(rows, jnp.int32(0)).metrics
  assert (metrics["trace_reward"].value, metrics["refined_reward"].value) == (0.5, 1.0)


def test_names_of_forms():
  names = {(): "single", (1,): "sequential_1", (1, 1, 1): "sequential_3", (4,): "parallel_4", (8, 4): "parallel_8_4"}
  assert {widths: _refinement.named(widths) for widths in names} == names


# Reductions.


def test_without_imitation_and_refinement_it_is_cispo_on_grpos_advantage():
  rng = np.random.default_rng(0)
  mask, old = rng.random((8, 5)) < 0.7, rng.normal(-1, 0.3, (8, 5)).astype(np.float32)
  correct, ids = rng.integers(0, 2, 8), np.repeat([5, 2], 4)
  rows = batch(correct, ids, mask, old, np.zeros(8))
  logprobs = jnp.asarray(old + rng.normal(0, 0.3, old.shape), jnp.float32)
  advantages = per_token(grpo(2.0 * correct - 1, ids, jnp.ones(8, bool), ddof=0, singleton="zero"), mask)
  losses = cispo(logprobs, jnp.asarray(old), advantages, mask, clip_low=0.0, clip_high=1.28).losses
  value = value_of(built(alpha=0.0, refined_share=0.0), rows, logprobs)
  np.testing.assert_allclose(value, np.sum(losses) / mask.sum(), rtol=1e-5)


def test_a_group_that_is_all_right_is_only_imitated():
  mask = np.ones((2, 3))
  value = lambda correct: value_of(built(), batch(correct, [0, 0], mask, -mask, [0, 0]), jnp.full((2, 3), -1.0))
  np.testing.assert_allclose(value([1, 1]), 0.5 * 0.1 * 1.0, rtol=1e-6)
  assert value([0, 0]) == 0


# Edge cases.


def test_unscored_rows_count_for_nothing():
  scored = np.array([True, True, False, True])
  rows = batch([1, 0, 1, 1], [0, 0, 0, 0], np.ones((4, 2)), np.zeros((4, 2)), [0] * 4, reward_mask=scored)
  streams, metrics = built().signal(rows, jnp.int32(0))
  assert not streams["policy"].weights[2].any()
  np.testing.assert_allclose(metrics["trace_reward"].value, 2 / 3, rtol=1e-6)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"operator": "summary"}, "method.operator is one of shared_top_k, per_sample_top_k, random_k, got 'summary'"),
    ({"score": "reward"}, "method.score is one of mean_logprob, logprob, got 'reward'"),
    ({"solution": "answer"}, "does not say where an answer begins"),
    ({"separator": ":="}, "method.separator is one token, got ':=', of 2 tokens"),
    ({"drafts": 1}, "method.drafts=1 cannot fill a workspace of method.k=2"),
    ({"refined_share": 0.3}, "method.refined_share=0.3 of prompts_per_iteration=4 is no whole number"),
    ({"inference": ((0,),)}, "widths of rounds are whole numbers of at least 1, got \\(0,\\)"),
    ({"inference": ((4,), ())}, "method.oracles: the last form of method.inference has no drafts"),
  ],
)
def test_options_that_make_no_sense_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    built(**options)


@pytest.mark.parametrize(
  ("option", "value"), [("refined_share", 1.5), ("drafts", 0), ("k", 0), ("workspace_tokens", 0), ("alpha", -0.1)]
)
def test_numbers_out_of_range_are_refused(option, value):
  with pytest.raises(UserError, match=f"method.{option}: want"):
    check_options(config_of(pdr, **{option: value}), pdr)


def test_the_start_has_the_workspace_of_the_method():
  """Prompts are as wide, so that positions agree, and its options have the same defaults."""
  assert refinement_start.get_config().items() >= _workspaces.options().items()
  assert pdr.get_config().items() >= _workspaces.options().items()


# Through the trainer.


def test_two_iterations():
  done = two_iterations("pdr", "method.inference=()", "method.oracles=False", "method.drafts=2")
  assert_whole(done)
  for metrics in done.metrics:
    assert (metrics["workspace_tokens"] > 0).all()


@pytest.mark.slow
def test_forms_of_inference_of_a_policy():
  """Each reads and writes more than the one before; oracles show the same drafts, so that "any" is between them."""
  experiment = small.make_experiment("num_seeds=1", method="pdr")
  config, task = experiment.config.copy_and_resolve_references(), even(experiment.task)
  with config.unlocked():
    config.method.inference, config.method.oracles = ((), (1,), (2,)), True
  found = _refinement.evaluations(config, task, _workspaces.operator(config, task))
  assert set(found) == {"single", "sequential_1", "parallel_2", "oracles"}
  seed = small.make_seed(experiment)
  models = {"policy": BoundModel(experiment.models["policy"], seed.models["policy"].params)}
  measure = lambda key: {name: measured(models, key) for name, measured in found.items()}
  metrics = jax.tree.map(lambda mean: float(mean.value), jax.jit(measure)(jax.random.key(0)), is_leaf=is_mean)
  single, sequential, parallel = (metrics[name] for name in ("single", "sequential_1", "parallel_2"))
  assert single["sequential_tokens"] == single["total_tokens"] < sequential["sequential_tokens"]
  assert sequential["sequential_tokens"] == sequential["total_tokens"] < parallel["total_tokens"]
  assert parallel["sequential_tokens"] < parallel["total_tokens"]
  assert set(metrics["oracles"]) == {"any", "right", "wrong", "both"}
  assert all(0 <= value <= 1 for value in metrics["oracles"].values())
