"""HiPER: the spec's worked examples, the places of three decisions, a loop, flat GAE, and its variance in the rooms."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.methods import hiper, ppo
from rl_jax.methods.method import ModelRole, check_options
from rl_jax.tasks.task import Turns
from tests.methods import walks
from tests.methods.batches import batch_of, config_of
from tests.training import every_method

GOLDENS = {
  case["name"]: case
  for case in json.loads((Path(__file__).parents[1] / "goldens/hiper.json").read_text(encoding="utf-8"))
}
WIDTH, SLOTS, STRIDE = 1, 4, 5
"""Prompt tokens; tokens of a turn (decision, sub-goal, action, end); slots to the next turn, with an observation."""
ROWS, TURNS = 4, 6
"""Of all batches by hand, whose further rows are not in use: what is compiled is compiled for one shape."""
LAYOUT = Turns(max_turns=TURNS, turn_tokens=SLOTS, observation_tokens=STRIDE - SLOTS)
TASK: Any = types.SimpleNamespace(response_tokens=LAYOUT.response_tokens, turns=LAYOUT, step_values=None)
RNG = np.random.default_rng(0)


def whole(x, fill: float = 0) -> np.ndarray:
  """Numbers of some rows, or of some of their turns, in an array of all."""
  x = np.asarray(x)
  sizes = (ROWS, TURNS)[: x.ndim]
  return np.pad(x, [(0, size - own) for size, own in zip(sizes, x.shape, strict=True)], constant_values=fill)


def on_slots(x, offset: int, fill: float = 0) -> np.ndarray:
  """Numbers of turns on one token of each, [ROWS, T]; the rest is filled."""
  tokens = np.full((ROWS, WIDTH + LAYOUT.response_tokens), fill, np.float32)
  tokens[:, WIDTH + offset :: STRIDE] = x
  return tokens


def of_slots(tokens, offset: int, rows: int = 1, turns: int = 5) -> np.ndarray:
  """Numbers on one token of each turn, of the first rows and turns."""
  return np.asarray(tokens)[:rows, WIDTH + offset :: STRIDE][:, :turns]


def rows_of(rewards, switch, lengths, terminated, v_low, v_high, v_term=None, subgoals=None, planned=None, **fields):
  """Episodes of planned turns. Values are NaN where no head is read."""
  exists = np.arange(TURNS) < whole(lengths)[:, None]
  ids = np.array([0, *LAYOUT.turn_ids])
  earned, plan = np.where(exists, whole(rewards), 0.0), exists & (True if planned is None else whole(planned) != 0)
  subgoals = np.where(plan, 0 if subgoals is None else whole(subgoals), -1)
  head = lambda x, offset: on_slots(np.where(exists, whole(x), np.nan), offset, np.nan)
  low = np.where(
    on_slots(plan, 2) > 0, head(v_low, 2), np.where(on_slots(exists & ~plan, 0) > 0, head(v_low, 0), np.nan)
  )
  of_turns = lambda x: jnp.asarray(np.where(exists, x, -1), jnp.int32)
  given = {
    "turn_ids": np.tile(ids, (ROWS, 1)), "truncated": (exists[:, 0]) & (whole(terminated) == 0),
    "token_rewards": on_slots(earned, 0), "rewards": np.float32(earned.sum(axis=1)),
    "row_mask": exists[:, 0],
    "extras": {
      "values": np.stack([low, head(v_high, 0), head(v_high if v_term is None else v_term, 0)], axis=-1),
      "switches": of_turns(whole(switch)), "switch_tokens": of_turns(plan), "subgoal_tokens": of_turns(plan),
      "subgoal_ids": of_turns(subgoals), "correct": np.ones(ROWS, bool),
    },
  }  # fmt: skip
  trained = np.array([False, *~LAYOUT.observed]) & exists[:, ids]
  return batch_of(trained, prompt_width=WIDTH, **given | fields)


def options_of(case) -> dict[str, Any]:
  names = {"gamma": "discount", "lam_turn": "lam_turn", "lam_seg": "lam_segment", "norm_adv": "normalize"}
  options = {"normalize": False, "discount": 1.0} | {names[k]: v for k, v in case.items() if k in names}
  return options | {"bootstrap_truncated": case.get("bootstrap_truncated", False)}


def arrays_of(case) -> dict[str, Any]:
  names = ("rewards", "switch", "lengths", "terminated", "v_low", "v_high", "v_term")
  return {name: case[name] for name in names if name in case}


HAND = GOLDENS["hand"]["inputs"]


def hand(**fields):
  return rows_of(**arrays_of(HAND) | fields)


def built(**options):
  return hiper.build(config_of(hiper, **options), TASK)


def signal_of(rows, **options):
  return built(**options).signal(rows, jnp.int32(0))


# Hand-computed.

BOUNDARIES = np.array([[1, 0, 1, 0, 0]])


def test_the_worked_example_of_the_spec():
  """Each advantage is on the tokens of its decision; the sub-goal of a turn that keeps it is not trained."""
  streams, metrics = signal_of(hand(), **options_of(HAND))
  targets, weights = streams["policy"].targets, streams["policy"].weights
  low, high = [[0.141225, 0.095, 0.288805, 0.291, 0.2]], [[0.39557, 0, 0.26, 0, 0]]
  np.testing.assert_allclose(of_slots(targets, 0), [[0.2455, 0.195, 0.31, 0.4, 0.3]], atol=1e-6)
  np.testing.assert_allclose(of_slots(targets, 1), high, atol=1e-6)
  for action in (2, 3):
    np.testing.assert_allclose(of_slots(targets, action), low, atol=1e-6)
  np.testing.assert_array_equal(of_slots(weights, 1), BOUNDARIES)
  assert weights.sum() == 3 * 5 + 2 and not np.asarray(targets)[np.asarray(weights) == 0].any()
  np.testing.assert_allclose(of_slots(streams["low"].targets, 2), low + np.float32(HAND["v_low"]), atol=1e-6)
  np.testing.assert_allclose(
    of_slots(streams["high"].targets, 0), high + np.float32(HAND["v_high"]) * BOUNDARIES, atol=1e-6
  )
  np.testing.assert_allclose(of_slots(streams["switch"].targets, 0), [[0.4455, 0.495, 0.81, 0.9, 1.0]], atol=1e-6)
  assert [streams[name].weights.sum() for name in ("low", "high", "switch")] == [5, 2, 5]
  assert metrics["switches"].value == pytest.approx(0.4) and metrics["segment_turns"].value == 2.5
  assert metrics["high_value_error"].value == pytest.approx((0.39557**2 + 0.26**2) / 2, rel=1e-5)


def test_an_episode_without_all_its_turns_or_that_is_solved_was_not_cut():
  """The others bootstrap where that is asked for: those whose turns are used up, and those cut by a limit of tokens."""
  halves = np.full((4, TURNS), 0.5)
  rows = rows_of(halves * 0, halves * 0, [TURNS, TURNS, 2, 2], [1, 1, 1, 0], halves, halves)
  rows = rows.with_extras(correct=jnp.array([True, False, False, False]))
  streams, _ = signal_of(rows, normalize=False, bootstrap_truncated=True)
  np.testing.assert_allclose(of_slots(streams["policy"].targets, 2, rows=4)[:, 0], [-0.5, 0, -0.5, 0], atol=1e-6)


def test_a_turn_without_a_plan_is_all_action_and_no_switch():
  rows = hand(planned=[[1, 1, 1, 0, 1]])
  streams, metrics = signal_of(rows, **options_of(HAND))
  np.testing.assert_allclose(of_slots(streams["policy"].targets, 0), [[0.2455, 0.195, 0.31, 0.291, 0.3]], atol=1e-6)
  np.testing.assert_array_equal(of_slots(streams["policy"].weights, 1), [[1, 0, 1, 1, 0]])
  assert metrics["low_value_error"].weight == 5


def test_penalties_come_before_the_advantages():
  """-0.3 times 2 / 3, over the two turns that keep; -0.25 on the one that names another sub-goal, and -0.125 without
  a plan. Nothing is earned, and the values are 0."""
  zeros = np.zeros((1, 3))
  rows = rows_of(zeros, [[1, 0, 0]], [3], [1], zeros, zeros, subgoals=[[4, 5, 5]], planned=[[1, 1, 0]])
  options = {"keep_penalty": -0.3, "inconsistency_penalty": -0.25, "invalid_penalty": -0.125}
  streams, _ = signal_of(rows, normalize=False, **options)
  np.testing.assert_allclose(of_slots(streams["policy"].targets, 3, turns=3), [[-0.575, -0.575, -0.225]], atol=1e-6)
  streams, _ = signal_of(rows, normalize=False, keep_mode="fixed", **options)
  np.testing.assert_allclose(of_slots(streams["policy"].targets, 3, turns=3), [[-0.975, -0.975, -0.425]], atol=1e-6)


def test_the_loss_has_a_term_for_each_head():
  """Gradients of a ratio of 1 and of half squares, over the tokens of each stream."""
  rows, method = hand(), built(kl_coefficient=0.0, entropy_coefficient=0.0, value_coefficient=2.0, value_clip=0.0)
  streams = method.signal(rows, jnp.int32(0)).streams

  def total(logprobs, values):
    outputs = {"policy": {"logprobs": logprobs, "entropies": jnp.zeros(logprobs.shape)}, "critic": {"values": values}}
    terms = method.loss(outputs, rows, streams).terms
    return sum(term.coefficient * term.mean.value for term in terms.values())

  shape = rows.tokens.shape
  of_policy, of_critic = jax.grad(total, argnums=(0, 1))(jnp.zeros(shape), jnp.full((*shape, 3), 0.25))
  np.testing.assert_allclose(of_policy, -np.asarray(streams["policy"].targets) / 17, atol=1e-6)
  for head, name in enumerate(("low", "high", "switch")):
    weights = np.asarray(streams[name].weights)
    errors = np.where(weights > 0, 0.25 - np.asarray(streams[name].targets), 0)
    np.testing.assert_allclose(of_critic[..., head], 2 * errors / weights.sum(), atol=1e-6)
  assert method.models["critic"] == ModelRole(outputs=("values",), heads=3, init_from="policy")
  assert set(built().scoring) == {"values", "ref_logprobs"}


# Goldens.


@pytest.mark.parametrize("name", ["truncated_no_bootstrap", "truncated_bootstrap", "random_ragged_norm"])
def test_golden_cases(name):
  case, outputs = GOLDENS[name]["inputs"], GOLDENS[name]["outputs"]
  targets = signal_of(rows_of(**arrays_of(case)), **options_of(case)).streams["policy"].targets
  found = {"adv_low": 2, "adv_high": 1} | ({"adv_term": 0} if "v_term" in case else {})
  for output, offset in found.items():
    value = of_slots(targets, offset, *np.shape(case["switch"]))
    np.testing.assert_allclose(value, outputs[output], atol=1e-5, err_msg=output)


# Against a loop in float64.


def test_gradients_against_a_loop():
  """Of the whole loss at a ratio other than 1, with clipped values: policy and critic, from turns to terms."""
  e, c, shape = 0.2, 0.5, (ROWS, TURNS)
  draw = lambda: RNG.normal(size=shape)
  rewards, low, high, third = draw(), draw(), draw(), draw()
  switch, lengths = RNG.integers(0, 2, shape), np.array([6, 2, 3, 5])
  rows = rows_of(rewards, switch, lengths, np.ones(ROWS), low, high, third)
  method = built(kl_coefficient=0.0, entropy_coefficient=0.0, normalize=False, lam_turn=0.8, discount=0.9)
  streams = method.signal(rows, jnp.int32(0)).streams
  logprobs, values = 0.2 * RNG.normal(size=rows.tokens.shape), RNG.normal(size=(*rows.tokens.shape, 3))

  policy, critic, counts = np.zeros(rows.tokens.shape), np.zeros(values.shape), np.zeros(4)
  for i, length in enumerate(lengths):
    starts = [t for t in range(length) if t == 0 or switch[i, t]]
    after_high, end = 0.0, length
    for b in reversed(starts):
      bootstrap = high[i, end] if end < length else 0.0
      after, to_go = 0.0, bootstrap
      for t in reversed(range(b, end)):
        value = low[i, t + 1] if t + 1 < end else bootstrap
        after = rewards[i, t] + 0.9 * value - low[i, t] + 0.9 * 0.8 * after
        to_go = rewards[i, t] + 0.9 * to_go
        slot = WIDTH + STRIDE * t
        credit = {slot: to_go - third[i, t], slot + 2: after, slot + 3: after}
        targets = {(slot + 2, 0): (low[i, t], after + low[i, t]), (slot, 2): (third[i, t], to_go)}
        if t == b:
          decay = 0.9 ** (end - b)
          after_high = to_go - high[i, b] + decay * 0.95 * after_high
          credit[slot + 1] = after_high
          targets[slot, 1] = high[i, b], after_high + high[i, b]
        for token, advantage in credit.items():
          ratio, counts[3] = np.exp(logprobs[i, token]), counts[3] + 1
          is_clipped = (advantage > 0 and ratio > 1 + e) or (advantage < 0 and ratio < 1 - e)
          policy[i, token] = 0.0 if is_clipped else -ratio * advantage
        for (token, head), (old, target) in targets.items():
          value, counts[head] = values[i, token, head], counts[head] + 1
          near = np.clip(value, old - c, old + c)
          inside = near == value
          larger = (near - target) ** 2 > (value - target) ** 2
          critic[i, token, head] = 0.0 if larger and not inside else value - target
      end = b

  def total(logprobs, values):
    outputs = {"policy": {"logprobs": logprobs, "entropies": jnp.zeros(logprobs.shape)}, "critic": {"values": values}}
    terms = method.loss(outputs, rows, streams).terms
    return sum(term.coefficient * term.mean.value for term in terms.values())

  of_policy, of_critic = jax.grad(total, argnums=(0, 1))(jnp.float32(logprobs), jnp.float32(values))
  np.testing.assert_allclose(of_policy, policy / counts[3], atol=1e-5)
  np.testing.assert_allclose(of_critic, critic / counts[:3], atol=1e-5)


# Invariances.


def test_unscored_rows_and_garbage_count_for_nothing():
  case = GOLDENS["random_ragged_norm"]["inputs"]
  rows, options = rows_of(**arrays_of(case)), options_of(case)
  alone = signal_of(rows.replace(row_mask=jnp.arange(4) != 1), **options)
  unscored = rows.replace(reward_mask=jnp.arange(4) != 1, rewards=rows.rewards.at[1].set(jnp.nan))
  found = signal_of(unscored, **options)
  for name, stream in found.streams.items():
    np.testing.assert_array_equal(stream.targets, alone.streams[name].targets)
    assert not stream.weights[1].any()
  assert jax.tree.map(float, found.metrics) == jax.tree.map(float, alone.metrics)


# Reductions.


def flat(rows, values, task, lam=1.0):
  """PPO's advantages with a critic of one head on every token, not whitened."""
  method = ppo.build(config_of(ppo, whiten=False, lam=lam), task)
  return jax.jit(method.signal)(rows.with_extras(values=values), jnp.int32(0)).streams["policy"].targets


def test_without_switches_the_executor_has_flat_gae_and_with_one_per_turn_one_step():
  shape, lengths = (2, 3), np.array([[3], [2]])
  rewards, low, high = (RNG.normal(size=shape) for _ in range(3))
  case = {"rewards": rewards, "lengths": [3, 2], "terminated": [1, 1], "v_low": low, "v_high": high}
  executor = lambda rows: of_slots(signal_of(rows, normalize=False).streams["policy"].targets, 2, *shape)
  never = rows_of(**case, switch=np.zeros(shape))
  values = np.pad(np.repeat(whole(low), STRIDE, axis=1)[:, : LAYOUT.response_tokens], ((0, 0), (WIDTH, 0)))
  plain = flat(never, jnp.asarray(values, jnp.float32), TASK)
  np.testing.assert_allclose(executor(never), of_slots(plain, 0, *shape), atol=1e-5)
  following = np.where(np.arange(3) + 1 < lengths, np.roll(high, -1, axis=1), 0)
  expected = np.where(np.arange(3) < lengths, rewards + following - low, 0)
  np.testing.assert_allclose(executor(rows_of(**case, switch=np.ones(shape))), expected, atol=1e-5)


def gradients(found: walks.Walks, advantages: np.ndarray) -> np.ndarray:
  """Sum over turns of A times the gradient of the logarithm of a table's chances, at chances of 1 / 4, [B, 8, 4]."""
  states = np.asarray(found.trajectories.extras["state_ids"])
  total = np.zeros((walks.ROWS, states.max() + 1, 4))
  for i, t in np.argwhere(found.exists):
    total[i, states[i, t]] += advantages[i, t] * ((np.arange(4) == found.actions[i, t]) - 0.25)
  return total


def variance(x: np.ndarray) -> float:
  """Of the numbers of an episode, summed; mean over prompts."""
  return x.reshape(walks.PROMPTS, walks.OF_PROMPT, -1).var(axis=1).sum(axis=1).mean()


def test_its_variance_is_not_above_that_of_flat_gae_and_falls_with_more_segments():
  """On the same episodes in rooms, of a policy that takes any step, with exact values: the gradient of the executor,
  and the advantages of sub-goals, from no switch to one at each key, at every other turn too, and at every turn."""
  found = walks.walks()
  rows, layout = found.trajectories, walks.layout()
  task = types.SimpleNamespace(response_tokens=layout.response_tokens, turns=layout, step_values=None)
  first = rows.prompt_width + layout.slots[:, 0]
  exact = np.pad(np.repeat(found.before, layout.start(1), axis=1), ((0, 0), (rows.prompt_width, 0)))
  exact = jnp.asarray(np.where(np.isfinite(exact), exact, 0)[:, : rows.tokens.shape[1]])
  plain = np.asarray(flat(rows, exact, task))[:, first]
  of_flat = variance(gradients(found, plain))

  keys = np.asarray(rows.extras["subgoals"])
  at_key = np.diff(keys, axis=1, prepend=keys[:, :1]) > 0
  every_other = np.arange(layout.max_turns) % 2 == 0
  plans = {"never": at_key & False, "keys": at_key, "more": at_key | every_other, "always": at_key | True}
  of_method, signal = {}, jax.jit(hiper.build(config_of(hiper, normalize=False), task).signal)
  for name, switch in plans.items():
    extras = {
      "values": jnp.repeat(exact[..., None], 3, axis=-1), "switches": jnp.asarray(np.where(found.exists, switch, -1)),
      **dict.fromkeys(("subgoal_ids", "switch_tokens", "subgoal_tokens"), jnp.where(found.exists, 0, -1)),
    }  # fmt: skip
    streams = signal(rows.with_extras(**extras), jnp.int32(0)).streams
    low = np.asarray(streams["policy"].targets)[:, first]
    of_method[name] = variance(gradients(found, low))
    at = np.asarray(streams["high"].weights)[:, first] > 0
    high = np.asarray(streams["high"].targets)[:, first] - found.before
    assert np.square(high[at]).mean() <= np.square(plain[at]).mean() + 1e-6, name
  assert of_method["never"] == pytest.approx(of_flat, rel=1e-4)
  assert of_flat > 1.2 * of_method["keys"] > 1.2 * of_method["more"] > 1.2 * of_method["always"] > 0


# Edge cases.


def test_a_task_without_turns_is_one_line():
  with pytest.raises(ValueError, match="this task has no turns"):
    hiper.build(config_of(hiper), types.SimpleNamespace(response_tokens=4, turns=None))


def test_options_that_are_not_known_are_refused():
  with pytest.raises(ValueError, match="method.keep_mode is one of normalized, fixed, got 'each'"):
    built(keep_mode="each")
  with pytest.raises(UserError, match="method.lam_segment: want"):
    check_options(config_of(hiper, lam_segment=1.5), hiper)


# Through the trainer.


@pytest.mark.slow
def test_an_iteration_trains_the_policy_and_three_heads():
  trainer = every_method.trainer_of(every_method.built(every_method.config_of("hiper", "num_iterations=1")))
  (metrics,) = trainer.advance().metrics
  for name in ("gradient_norm", "critic/gradient_norm", "low_value_error", "high_value_error", "switch_value_error"):
    assert (metrics[name] > 0).all(), name
