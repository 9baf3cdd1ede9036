"""Workspaces: the solutions of some drafts to a prompt, in a bounded number of tokens after it.

The workspace stands between the prompt and an instruction, in the slots of a wider prompt. Without a solution to show,
the prompt stays as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rl_jax.kernels.search import Workspace, join_drafts, top_drafts
from rl_jax.rollouts.probes import begins
from rl_jax.tasks.task import Prompts, Split, Task, end_ids
from rl_jax.trajectories import Trajectories

CHOICES = ("shared_top_k", "per_sample_top_k", "random_k")
SCORES = ("mean_logprob", "logprob")
SOLUTIONS = ("response", "answer")
OUTCOMES = ("any", "right", "wrong")
"""Values of `Operator.outcome`, as indices."""


@dataclasses.dataclass(frozen=True)
class Operator:
  """Distillation operator: which drafts make the workspace, and how they are written there.

  Attributes:
    choice: one of CHOICES. "shared_top_k": the k drafts with the highest scores, for all responses of the next round.
      "per_sample_top_k": each response of the next round draws k of its own, in proportion to exp(score) without
      replacement. "random_k": uniformly.
    k: drafts in a workspace.
    cap: tokens of a workspace.
    score: the policy's own, since no verifier is asked: "mean_logprob" of a draft's tokens, or "logprob", their sum.
    solution: part of a draft that is shown: its "answer", from the first opening of an answer on, or the "response".
      Neither has an end token.
    separator: token between two solutions.
    instruction: tokens after the workspace.
    outcome: index in OUTCOMES: only drafts that the verifier finds right, or wrong, are shown; None: the verifier is
      not asked.
  """

  choice: str = "shared_top_k"
  k: int = 2
  cap: int = 64
  score: str = "mean_logprob"
  solution: str = "response"
  separator: int = 0
  instruction: tuple[int, ...] = ()
  outcome: Int[Array, ""] | None = None

  @property
  def tokens(self) -> int:
    """Most tokens that a prompt becomes longer by."""
    return self.cap + len(self.instruction)

  def contexts(self, responses: int) -> int:
    """Number of workspaces that so many responses of the next round read."""
    return 1 if self.choice == "shared_top_k" else responses


def check_operator(task: Task, operator: Operator) -> None:
  """Raise ValueError for a task that drafts, or their solutions, cannot be taken from."""
  if task.turns is not None:
    raise ValueError("drafts of several turns are not shown in another prompt: use a task without turns")
  if operator.solution == "answer" and task.forced_answer is None:
    raise ValueError("this task does not say where an answer begins (forced_answer): show the whole response of drafts")


def solutions(task: Task, drafts: Trajectories, solution: str) -> tuple[Int[Array, "B R"], Bool[Array, "B R"]]:
  """(tokens, mask) of the part of each draft that a workspace shows; nothing of rows not in use."""
  responses = slice(drafts.prompt_width, None)
  tokens, mask = drafts.tokens[:, responses], drafts.attention_mask[:, responses] & drafts.row_mask[:, None]
  mask &= ~jnp.isin(tokens, jnp.array(end_ids(task.vocabulary)))
  if solution == "answer":
    assert task.forced_answer is not None
    mask &= jnp.cumsum(begins(task.forced_answer.opening, tokens, mask), axis=1) > 0
  return tokens, mask


def scores(drafts: Trajectories, kind: str) -> Float[Array, " B"]:
  """Score of each draft by the policy that wrote it: "mean_logprob" of its tokens, or "logprob", their sum."""
  total = jnp.where(drafts.loss_mask, drafts.old_logprobs, 0.0).sum(axis=1)
  return total if kind == "logprob" else total / jnp.maximum(drafts.loss_mask.sum(axis=1), 1)


def workspaces(
  task: Task, drafts: Trajectories, operator: Operator, *, prompts: int, contexts: int, key: PRNGKeyArray
) -> Workspace:
  """Workspaces [N * contexts, cap] of drafts to N prompts, `contexts` of each. The rows of a prompt are adjacent.

  A draft without a solution is not chosen.
  """
  by_context = lambda x: jnp.repeat(x.reshape(prompts, -1, *x.shape[1:]), contexts, axis=0)
  tokens, mask = map(by_context, solutions(task, drafts, operator.solution))
  usable = mask.any(axis=2)
  if operator.outcome is not None:
    kind = jnp.where(drafts.correct, OUTCOMES.index("right"), OUTCOMES.index("wrong"))
    usable &= by_context((operator.outcome == 0) | (drafts.scored & (operator.outcome == kind)))
  values = by_context(scores(drafts, operator.score))
  if operator.choice != "shared_top_k":
    # The largest of scores with Gumbel noise are draws without replacement.
    values = jax.random.gumbel(key, values.shape) + (values if operator.choice == "per_sample_top_k" else 0.0)
  chosen = top_drafts(values, usable, k=min(operator.k, usable.shape[1]))
  return join_drafts(tokens, mask, *chosen, cap=operator.cap, separator=operator.separator)


def with_workspaces(prompts: Prompts, workspace: Workspace, instruction: Sequence[int]) -> Prompts:
  """Prompts with a workspace and the instruction after them, in the same number of slots; an empty one changes
  nothing."""
  count, width = prompts.tokens.shape
  exists = workspace.mask.any(axis=1, keepdims=True)
  more = jnp.broadcast_to(jnp.array(instruction, jnp.int32), (count, len(instruction)))
  tokens = jnp.concatenate([prompts.tokens, workspace.tokens, more], axis=1)
  mask = jnp.concatenate([prompts.mask, workspace.mask, exists & jnp.ones(more.shape, bool)], axis=1)
  order = jnp.argsort(mask, axis=1, stable=True)[:, -width:]  # to the right edge
  take = lambda x: jnp.take_along_axis(x, order, axis=1)
  return dataclasses.replace(prompts, tokens=take(tokens), mask=take(mask))


def holds_workspace(task: Task, rows: Trajectories, split: Split) -> Bool[Array, " B"]:
  """Return whether the prompt of each row is longer than the task's: it holds a workspace."""
  read = rows.attention_mask[:, : rows.prompt_width].sum(axis=1)
  return read > task.prompts(rows.prompt_ids, split).mask.sum(axis=1)
