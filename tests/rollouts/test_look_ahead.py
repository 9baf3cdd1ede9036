"""Look-ahead sampling on rows that coins write: where rounds go, against a plain loop; what is masked and counted."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.curricula.curriculum import Plan
from rl_jax.kernels.curricula.stopping import look_ahead_stopping
from rl_jax.rollouts.estimators import Estimator
from rl_jax.rollouts.look_ahead import look_ahead
from rl_jax.rollouts.rollout import PhaseResult, Rollout, assemble, nothing_new, unasked
from rl_jax.tasks.task import Verdicts
from rl_jax.trajectories import PrefixTrees
from tests.rollouts.collecting import collected
from tests.tasks import bit_strings

PROMPTS, FIRST, ROUNDS, ROWS, K_MAX = 5, 3, 3, 6, 7
RULE = {"k_max": K_MAX, "cost": 0.001, "noise_variance": 0.25}
PRIORS = np.float32([0.1, 0.9, 0.5, 0.95, 0.3])


class Coins(bit_strings.BitStrings):
  """The first token of a response is its reward; a 2 has no verdict."""

  provides = {}

  def verify(self, prompts, tokens, mask):
    return Verdicts((tokens[:, 0] == 1).astype(jnp.float32), tokens[:, 0] != 2, jnp.where(mask, 0, -1), {})


TASK = Coins()


def respond(count, coin):
  """A rollout of `count` coins to each prompt, in two phases: the second sees the rows of the first, scored."""

  def write(models, state, plan, prompts, before, key):
    drawn = jax.random.choice(key, coin, (plan.row_mask.shape[0], TASK.response_tokens))
    mask = jnp.arange(drawn.shape[1]) < jnp.minimum(plan.response_limits, 2)[:, None]
    rows = assemble(
      prompts, drawn, mask, completions_per_prompt=count, row_mask=plan.row_mask,
      truncated=jnp.zeros_like(plan.row_mask),
    )  # fmt: skip
    return PhaseResult(state, rows, unasked(rows), rows.sampled_tokens)

  def again(models, state, plan, prompts, before, key):
    rows = before.with_extras(seen=100 * before.verified + jnp.repeat(prompts.ids, count))
    assert rows.tokens.shape[0] == plan.row_mask.shape[0] == plan.prompt_ids.shape[0] * count
    return PhaseResult(state, rows, nothing_new(rows), jnp.int32(0))

  return Rollout((write, again))


ESTIMATOR = Estimator(
  init=lambda key: {"means": jnp.zeros(PROMPTS), "known": jnp.zeros(PROMPTS, bool)},
  values=lambda models, state, prompts: jnp.asarray(PRIORS)[prompts.ids],
  update=lambda state, prompts, means, known: {"means": means, "known": known},
)
"""Priors that are known, and what it is told as its state."""


@functools.cache
def program(rounds):
  """(key, cost, faces of the coin) -> the result of an iteration; one row of the last prompt is not in use."""

  def run(key, cost, coin):
    options = {"rounds": rounds, "rows_per_round": ROWS} | RULE | {"cost": cost}
    rollout = look_ahead(functools.partial(respond, coin=coin), ESTIMATOR, FIRST, **options)
    rows = PROMPTS * FIRST
    plan = Plan(jnp.arange(PROMPTS), jnp.arange(rows) < rows - 1, jnp.full(rows, 3))
    return collected(rollout, {}, rollout.init(key), plan, TASK, key)

  return jax.jit(run)


def result_of(seed, rounds=ROUNDS, cost=RULE["cost"], coin=(0, 1, 1, 2)):
  return jax.device_get(program(rounds)(jax.random.key(seed), cost, jnp.array(coin)))


def results(**options):
  return [result_of(seed, **options) for seed in range(6)]


def wanted(rewards, scored, sampled, prior):
  """Rows that the rule asks for at fixed D^2, by their gains."""
  rewards = rewards[scored]
  if not len(rewards):
    return []
  k = len(rewards)
  squared = max(0.0, (rewards.mean() - prior) ** 2 - 0.25 / k)
  error = lambda k: squared * (0.25 / k) / (squared + 0.25 / k)
  gains = [error(j) - error(j + 1) for j in range(k, k + K_MAX - sampled)]
  return [gain for gain in gains if gain > RULE["cost"]]


def test_rounds_go_where_a_plain_loop_of_the_rule_sends_them():
  short, several = 0, 0
  for result in results():
    rows = result.trajectories
    assert rows.tokens.shape[0] == PROMPTS * FIRST + ROUNDS * ROWS
    for number in range(ROUNDS):
      start = PROMPTS * FIRST + number * ROWS
      before, new = np.arange(len(rows.rewards)) < start, slice(start, start + ROWS)
      asks = []
      for prompt in range(PROMPTS):
        own = before & rows.row_mask & (rows.group_ids == prompt)
        gains = wanted(rows.rewards[own], rows.reward_mask[own], own.sum(), PRIORS[prompt])
        asks += [(-gain, prompt, place) for place, gain in enumerate(gains)]
      expected = [prompt for _, prompt, _ in sorted(asks)[:ROWS]]
      np.testing.assert_array_equal(rows.row_mask[new], np.arange(ROWS) < len(expected))
      np.testing.assert_array_equal(rows.group_ids[new][: len(expected)], expected)
      short, several = short + (len(asks) > ROWS), several + (len(set(expected)) < len(expected))
  assert short and several, "some rounds are too small, and some prompts get several rows"


def test_a_prompt_has_no_more_than_k_max_rows_and_some_have_as_many():
  most = []
  for result in results(cost=0.0):
    rows = result.trajectories
    most.append(np.bincount(rows.group_ids[rows.row_mask], minlength=PROMPTS).max())
  assert max(most) == K_MAX


def test_what_is_said_of_rows():
  for result in results():
    rows, counted = result.trajectories, result.trajectories.row_mask & result.trajectories.reward_mask
    np.testing.assert_array_equal(rows.prompt_ids, rows.group_ids)
    np.testing.assert_array_equal(rows.verified, rows.row_mask)
    np.testing.assert_array_equal(rows.extras["priors"], PRIORS[rows.group_ids])
    np.testing.assert_array_equal(rows.extras["seen"], 100 * rows.row_mask + rows.group_ids)
    sizes = np.bincount(rows.group_ids[counted], minlength=PROMPTS)
    weights = np.where(counted, 1 / np.maximum(sizes, 1)[rows.group_ids], 0)
    np.testing.assert_allclose(rows.extras["prompt_weights"], weights, rtol=1e-6)
    in_rounds = np.arange(len(counted)) >= PROMPTS * FIRST
    assert not rows.loss_mask[in_rounds & ~rows.row_mask].any(), "a row that nobody asks for samples nothing"
    assert result.generated_tokens == rows.loss_mask[rows.row_mask].sum()
    groups = PrefixTrees.groups(PROMPTS * FIRST, FIRST, rows.prompt_width)
    assert rows.trees == (groups, PrefixTrees.alone(ROUNDS * ROWS))


def test_what_the_estimator_learns_and_what_is_counted():
  refuted = []
  for result in results():
    rows = result.trajectories
    own = [rows.row_mask & (rows.group_ids == prompt) for prompt in range(PROMPTS)]
    scored = [rows.rewards[mask & rows.reward_mask] for mask in own]
    known = np.array([len(rewards) > 0 for rewards in scored])
    np.testing.assert_array_equal(result.state["known"], known)
    means = np.array([rewards.mean() if len(rewards) else 0 for rewards in scored])
    np.testing.assert_allclose(result.state["means"], means, rtol=1e-6)
    against = [k and (mean - v) ** 2 > 0.25 / k for mean, v, k in zip(means, PRIORS, map(len, scored), strict=True)]
    still = [
      bool(wanted(rows.rewards[mask], rows.reward_mask[mask], mask.sum(), prior))
      for mask, prior in zip(own, PRIORS, strict=True)
    ]
    expected = {
      "rows_per_prompt": rows.row_mask.sum() / PROMPTS,
      "rounds": rows.row_mask[PROMPTS * FIRST :].reshape(ROUNDS, ROWS).any(axis=1).sum(),
      "refuted": sum(against) / known.sum(),
      "undecided": sum(still) / known.sum(),
    }
    assert result.metrics.keys() == expected.keys()
    for name, value in expected.items():
      np.testing.assert_allclose(result.metrics[name].value, value, rtol=1e-6, err_msg=name)
    refuted.append(sum(against))
  assert 0 < sum(refuted) < PROMPTS * len(refuted)


# Reductions.


def test_rounds_of_one_row_are_the_rule_itself():
  """One prompt in a rollout that asks one row at a time: as many as the rule uses of the same stream."""
  options = {"rounds": K_MAX - FIRST, "rows_per_round": 1} | RULE
  coin = jnp.array([0, 1])
  rollout = look_ahead(functools.partial(respond, coin=coin), ESTIMATOR, FIRST, **options)
  plan = Plan(jnp.array([1]), jnp.ones(FIRST, bool), jnp.full(FIRST, 3))
  one = jax.jit(lambda key: collected(rollout, {}, rollout.init(key), plan, TASK, key).trajectories)
  used = set()
  for seed in range(8):
    rows = jax.device_get(one(jax.random.key(seed)))
    stream, mask = jnp.asarray(rows.rewards[None]), jnp.asarray(rows.row_mask[None])
    stopping = look_ahead_stopping(stream, jnp.array(PRIORS[1:2]), mask, k_init=FIRST, **RULE)
    np.testing.assert_array_equal(stopping.used[0], rows.row_mask)
    assert not stopping.more[0] or rows.row_mask.all()
    used.add(int(rows.row_mask.sum()))
  assert len(used) > 1


def test_where_no_row_is_worth_its_cost_the_first_round_is_all():
  plain, result = result_of(0, rounds=0), result_of(0, cost=1e6)
  rows, first = result.trajectories, slice(PROMPTS * FIRST)
  assert not rows.row_mask[first.stop :].any() and result.metrics["rounds"].value == 0
  assert plain.trajectories.tokens.shape[0] == first.stop
  for name in ("tokens", "rewards", "row_mask", "group_ids"):
    np.testing.assert_array_equal(getattr(rows, name)[first], getattr(plain.trajectories, name), err_msg=name)
  np.testing.assert_array_equal(result.state["means"], plain.state["means"])
  assert result.generated_tokens == plain.generated_tokens


# Edge cases.


def test_prompts_without_a_verdict_ask_for_nothing():
  result = result_of(0, coin=(2, 2, 2, 2))
  assert not result.state["known"].any() and not result.trajectories.row_mask[PROMPTS * FIRST :].any()
  assert not result.trajectories.extras["prompt_weights"].any()
  assert result.metrics["refuted"].value == 0 and result.metrics["refuted"].weight == 0


def test_a_first_round_above_k_max_is_refused():
  with pytest.raises(ValueError, match="k_max=2: want at least completions_per_prompt=3, the first round"):
    look_ahead(
      functools.partial(respond, coin=None), ESTIMATOR, FIRST, rounds=1, rows_per_round=1, **(RULE | {"k_max": 2})
    )
