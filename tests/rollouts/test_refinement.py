"""Refinement: budgets by hand, what each round reads, both halves of a batch, demonstrations of a workspace."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.rollouts.flat import flat
from rl_jax.rollouts.refinement import demonstrated, refined, spent, with_refinement
from rl_jax.rollouts.sampler import Sampling
from rl_jax.rollouts.workspaces import Operator
from rl_jax.tasks.task import end_ids
from rl_jax.trajectories import DEMONSTRATION, PROMPT, PrefixTrees
from tests.methods.batches import batch_of
from tests.rollouts import structures
from tests.rollouts.collecting import collected

PROMPTS, GROUP, GREEDY = structures.PROMPTS, structures.GROUP, structures.GREEDY
KEY = jax.random.key(0)


def operator_of(task, **options):
  separator, instruction = (task.vocabulary.encode(text) for text in (":", "="))
  given = {"cap": 2 * task.response_tokens + 1, "separator": separator[0], "instruction": tuple(instruction)}
  return Operator(**given | options)


@functools.cache
def ran(build, rows=PROMPTS):
  """(task, result) of a rollout over four problems, with so many rows in the plan."""
  task, policy = structures.parts()
  plan = structures.plan_of(task)
  plan = plan.replace(row_mask=plan.row_mask[:1].repeat(rows), response_limits=plan.response_limits[:1].repeat(rows))
  run = jax.jit(lambda key: collected(build(task), {"policy": policy}, (), plan, task, key))
  return task, jax.device_get(run(KEY))


def plain(task):
  return flat(task, 1, GREEDY)


def texts(rows, of):
  """Masked tokens of each row, in its prompt ("prompt") or its response."""
  slots = slice(None, rows.prompt_width) if of == "prompt" else slice(rows.prompt_width, None)
  return [list(t[m]) for t, m in zip(rows.tokens[:, slots], rows.attention_mask[:, slots], strict=True)]


def read_after(task, prompt, *drafts):
  """Prompt, drafts and instruction as a workspace shows them."""
  separator, instruction = (list(task.vocabulary.encode(text)) for text in (":", "="))
  shown = [[token for token in draft if token not in end_ids(task.vocabulary)] for draft in drafts]
  joined = [token for draft in shown for token in [*separator, *draft]][1:]
  return [*prompt, *joined, *instruction] if any(shown) else prompt


# Hand-computed.


def round_of(prompt_tokens, calls, *, used=True):
  """One round of so many calls, that read a prompt and write 100 tokens, in slots for 60 and 120."""
  slots = np.arange(180)
  read, written = (slots >= 60 - prompt_tokens) & (slots < 60), (slots >= 60) & (slots < 160)
  mask = np.tile(written, (calls, 1))
  attention = np.tile(read | written, (calls, 1))
  return batch_of(mask, prompt_width=60, attention_mask=attention, row_mask=np.full(calls, used))


def test_the_budget_of_the_worked_example():
  """Prompt 10, drafts of 100 in rounds of 8 and 4, two solutions of 20 in the workspace: B_seq 410, B_total 1630."""
  rounds = [spent(round_of(prompt, calls), 1) for prompt, calls in ((10, 8), (50, 4), (50, 1))]
  assert [int(budget.sequential[0]) for budget in rounds] == [110, 150, 150]
  assert sum(int(budget.sequential[0]) for budget in rounds) == 410
  assert sum(int(budget.total[0]) for budget in rounds) == 1630


def test_a_prompt_that_is_not_in_use_costs_nothing():
  budget = spent(round_of(10, 4, used=np.array([True, True, False, False])), 2)
  assert (budget.sequential.tolist(), budget.total.tolist()) == ([110, 0], [220, 0])


# Inference.


def sequential(task):
  return refined(task, (1,), GREEDY, operator_of(task))


def test_one_draft_per_round_is_sequential_refinement():
  """The answer reads the greedy response to the prompt; both calls are on the path."""
  (task, flat_result), (_, result) = ran(plain), ran(sequential)
  first, last = flat_result.trajectories, result.trajectories
  prompts, drafts = texts(first, "prompt"), texts(first, "response")
  wanted = [read_after(task, *pair) for pair in zip(prompts, drafts, strict=True)]
  assert texts(last, "prompt") == wanted
  assert last.verified.all() and last.prompt_ids.tolist() == list(range(PROMPTS))
  count = sum(map(len, [*prompts, *drafts, *wanted, *texts(last, "response")])) / PROMPTS
  for kind in ("sequential_tokens", "total_tokens"):
    np.testing.assert_allclose(result.metrics[kind].value, count, rtol=1e-6)
  assert result.generated_tokens == sum(map(len, drafts + texts(last, "response")))


def single(task):
  return refined(task, (), GREEDY, operator_of(task))


def test_without_rounds_it_is_a_single_pass():
  (_, flat_result), (_, result) = ran(plain), ran(single)
  for of in ("prompt", "response"):
    assert texts(result.trajectories, of) == texts(flat_result.trajectories, of)
  np.testing.assert_array_equal(result.trajectories.rewards, flat_result.trajectories.rewards)


def in_parallel(task):
  return refined(task, (3, 2), Sampling(), operator_of(task, choice="random_k"), answers=2)


@pytest.mark.slow
def test_each_response_of_a_round_reads_a_workspace_of_its_own():
  """Three drafts, two of two drafts each, two answers of two each; the path is one call of each round."""
  _, result = ran(in_parallel, rows=2 * PROMPTS)
  rows = result.trajectories
  np.testing.assert_array_equal(rows.prompt_ids, np.repeat(np.arange(PROMPTS), 2))
  read = texts(rows, "prompt")
  assert any(read[i] != read[i + 1] for i in range(0, 2 * PROMPTS, 2))
  assert result.metrics["total_tokens"].value > 2 * result.metrics["sequential_tokens"].value
  assert rows.verified.all()


# Training.


def halves(task, refined_prompts=2):
  options = {"refined_prompts": refined_prompts, "drafts": 1}
  return with_refinement(task, GROUP, GREEDY, operator_of(task), **options)


def test_the_last_prompts_read_a_workspace_and_the_others_do_not():
  (task, flat_result), (_, result) = ran(plain), ran(halves, rows=PROMPTS * GROUP)
  first, rows = flat_result.trajectories, result.trajectories
  prompts, drafts = texts(first, "prompt"), texts(first, "response")
  wanted = [*prompts[:2], *(read_after(task, *pair) for pair in zip(prompts[2:], drafts[2:], strict=True))]
  assert texts(rows, "prompt") == [text for text in wanted for _ in range(GROUP)]
  assert texts(rows, "response")[: 2 * GROUP] == [text for text in drafts[:2] for _ in range(GROUP)]
  np.testing.assert_array_equal(rows.extras["refined"], np.arange(PROMPTS * GROUP) >= 2 * GROUP)
  np.testing.assert_array_equal(rows.group_ids, np.repeat(np.arange(PROMPTS), GROUP))
  assert rows.trees == (PrefixTrees.groups(PROMPTS * GROUP, GROUP, rows.prompt_width),)
  assert rows.verified.all() and set(np.unique(rows.source_ids[:, : rows.prompt_width])) == {PROMPT}
  assert not rows.loss_mask[:, : rows.prompt_width].any(), "no gradient on drafts"
  of_rows = rows.loss_mask.sum()
  assert result.generated_tokens == of_rows + sum(map(len, drafts[2:]))
  shown = np.mean([len(long) - len(short) - 1 for long, short in zip(wanted[2:], prompts[2:], strict=True)])
  np.testing.assert_allclose(result.metrics["workspace_tokens"].value, shown)


def no_halves(task):
  return halves(task, refined_prompts=0)


def test_without_refined_prompts_responses_are_plain():
  (_, flat_result), (_, result) = ran(plain), ran(no_halves, rows=PROMPTS * GROUP)
  rows = result.trajectories
  assert texts(rows, "response")[::GROUP] == texts(flat_result.trajectories, "response")
  assert not rows.extras["refined"].any() and result.generated_tokens == rows.loss_mask.sum()


# Demonstrations.


@pytest.mark.parametrize("copied", [0.0, 1.0])
def test_a_demonstration_repeats_one_of_those_that_it_reads_or_is_its_own(copied):
  task, _ = structures.parts()
  rollout = demonstrated(task, operator_of(task), refined_prompts=32, copied=copied)
  ids = jnp.arange(64)
  plan = structures.plan_of(task).replace(
    prompt_ids=ids, row_mask=jnp.ones(64, bool), response_limits=jnp.full(64, task.response_tokens)
  )
  result = jax.device_get(jax.jit(lambda key: collected(rollout, {}, (), plan, task, key))(KEY))
  rows = result.trajectories
  separator, instruction = (task.vocabulary.encode(text)[0] for text in (":", "="))
  plain, repeats, shown = texts(rows, "prompt"), [], []
  for prompt, response in list(zip(plain, texts(rows, "response"), strict=True))[32:]:
    start = prompt.index(instruction) + 1  # the prompt itself ends with this token
    assert prompt[-1] == instruction
    workspace = ",".join(map(str, prompt[start:-1])).split(f",{separator},")
    shown.append(len(workspace))
    repeats.append(",".join(map(str, response[:-1])) in workspace)
  assert set(shown) == {1, 2} and all(prompt[-1] == instruction for prompt in plain[:32])
  assert np.mean(repeats) == 1 if copied else np.mean(repeats) < 0.9
  assert set(np.unique(rows.source_ids[rows.loss_mask])) == {DEMONSTRATION} and rows.verified.all()
  assert result.generated_tokens == 0
