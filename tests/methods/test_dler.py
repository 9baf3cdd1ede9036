"""DLER: rewards within limits, normalisation over the batch and the merge, by hand and on the paper's examples."""

from __future__ import annotations

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.methods import dler, dler_merge, grpo
from rl_jax.methods.method import check_options
from tests.methods.batches import TASK, batch_of, config_of
from tests.methods.two_iterations import assert_whole, two_iterations


def batch(lengths, correct, group_ids, *, limit=6, **fields):
  """Rows that are cut at `limit` tokens where they need more; whatever reward a verifier gives what is left."""
  lengths = np.array(lengths)
  return batch_of(
    np.arange(limit) < np.minimum(lengths, limit)[:, None],
    rewards=np.array(correct, np.float32), group_ids=group_ids, truncated=lengths > limit, **fields,
  )  # fmt: skip


def example(**fields):
  """The paper's conditions with L = 4: the second answer and the last need 6 and 5 tokens."""
  correct, lengths = [1, 1, 0, 1, 1, 1, 0, 1], [3, 6, 2, 4, 2, 3, 4, 5]
  return batch(lengths, correct, [0] * 4 + [1] * 4, limit=4, **fields)


def built(**options):
  return dler.build(config_of(dler, **options), TASK)


def signal_of(trajectories, **options):
  return built(**options).signal(trajectories, jnp.int32(0))


def on_tokens(trajectories, per_row):
  return np.where(trajectories.loss_mask, np.array(per_row)[:, None], 0)


def test_rewards_within_the_limit_by_hand():
  """L = 3 of 6 tokens: rows of 4 tokens are too long, though they were not cut."""
  trajectories = batch([3, 4, 2, 4], [1, 1, 0, 1], [5, 5, 5, 8])
  streams, metrics = signal_of(trajectories, normalization="sequence")
  # r' is 1, 0, 0, 0; less the means of the groups 2/3, -1/3, -1/3, 0, whose std is sqrt(2) / 3.
  np.testing.assert_allclose(
    streams["policy"].targets, on_tokens(trajectories, [2**0.5, *[-(0.5**0.5)] * 2, 0]), atol=1e-5
  )
  np.testing.assert_array_equal(streams["policy"].weights, trajectories.loss_mask)
  assert metrics["reward_within_limit"].value == 0.25 and metrics["response_limit"].value == 3


@pytest.mark.parametrize(
  ("normalization", "right", "wrong"), [("sequence", 0.935414, -0.935414), ("token", 1.059148, -0.907841)]
)
def test_the_worked_example(normalization, right, wrong):
  trajectories = example()
  streams, metrics = signal_of(trajectories, normalization=normalization, target_shares=(4 / 6,))
  expected = [right, wrong, wrong, right, right, right, wrong, wrong]
  np.testing.assert_allclose(streams["policy"].targets, on_tokens(trajectories, expected), atol=2e-6)
  assert metrics["reward_within_limit"].value == 0.5 and metrics["response_limit"].value == 4


def test_limits_by_difficulty():
  """Three of four right answers: the limit is 2. Of one and of two, the threshold: 4."""
  correct, lengths = [1, 1, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0], [2, 3, 1, 4, 4, 2, 3, 1, 2, 2, 4, 1]
  trajectories = batch(lengths, correct, np.repeat([0, 1, 2], 4), limit=4)
  options = {"target_shares": (4 / 6, 2 / 6), "difficulty_thresholds": (0.5,), "normalization": "sequence"}
  streams, metrics = signal_of(trajectories, **options)
  expected = [1, -1, 1, -1, 1.5, -0.5, -0.5, -0.5, 1, -1, 1, -1]
  np.testing.assert_allclose(streams["policy"].targets, on_tokens(trajectories, expected), atol=1e-5)
  np.testing.assert_allclose(metrics["response_limit"].value, (2 + 4 + 4) / 3, rtol=1e-6)
  np.testing.assert_allclose(metrics["reward_within_limit"].value, 5 / 12, rtol=1e-6)


def test_answers_that_were_cut_do_not_make_a_prompt_easy():
  """Two of four answers were finished and right, and a third was cut before its end: a share of one half."""
  trajectories = batch([1, 3, 9, 2], [1, 1, 1, 0], [0] * 4, limit=4)
  options = {"target_shares": (4 / 6, 2 / 6), "difficulty_thresholds": (0.5,)}
  metrics = signal_of(trajectories, **options).metrics
  assert metrics["response_limit"].value == 4 and metrics["reward_within_limit"].value == 0.5


@pytest.mark.parametrize(
  ("options", "limit"), [({}, 3), ({"target_shares": (0.5, 1.0), "difficulty_thresholds": (0.5,)}, 6)]
)
def test_answers_are_sampled_up_to_the_largest_limit(options, limit):
  task = types.SimpleNamespace(response_tokens=6, problem_ids=lambda key, count, split: jnp.arange(count))
  curriculum = built(max_rounds=3, **options).curriculum
  plan, _ = curriculum.next(curriculum.init(jax.random.key(0)), task, jax.random.key(0))
  assert plan.prompt_ids.shape == (6,)  # two prompts in three rounds
  np.testing.assert_array_equal(plan.response_limits, np.full(12, limit))


def test_the_loss_clips_higher_and_twice_and_pulls_to_the_reference():
  old = np.full((2, 6), -1.0, np.float32)
  trajectories = batch([1, 1], [1, 0], [0, 0], old_logprobs=old, ref_logprobs=old - 0.5)
  method = built(normalization="sequence")
  streams = method.signal(trajectories, jnp.int32(0)).streams
  logprobs = jnp.asarray(old + np.log(20.0))
  terms = method.loss({"policy": {"logprobs": logprobs, "entropies": logprobs}}, trajectories, streams).terms
  np.testing.assert_allclose(terms["policy"].mean.value, (-1.28 + 10) * 0.5**0.5 / 2, rtol=1e-5)
  np.testing.assert_allclose(terms["kl"].mean.value, (np.log(20.0) + 0.5) ** 2 / 2, rtol=1e-5)
  assert terms["kl"].coefficient == 0.0005


def test_one_group_without_a_limit_is_grpo():
  trajectories = batch([2, 3, 5, 6], [1, 0, 0, 1], [0] * 4)
  whole_batch = signal_of(trajectories, normalization="sequence", target_shares=(1.0,)).streams["policy"]
  plain = grpo.build(config_of(grpo, epsilon=0.0), TASK).signal(trajectories, jnp.int32(0)).streams["policy"]
  np.testing.assert_allclose(whole_batch.targets, plain.targets, rtol=1e-6)
  np.testing.assert_array_equal(whole_batch.weights, plain.weights)


@pytest.mark.parametrize("normalization", ["token", "sequence"])
def test_where_all_answers_were_cut_there_is_no_advantage(normalization):
  trajectories = batch([9, 8, 7, 9], [1, 1, 0, 1], [0, 0, 3, 3])
  streams, metrics = signal_of(trajectories, normalization=normalization, target_shares=(1.0,))
  assert not np.asarray(streams["policy"].targets).any() and metrics["reward_within_limit"].value == 0


def test_a_group_of_equal_rewards_is_shifted_by_the_mean_over_tokens_alone():
  """Three right, three wrong and a mixed group, of the published code's numbers; a filter drops the first two."""
  lengths, correct = [1, 2, 3, 2, 2, 1, 3, 1, 2], [1, 1, 1, 0, 0, 0, 1, 0, 1]
  trajectories = batch(lengths, correct, np.repeat([0, 1, 2], 3), limit=3)
  shares = {"target_shares": (0.5,)}
  by_token = signal_of(trajectories, **shares).streams["policy"].targets[:, 0]
  np.testing.assert_allclose(by_token, [-0.242536] * 6 + [1.131833, -2.991272, 1.131833], atol=2e-6)
  by_answer = signal_of(trajectories, normalization="sequence", **shares).streams["policy"].targets[:, 0]
  np.testing.assert_allclose(by_answer, [0] * 6 + [1.154700, -2.309401, 1.154700], atol=1e-5)
  kept = trajectories.replace(row_mask=jnp.arange(9) >= 6)
  filtered = signal_of(kept, **shares).streams["policy"].targets[:, 0]
  np.testing.assert_allclose(filtered, [0] * 6 + [0.408248, -2.041241, 0.408248], atol=2e-6)


def test_unscored_rows_are_as_if_they_were_not_there():
  scored = np.arange(8) != 3
  some = signal_of(example(reward_mask=scored), target_shares=(4 / 6,))
  targets = np.asarray(some.streams["policy"].targets)
  without = jax.tree.map(lambda x: x[scored], example())
  np.testing.assert_allclose(
    targets[scored], signal_of(without, target_shares=(4 / 6,)).streams["policy"].targets, atol=1e-6
  )
  assert not targets[3].any() and not np.asarray(some.streams["policy"].weights)[3].any()
  np.testing.assert_allclose(some.metrics["reward_within_limit"].value, 3 / 7, rtol=1e-6)


@pytest.mark.parametrize(
  ("options", "said"),
  [
    ({"normalization": "group"}, "method.normalization is one of token, sequence"),
    ({"difficulty_thresholds": (0.5,)}, r"are one less than method.target_shares, got \(0.5,\) and \(0.5,\)"),
    ({"difficulty_thresholds": (0.5, 0.2), "target_shares": (1.0, 0.5, 0.2)}, "method.difficulty_thresholds ascend"),
    ({"target_shares": ()}, r"got \(\) and \(\)"),
  ],
)
def test_an_option_that_makes_no_sense_is_one_line(options, said):
  with pytest.raises(ValueError, match=said) as error:
    built(**options)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("module", "options"),
  [
    (dler, {"target_shares": (0.5, 0.0)}),
    (dler, {"difficulty_thresholds": (1.5,)}),
    (dler, {"max_rounds": 0}),
    (dler_merge, {"keep": 0.0}),
    (dler_merge, {"scale": -1.0}),
    (dler_merge, {"target_shares": (2.0,)}),
  ],
)
def test_a_number_that_makes_no_sense_is_one_line(module, options):
  with pytest.raises(UserError, match=rf"method.{next(iter(options))}(\[\d\])?: want .*, got") as error:
    check_options(config_of(module, **options), module)
  assert "\n" not in str(error.value)


def test_two_iterations_train_groups_that_differ_within_the_limit():
  done = two_iterations("dler", "method.target_shares=(0.75,)")
  assert_whole(done)
  limit = round(0.75 * done.trainer.experiment.task.response_tokens)
  for metrics in done.metrics:
    some = ~metrics["unscored"].astype(bool)
    assert some.any() and (metrics["sequential_tokens"] <= limit).all() and (metrics["kept"][some] > 0).all()
    assert (metrics["response_limit"][some] == limit).all()
    within = metrics["reward_within_limit"][some]
    assert ((0.25 <= within) & (within <= 0.75)).all()


# The merge.

BASE = {"w": jnp.array([0, 1, -1, 2, 0.5, 0]), "b": jnp.array([0.1, -0.1])}
TUNED = {"w": jnp.array([0.45, 1.01, -1.2, 2, 0, 0.05]), "b": jnp.array([0.1, -0.5])}


def merged(tuned, base, **options):
  initial = dler_merge.build(config_of(dler_merge, **options), TASK).initial
  params = initial({"policy": tuned, "reference": tuned, "base": base})
  jax.tree.map(np.testing.assert_array_equal, params["base"], base)
  jax.tree.map(np.testing.assert_array_equal, params["reference"], params["policy"])
  return params["policy"]


def test_the_worked_example_of_the_merge():
  policy = merged(TUNED, BASE)
  np.testing.assert_allclose(policy["w"], [0.315, 1, -1, 2, 0.15, 0], atol=1e-6)
  np.testing.assert_array_equal(policy["b"], BASE["b"])
  of_each = merged(TUNED, BASE, scope="per_tensor", keep=0.5, scale=0.5)
  np.testing.assert_allclose(of_each["w"], [0.225, 1, -1.1, 2, 0.25, 0], atol=1e-6)
  np.testing.assert_allclose(of_each["b"], [0.1, -0.3], atol=1e-6)


def test_the_whole_update_is_the_tuned_policy_and_none_is_the_base():
  for scale, expected in ((1.0, TUNED), (0.0, BASE)):
    jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), merged(TUNED, BASE, keep=1.0, scale=scale), expected
    )
  jax.tree.map(np.testing.assert_array_equal, merged(BASE, BASE), BASE)


def test_types_and_adapters_stay():
  thin = {"query_lora_a": jnp.ones(2), "query_lora_b": jnp.full(2, 7.0)}
  of = lambda *x: {"layer": {"query": jnp.array(x, jnp.bfloat16)}}
  with_adapter = {"layer": of(1, 2, 4, 8)["layer"] | thin}
  policy = merged(with_adapter, {"layer": of(1, 1, 1, 1)["layer"] | jax.tree.map(jnp.zeros_like, thin)}, scale=0.5)
  assert policy["layer"]["query"].dtype == jnp.bfloat16
  np.testing.assert_array_equal(policy["layer"]["query"], jnp.array([1, 1, 1, 4.5], jnp.bfloat16))
  jax.tree.map(np.testing.assert_array_equal, {name: policy["layer"][name] for name in thin}, thin)


def test_a_scope_that_is_not_known_is_one_line():
  with pytest.raises(ValueError, match="method.scope is one of global, per_tensor, got 'layer'"):
    dler_merge.build(config_of(dler_merge, scope="layer"), TASK)


@pytest.mark.slow
def test_two_iterations_go_on_from_the_merged_weights():
  """A quarter of the entries of the policy differ from those of its base at the start, and the base stays."""
  done = two_iterations("dler_merge", "method.target_shares=(1.0,)", "method.max_rounds=8")
  assert_whole(done)
  before = done.before.seeds.models
  changed = jax.tree.leaves(jax.tree.map(lambda x, y: x != y, before["policy"].params, before["base"].params))
  share = sum(int(x.sum()) for x in changed) / sum(x.size for x in changed)
  np.testing.assert_allclose(share, 0.25, atol=1e-3)
  after = jax.device_get(done.trainer.state.seeds.models)
  jax.tree.map(np.testing.assert_array_equal, after["base"].params, before["base"].params)
