"""Rollouts: what a batch holds, verification, the chain task, and phases that read rewards of phases before."""

from __future__ import annotations

import dataclasses
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from rl_jax.curricula.curriculum import Plan
from rl_jax.kernels.reductions import Mean
from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.model import Model
from rl_jax.rollouts.demonstrations import demonstrations
from rl_jax.rollouts.flat import flat
from rl_jax.rollouts.rollout import (
  BoundModel,
  PhaseResult,
  Rollout,
  assemble,
  judged,
  padded,
  prompts_of_rows,
  unasked,
  verify,
)
from rl_jax.rollouts.sampler import Sampling, positions_of
from rl_jax.rollouts.truncation import Truncation
from rl_jax.tasks import chain
from rl_jax.tasks.task import ExtraSpec, Prompts, Verdicts
from rl_jax.trajectories import DEMONSTRATION, HINT, POLICY, PROMPT, PrefixTrees
from tests.rollouts.collecting import collected

PROMPTS = Prompts(
  tokens=jnp.array([[0, 5, 6], [7, 8, 9]]),
  mask=jnp.array([[False, True, True], [True, True, True]]),
  ids=jnp.array([40, 30]),
  levels=jnp.array([0, 0]),
  metadata={},
)
TOKENS = jnp.array([[3, 1], [4, 0], [2, 2], [0, 0]])
MASK = jnp.array([[True, True], [True, False], [True, True], [False, False]])


def by_hand(**arrays):
  return assemble(
    PROMPTS, TOKENS, MASK,
    completions_per_prompt=2, row_mask=jnp.array([True, True, True, False]),
    truncated=jnp.array([False, True, True, True]), **arrays,
  )  # fmt: skip


@pytest.fixture(scope="module")
def task():
  levels = {"two": {"operations": 2}}
  rates = {"step_error_rate": 0.0, "skip_rate": 0.0, "recheck_rate": 0.0}
  made = chain.build(ConfigDict({**chain.get_config(), **rates, "levels": levels, "spare_tokens": 0}))
  return dataclasses.replace(
    made,
    prompts=jax.jit(made.prompts, static_argnums=1),
    verify=jax.jit(made.verify),
    demonstrate=jax.jit(made.demonstrate),
  )


@pytest.fixture(scope="module")
def models(task):
  words = len(task.vocabulary)
  sizes = {"width": 8, "layers": 1, "heads": 2, "key_value_heads": 1, "head_width": 4, "feed_forward": 8}
  model = Model(TransformerConfig(words, words, **sizes), temperature=0.9)
  return {"policy": BoundModel(model, nn.unbox(model.init(jax.random.key(0))))}


def plan_of(task, prompts, rows, limit=None):
  """The first ids, the last row unused."""
  limits = jnp.full(rows, task.response_tokens if limit is None else limit)
  return Plan(prompt_ids=jnp.arange(prompts), row_mask=jnp.arange(rows) < rows - 1, response_limits=limits)


def step(rollout, models, task, plan, key=0, state=()):
  """State and trajectories of one iteration, jitted."""
  params = {name: bound.params for name, bound in models.items()}
  bind = lambda params: {name: BoundModel(bound.model, params[name]) for name, bound in models.items()}
  program = jax.jit(lambda params, state, plan, key: collected(rollout, bind(params), state, plan, task, key))
  return jax.device_get(program(params, state, plan, jax.random.key(key)))[:2]


def test_assemble_field_by_field():
  logprobs = -jnp.arange(8.0).reshape(4, 2)
  got = by_hand(behaviour_logprobs=logprobs, old_logprobs=2 * logprobs, surprise=3 * logprobs)
  padded = np.array([[0, 0, 0, 0, -1], [0, 0, 0, -2, -3], [0, 0, 0, -4, -5], [0, 0, 0, -6, -7]])
  want = {
    "tokens": [[0, 5, 6, 3, 1], [0, 5, 6, 4, 0], [7, 8, 9, 2, 2], [7, 8, 9, 0, 0]],
    "positions": [[0, 0, 1, 2, 3], [0, 0, 1, 2, 2], [0, 1, 2, 3, 4], [0, 1, 2, 2, 2]],
    "attention_mask": [[0, 1, 1, 1, 1], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [1, 1, 1, 0, 0]],
    "loss_mask": [[0, 0, 0, 1, 1], [0, 0, 0, 1, 0], [0, 0, 0, 1, 1], [0] * 5],
    "step_ids": [[-1] * 5] * 4,
    "turn_ids": [[0] * 5] * 4,
    "source_ids": [[PROMPT] * 3 + [POLICY] * 2] * 4,
    "group_ids": [0, 0, 1, 1],
    "prompt_ids": [40, 40, 30, 30],
    "row_mask": [1, 1, 1, 0],
    "behaviour_logprobs": padded,
    "old_logprobs": 2 * padded,
    "ref_logprobs": [[0] * 5] * 4,
    "rewards": [0] * 4,
    "objectives": np.zeros((4, 0)),
    "token_rewards": [[0] * 5] * 4,
    "verified": [0] * 4,
    "reward_mask": [0] * 4,
    "truncated": [0, 1, 1, 1],
    "unfinished": [0] * 4,
    "prompt_width": 3,
  }
  assert got.trees == (PrefixTrees.groups(4, 2, 3),)
  assert set(want) | {"extras", "trees", "run_width", "run_rows"} == set(got.__dataclass_fields__)
  for name, value in want.items():
    np.testing.assert_array_equal(getattr(got, name), value, err_msg=name)
  assert set(got.extras) == {"surprise"}
  np.testing.assert_array_equal(got.extras["surprise"], 3 * padded)
  for name in ("attention_mask", "loss_mask", "row_mask", "verified", "reward_mask", "truncated"):
    assert getattr(got, name).dtype == bool, name


def test_assemble_says_which_numbers_do_not_fit():
  with pytest.raises(ValueError, match="4 responses do not belong to 2 prompts x 3 completions"):
    assemble(PROMPTS, TOKENS, MASK, completions_per_prompt=3, row_mask=MASK[:, 0], truncated=MASK[:, 0])


def test_verdicts_field_by_field():
  """Row 0 is asked, row 1 was judged before, row 2 goes on, row 3 is not used."""
  before = by_hand().replace(
    rewards=jnp.array([0.0, 7, 0, 0]), objectives=jnp.array([[0.0, 0], [7, 8], [0, 0], [0, 0]]),
    verified=jnp.array([False, True, False, False]), reward_mask=jnp.array([False, True, False, False]),
    unfinished=jnp.array([False, False, True, False]), step_ids=jnp.full((4, 5), -1).at[1, 3:].set(9),
    extras={"right": jnp.zeros((4, 5)).at[1, 3:].set(9.0)},
  )  # fmt: skip
  verdicts = Verdicts(
    rewards=jnp.arange(1.0, 5), reward_mask=jnp.array([True, False, True, True]), step_ids=jnp.array([[0, 1]] * 4),
    extras={"right": jnp.full((4, 2), 0.5), "seen": jnp.arange(12).reshape(4, 3) + 1},
    objectives=jnp.arange(8.0).reshape(4, 2) + 1,
  )  # fmt: skip
  got = judged(before, verdicts, jnp.array([3, 2, 1, 0]), jnp.array([True, False, False, False]), {})
  steps, none = [-1, -1, -1, 0, 1], [-1] * 5
  want = {
    "rewards": [1, 7, 0, 0],
    "objectives": [[1, 2], [7, 8], [0, 0], [0, 0]],
    "verified": [True, True, False, False],
    "reward_mask": [True, True, False, False],
    "step_ids": [steps, [-1, -1, -1, 9, 9], steps, none],
  }
  for name, value in want.items():
    np.testing.assert_array_equal(getattr(got, name), value, err_msg=name)
  np.testing.assert_array_equal(got.extras["right"][:, 3:], [[0.5] * 2, [9] * 2, [0.5] * 2, [0] * 2])
  assert not got.extras["right"][:, :3].any()
  np.testing.assert_array_equal(got.extras["seen"], [[1, 2, 3], [0] * 3, [7, 8, 9], [0] * 3])
  np.testing.assert_array_equal(got.extras["levels"], [3, 2, 1, 0])
  of_unscored = judged(before, verdicts, jnp.zeros(4, int), jnp.array([True, True, True, False]), {})
  np.testing.assert_array_equal(of_unscored.reward_mask, [True, False, False, False])
  np.testing.assert_array_equal(of_unscored.verified, [True, True, True, False])


def test_a_declared_shape_says_what_speaks_of_tokens():
  """Two numbers for each row are as many as a response has tokens here."""
  verdicts = Verdicts(
    rewards=jnp.zeros(4), reward_mask=jnp.ones(4, bool), step_ids=jnp.full((4, 2), -1),
    extras={name: jnp.ones((4, 2)) for name in ("pair", "tokens", "new")} | {"vectors": jnp.ones((4, 2, 3))},
  )  # fmt: skip
  provides = {
    "pair": ExtraSpec(("K",), "float32", ""), "tokens": ExtraSpec(("R",), "float32", ""),
    "vectors": ExtraSpec(("R", "D"), "float32", ""),
  }  # fmt: skip
  extras = judged(by_hand(), verdicts, jnp.zeros(4, int), jnp.ones(4, bool), provides).extras
  assert {name: x.shape for name, x in extras.items() if name in verdicts.extras} == {
    "pair": (4, 2), "tokens": (4, 5), "vectors": (4, 5, 3), "new": (4, 5)
  }  # fmt: skip


def test_rows_of_another_plan_have_no_prompt_in_this_one():
  rows = by_hand().replace(prompt_ids=jnp.array([*PROMPTS.ids, 77, 78]))
  found, known = prompts_of_rows(PROMPTS, rows)
  np.testing.assert_array_equal(known, [True, True, False, False])
  np.testing.assert_array_equal(found.ids[:2], PROMPTS.ids)


def test_finished_rows_in_use_are_to_be_asked_once():
  batch = by_hand().replace(unfinished=jnp.array([False, True, False, False]))
  np.testing.assert_array_equal(unasked(batch), [True, False, True, False])
  np.testing.assert_array_equal(unasked(batch.replace(verified=unasked(batch))), [False] * 4)


def test_prompts_are_padded_on_the_left():
  wide = padded(PROMPTS, 5)
  np.testing.assert_array_equal(wide.tokens, [[0, 0, 0, 5, 6], [0, 0, 7, 8, 9]])
  np.testing.assert_array_equal(wide.mask, np.array(wide.tokens) > 0)
  np.testing.assert_array_equal(wide.ids, PROMPTS.ids)
  assert padded(PROMPTS, None) is padded(PROMPTS, 3) is PROMPTS
  said = "prompts of 3 slots do not fit into a rollout's prompt_width of 2"
  with pytest.raises(ValueError, match=re.escape(said)):
    padded(PROMPTS, 2)


def test_verify_scores_known_responses(task):
  """A right, a wrong and an unused row of one problem, from its own demonstration."""
  prompts = task.prompts(jnp.array([11]), "train")
  tokens, mask = task.demonstrate(jax.random.key(0), prompts)
  answer = int(mask.sum()) - 2
  wrong = tokens.at[0, answer].set(jnp.where(tokens[0, answer] == 2, 3, 2))
  batch = assemble(
    prompts, jnp.concatenate([tokens, wrong, tokens]), jnp.repeat(mask, 3, axis=0), completions_per_prompt=3,
    row_mask=jnp.array([True, True, False]), truncated=jnp.zeros(3, bool),
  )  # fmt: skip
  got = verify(task, batch, unasked(batch))
  np.testing.assert_array_equal(got.rewards, [1, 0, 0])
  np.testing.assert_array_equal(got.reward_mask, [True, True, False])
  np.testing.assert_array_equal(got.verified, [True, True, False])
  np.testing.assert_array_equal(got.extras["levels"], [0, 0, 0])
  steps = np.asarray(got.step_ids)
  width = task.prompt_tokens
  assert np.all(steps[:, :width] == -1)
  assert task.vocabulary.decode(tokens[0]).startswith("a")
  np.testing.assert_array_equal(steps[0, width:], [0, 0, 1, 1, 2, 2, 2])  # "a7b4#4<end>"
  correct = np.asarray(got.extras["step_correct"])
  assert correct.shape == steps.shape and not correct[:, :width].any()
  np.testing.assert_array_equal(correct[1, width:], [True] * 4 + [False] * 3)
  assert got.extras["answer_correct"].shape == (3,)
  np.testing.assert_array_equal(got.tokens, batch.tokens)


def test_verify_reads_the_split(task):
  prompts = task.prompts(jnp.array([11]), "held_out")
  tokens, mask = task.demonstrate(jax.random.key(0), prompts)
  one = jnp.ones(1, bool)
  batch = assemble(prompts, tokens, mask, completions_per_prompt=1, row_mask=one, truncated=~one)
  right = [float(verify(task, batch, one, split).extras["step_correct"].sum()) for split in ("held_out", "train")]
  assert right[0] == mask.sum() and right[1] < right[0]


def test_flat_rollout_of_the_chain_task(task, models):
  sampling = Sampling(Truncation(top_k=4))
  state, got = step(flat(task, 3, sampling), models, task, plan_of(task, 4, 12), state=())
  assert state == () and got.tokens.shape == (12, task.prompt_tokens + task.response_tokens)
  np.testing.assert_array_equal(got.group_ids, np.repeat(np.arange(4), 3))
  np.testing.assert_array_equal(got.prompt_ids, got.group_ids)
  np.testing.assert_array_equal(got.row_mask, [True] * 11 + [False])
  np.testing.assert_array_equal(got.reward_mask, got.row_mask)
  np.testing.assert_array_equal(got.positions, positions_of(got.attention_mask))
  np.testing.assert_array_equal(got.loss_mask[:, : task.prompt_tokens], False)
  np.testing.assert_array_equal(got.loss_mask, got.attention_mask & (np.arange(18 - 5) >= task.prompt_tokens))
  policy = models["policy"]
  again = policy.model.outputs(policy.params, got)
  for name, array in {"logprobs": got.old_logprobs, "entropies": got.extras["behaviour_entropies"]}.items():
    np.testing.assert_allclose(array, np.where(got.loss_mask, again[name], 0), atol=1e-5, err_msg=name)
  assert np.all((got.behaviour_logprobs > got.old_logprobs)[got.loss_mask])
  prompts = task.prompts(jnp.arange(4), "train")
  np.testing.assert_array_equal(got.tokens[::3, : task.prompt_tokens], prompts.tokens)


def test_flat_rollout_keeps_the_plans_limits(task, models):
  _, got = step(flat(task, 2, Sampling()), models, task, plan_of(task, 2, 4, limit=2))
  assert got.loss_mask.sum(axis=1).max() == 2 and got.truncated.any()


def test_demonstrations_are_right_and_not_the_policys(task):
  plan = plan_of(task, 6, 6)
  _, got = step(demonstrations(task), {}, task, plan)
  np.testing.assert_array_equal(got.rewards[plan.row_mask], 1)  # rates of flaws are 0
  np.testing.assert_array_equal(got.reward_mask, plan.row_mask)
  np.testing.assert_array_equal(got.source_ids[:, task.prompt_tokens :], DEMONSTRATION)
  np.testing.assert_array_equal(got.source_ids[:, : task.prompt_tokens], PROMPT)
  assert got.loss_mask[:, task.prompt_tokens :].all() and not got.truncated.any()


def test_phases_draw_with_keys_of_their_own(task, models):
  one = demonstrations(task).phases[0]

  def note(models, state, plan, prompts, trajectories, key):
    return one(models, (*state, jax.random.key_data(key)), plan, prompts, trajectories, key)

  seen, _ = step(Rollout(phases=(note, note)), models, task, plan_of(task, 6, 6))
  assert len(seen) == 2 and not np.array_equal(*seen)


def test_a_phase_reads_the_rewards_of_the_phase_before(task, models):
  """Rows that failed are replaced by a demonstration whose first token is a hint, in a state that counts them."""

  def replace_failures(models, state, plan, prompts, trajectories, key):
    assert trajectories is not None
    failed = trajectories.scored & (trajectories.rewards < 1)
    tokens, mask = task.demonstrate(key, prompts)
    shown = assemble(
      prompts, tokens, mask, completions_per_prompt=1, row_mask=trajectories.row_mask,
      truncated=jnp.zeros(tokens.shape[0], bool), source=HINT,
    )  # fmt: skip
    shown = shown.replace(group_ids=trajectories.group_ids, extras=trajectories.extras)
    pick = lambda new, old: jnp.where(failed.reshape(-1, *[1] * (old.ndim - 1)), new, old)
    rows = jax.tree.map(pick, shown, trajectories)
    return PhaseResult(state + failed.sum(), rows, unasked(rows), jnp.int32(0))

  demonstrate = demonstrations(task).phases[0]

  def half_right(models, state, plan, prompts, trajectories, key):
    """Demonstrations, the answers of even rows spoilt."""
    result = demonstrate(models, state, plan, prompts, trajectories, key)
    rows = result.trajectories
    spoilt = rows.tokens.at[::2, -2].set(rows.tokens[::2, -2] % 9 + 3)
    return result._replace(trajectories=rows.replace(tokens=jnp.where(rows.tokens == spoilt, rows.tokens, spoilt)))

  plan = plan_of(task, 6, 6)
  first = Rollout(phases=(half_right,), init=lambda key: jnp.int32(0))
  both = Rollout(phases=(half_right, replace_failures), init=lambda key: jnp.int32(0))
  _, before = step(first, {}, task, plan, state=first.init(jax.random.key(0)))
  count, after = step(both, {}, task, plan, state=both.init(jax.random.key(0)))
  failed = before.scored & (before.rewards < 1)
  assert count == failed.sum() > 0 and not failed.all()
  np.testing.assert_array_equal(after.rewards[after.row_mask], 1)
  np.testing.assert_array_equal((after.source_ids == HINT).any(axis=1), failed)
  np.testing.assert_array_equal(after.tokens[~failed], before.tokens[~failed])


def test_what_phases_sample_and_say_is_added_up(task):
  first = demonstrations(task).phases[0]

  def said(name, tokens):
    def phase(models, state, plan, prompts, trajectories, key):
      metrics = {name: Mean(jnp.float32(tokens), jnp.float32(1.0)), "both": Mean(jnp.float32(tokens), jnp.float32(2.0))}
      result = first(models, state, plan, prompts, trajectories, key)
      return result._replace(generated_tokens=jnp.int32(tokens), metrics=metrics)

    return phase

  result = collected(Rollout((said("a", 3), said("b", 40))), {}, (), plan_of(task, 6, 6), task, jax.random.key(0))
  assert result.generated_tokens == 43
  assert {name: float(mean.value) for name, mean in result.metrics.items()} == {"a": 3, "b": 40, "both": 43 / 4}


def test_extras_of_a_plan_reach_every_phase(task):
  """A second phase marks as many of the first rows as the plan says."""

  def mark(models, state, plan, prompts, trajectories, key):
    assert trajectories is not None
    marked = jnp.arange(trajectories.tokens.shape[0]) < plan.extras["hinted"]
    rows = trajectories.replace(source_ids=jnp.where(marked[:, None], HINT, trajectories.source_ids))
    return PhaseResult(state, rows, unasked(rows), jnp.int32(0))

  plan = plan_of(task, 6, 6).replace(extras={"hinted": jnp.int32(4)})
  _, got = step(Rollout((*demonstrations(task).phases, mark)), {}, task, plan)
  np.testing.assert_array_equal((got.source_ids == HINT).all(axis=1), np.arange(6) < 4)


def test_a_rollout_of_no_phase_is_an_error(task):
  with pytest.raises(AssertionError, match="at least one phase"):
    collected(Rollout(phases=()), {}, (), plan_of(task, 1, 1), task, jax.random.key(0))
