"""Workspaces: which drafts are shown and what of them, within the bound, after the prompt."""

from __future__ import annotations

import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.search import Workspace
from rl_jax.rollouts.workspaces import (
  OUTCOMES,
  Operator,
  check_operator,
  scores,
  solutions,
  with_workspaces,
  workspaces,
)
from rl_jax.tasks.task import ForcedAnswer, Prompts, Vocabulary
from tests.methods.batches import batch_of

KEY = jax.random.key(0)
END, MARK, SEPARATOR = 1, 9, 8
TASK: Any = types.SimpleNamespace(
  vocabulary=Vocabulary(("<pad>", "<end>")), turns=None, forced_answer=ForcedAnswer((MARK,), lambda prompts: None)
)
WIDTH, SLOTS = 2, 4


def drafts_of(*responses, logprobs=None, correct=None, **fields):
  """Rows with these tokens after a prompt of two slots."""
  lengths = np.array([len(tokens) for tokens in responses])
  mask = np.arange(SLOTS) < lengths[:, None]
  tokens = np.zeros(mask.shape, np.int32)
  tokens[mask] = np.concatenate([np.asarray(tokens, np.int32) for tokens in responses])
  wide = lambda x: np.pad(x, ((0, 0), (WIDTH, 0)))
  each = np.zeros(len(responses)) if logprobs is None else np.asarray(logprobs)
  extras = {} if correct is None else {"correct": np.asarray(correct, bool)}
  return batch_of(
    wide(mask), prompt_width=WIDTH, tokens=wide(tokens) + (np.arange(WIDTH + SLOTS) < WIDTH) * 7,
    attention_mask=np.pad(mask, ((0, 0), (WIDTH, 0)), constant_values=True),
    old_logprobs=np.where(wide(mask), each[:, None], np.nan).astype(np.float32), extras=extras, **fields,
  )  # fmt: skip


def made(drafts, *, prompts=1, contexts=1, key=KEY, **options):
  """Tokens of each workspace."""
  operator = Operator(**{"cap": 10, "separator": SEPARATOR} | options)
  space = workspaces(TASK, drafts, operator, prompts=prompts, contexts=contexts, key=key)
  return [row[mask].tolist() for row, mask in zip(np.asarray(space.tokens), np.asarray(space.mask), strict=True)]


FOUR = (2, END), (3, 3, END), (4, END), (5, 5, 5, END)


def test_the_two_likeliest_drafts_are_shown_best_first_without_their_ends():
  """Mean logprobs; by their sums the first, which is short, comes before the last, which is long."""
  drafts = drafts_of(*FOUR, logprobs=[-2, -1.5, -3, -1.25])
  np.testing.assert_allclose(scores(drafts, "mean_logprob"), [-2, -1.5, -3, -1.25])
  np.testing.assert_allclose(scores(drafts, "logprob"), [-4, -4.5, -6, -5])
  assert made(drafts) == [[5, 5, 5, SEPARATOR, 3, 3]]
  assert made(drafts, score="logprob", k=1) == [[2]]


def test_each_prompt_has_drafts_of_its_own():
  assert made(drafts_of(*FOUR, logprobs=[-2, -1, -3, -1]), prompts=2, k=1) == [[3, 3], [5, 5, 5]]


def test_an_answer_begins_at_its_first_opening():
  drafts = drafts_of((2, MARK, 3, END), (4, MARK, MARK, 5), (6, 6, END), (MARK, END))
  tokens, mask = solutions(TASK, drafts, "answer")
  assert [row[m].tolist() for row, m in zip(np.asarray(tokens), np.asarray(mask), strict=True)] == [
    [MARK, 3], [MARK, MARK, 5], [], [MARK],
  ]  # fmt: skip
  assert made(drafts, k=4, solution="answer") == [[MARK, 3, SEPARATOR, MARK, MARK, 5, SEPARATOR, MARK]]


def test_the_bound_keeps_the_end_of_what_is_too_long():
  drafts = drafts_of((2, 3, END), (4, 5, 6, END))
  assert made(drafts, cap=5) == [[2, 3, SEPARATOR, 5, 6]]
  assert made(drafts, cap=1) == [[3]]
  assert made(drafts, cap=0) == [[]]


def test_drafts_without_a_solution_are_not_shown():
  """An empty one, one not in use, and fewer than k."""
  used = np.array([True, True, False])
  assert made(drafts_of((END,), (2, END), (3, END), row_mask=used), k=3) == [[2]]
  assert made(drafts_of((END,), (END,))) == [[]]


@pytest.mark.parametrize(("outcome", "shown"), [("any", [3, SEPARATOR, 2]), ("right", [2]), ("wrong", [3])])
def test_oracles_show_drafts_of_one_outcome(outcome, shown):
  """The third is likelier, but was not scored: nobody knows whether it is wrong."""
  scored = np.array([True, True, False])
  drafts = drafts_of((2, END), (3, END), (4, END), logprobs=[-2, -1, -3], correct=[1, 0, 0], reward_mask=scored)
  assert made(drafts, outcome=jnp.int32(OUTCOMES.index(outcome))) == [shown]


def test_without_a_right_draft_the_oracle_shows_nothing():
  drafts = drafts_of((2, END), (3, END), correct=[0, 0])
  assert made(drafts, outcome=jnp.int32(OUTCOMES.index("right"))) == [[]]


def test_contexts_draw_drafts_of_their_own():
  """In proportion to exp(score), of draws by hand 0.9 and 0.1; uniformly, half and half; shared, the likeliest."""
  drafts = drafts_of((2, END), (3, END), logprobs=[np.log(0.9), np.log(0.1)])
  share = lambda choice: np.mean([tokens == [2] for tokens in made(drafts, contexts=400, k=1, choice=choice)])
  assert share("shared_top_k") == 1
  assert share("per_sample_top_k") == pytest.approx(0.9, abs=0.05)
  assert share("random_k") == pytest.approx(0.5, abs=0.08)
  assert Operator(choice="random_k").contexts(3) == 3 and Operator().contexts(3) == 1


def test_it_stands_between_prompt_and_instruction_at_the_right_edge():
  tokens, mask = jnp.array([[0, 0, 0, 0, 0, 6, 7]] * 2), jnp.array([[False] * 5 + [True] * 2] * 2)
  prompts = Prompts(tokens=tokens, mask=mask, ids=jnp.arange(2), levels=jnp.zeros(2, int), metadata={})
  space = Workspace(jnp.array([[2, 3, 0], [0, 0, 0]]), jnp.array([[True, True, False], [False] * 3]))
  longer = with_workspaces(prompts, space, (4, 5))
  assert longer.tokens.shape == tokens.shape
  assert [row[m].tolist() for row, m in zip(np.asarray(longer.tokens), np.asarray(longer.mask), strict=True)] == [
    [6, 7, 2, 3, 4, 5], [6, 7],
  ]  # fmt: skip
  assert longer.mask[:, -1].all() and not longer.mask[1, :5].any()


def test_tasks_that_it_cannot_serve_are_refused():
  fields = vars(TASK)
  with pytest.raises(ValueError, match="use a task without turns"):
    check_operator(types.SimpleNamespace(**fields | {"turns": 2}), Operator())
  with pytest.raises(ValueError, match="show the whole response"):
    check_operator(types.SimpleNamespace(**fields | {"forced_answer": None}), Operator(solution="answer"))
