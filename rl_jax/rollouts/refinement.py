"""Parallel-distill-refine: drafts of a response, a bounded workspace made of them, responses that read it.

The workspace is made anew from each round of drafts (rollouts/workspaces.py). Sequential refinement has one draft per
round.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from rl_jax.curricula.curriculum import Plan
from rl_jax.kernels.reductions import Mean
from rl_jax.kernels.search import Budget, token_budget
from rl_jax.rollouts.demonstrations import demonstrations
from rl_jax.rollouts.flat import PROVIDES as OF_RESPONSES
from rl_jax.rollouts.flat import flat
from rl_jax.rollouts.rollout import PhaseResult, Rollout, assemble, nothing_new, unasked
from rl_jax.rollouts.sampler import Sampling
from rl_jax.rollouts.workspaces import Operator, check_operator, with_workspaces, workspaces
from rl_jax.tasks.task import ExtraSpec, Prompts, Task
from rl_jax.trajectories import DEMONSTRATION, Trajectories

PROVIDES = {**OF_RESPONSES, "refined": ExtraSpec((), "bool", "the prompt may hold a workspace")}


def after(prompts: Prompts, first: int, times: int = 1) -> Prompts:
  """Prompts from index `first` on, each so many times, adjacent."""
  return jax.tree.map(lambda x: jnp.repeat(x[first:], times, axis=0), prompts)


def plan_after(plan: Plan, first: int, responses: int) -> Plan:
  """Plan of so many responses to each prompt from index `first` on, used and limited as the first one in the plan."""
  of_rows = lambda x: jnp.repeat(x.reshape(plan.prompt_ids.shape[0], -1)[first:, 0], responses)
  return Plan(plan.prompt_ids[first:], of_rows(plan.row_mask), of_rows(plan.response_limits))


def spent(rows: Trajectories, prompts: int) -> Budget:
  """Tokens that the calls of one round read and wrote, for each of N prompts; the first of them is the accepted one."""
  responses = jnp.arange(rows.tokens.shape[1]) >= rows.prompt_width
  by_prompt = lambda x: x.reshape(prompts, -1)
  read, written = (by_prompt((rows.attention_mask & of).sum(axis=1)) for of in (~responses, responses))
  accepted = jnp.broadcast_to(jnp.arange(read.shape[1]) == 0, read.shape)
  return token_budget(read, written, accepted, by_prompt(rows.row_mask))


def refined(task: Task, widths: Sequence[int], sampling: Sampling, operator: Operator, answers: int = 1) -> Rollout:
  """Inference: rounds of as many drafts as `widths` says, then `answers` to each of N prompts, the only rows returned.

  The first round reads the prompt alone. Widths () are a single pass, (1, 1) sequential refinement, (8, 4) two rounds
  in parallel. Drafts are judged only if the operator asks for an outcome.

  Metrics: `sequential_tokens` and `total_tokens`, read and written for a prompt, means over prompts.

  Raises: ValueError: see `check_operator`.
  """
  check_operator(task, operator)

  def round_of(index: int, width: int):
    is_last, judges = index == len(widths), index == len(widths) or operator.outcome is not None
    contexts = operator.contexts(width) if index else 1
    (write,) = flat(task, width // contexts, sampling).phases

    def phase(models, state, plan, prompts, before, key):
      count, asked = prompts.ids.shape[0], after(prompts, 0, contexts)
      if index:
        of_drafts = jax.random.fold_in(key, 1)
        workspace = workspaces(task, before, operator, prompts=count, contexts=contexts, key=of_drafts)
        asked = with_workspaces(asked, workspace, operator.instruction)
      of_round = plan_after(plan, 0, width).replace(prompt_ids=asked.ids)
      rows = write(models, state, of_round, asked, None, jax.random.fold_in(key, 0)).trajectories
      once = jnp.float32(count if is_last else 0)  # rounds add up
      tokens = {f"{kind}_tokens": number for kind, number in spent(rows, count)._asdict().items()}
      metrics = {name: Mean(number.sum().astype(jnp.float32), once) for name, number in tokens.items()}
      return PhaseResult(state, rows, (unasked if judges else nothing_new)(rows), rows.sampled_tokens, metrics)

    return phase

  phases = tuple(round_of(index, width) for index, width in enumerate((*widths, answers)))
  return Rollout(phases=phases, provides=OF_RESPONSES, prompt_width=task.prompt_tokens + operator.tokens)


def with_refinement(
  task: Task, completions_per_prompt: int, sampling: Sampling, operator: Operator, *, refined_prompts: int, drafts: int
) -> Rollout:
  """Responses to N prompts, of which those to the last `refined_prompts` read a workspace made of `drafts` drafts.

  The responses to a prompt share its workspace. Drafts are neither judged nor part of the batch.

  Extras: those of `PROVIDES`. Metrics: `workspace_tokens`, without the instruction, mean over refined prompts.

  Raises: ValueError: see `check_operator`.
  """
  check_operator(task, operator)
  (write,), (draft,) = (flat(task, count, sampling).phases for count in (completions_per_prompt, drafts))

  def phase(models, state, plan, prompts, before, key):
    plain, drafted, metrics = prompts.ids.shape[0] - refined_prompts, jnp.int32(0), {}
    draw = lambda index: jax.random.fold_in(key, index)
    if refined_prompts:
      asked = after(prompts, plain)
      rows = draft(models, state, plan_after(plan, plain, drafts), asked, None, draw(1)).trajectories
      drafted = rows.sampled_tokens
      workspace = workspaces(task, rows, operator, prompts=refined_prompts, contexts=1, key=draw(2))
      metrics = {"workspace_tokens": Mean(workspace.mask.sum().astype(jnp.float32), jnp.float32(refined_prompts))}
      prompts = _joined(prompts, with_workspaces(asked, workspace, operator.instruction))
    rows = write(models, state, plan, prompts, None, draw(0)).trajectories
    generated = rows.sampled_tokens + drafted
    rows = rows.with_extras(refined=jnp.arange(rows.row_mask.shape[0]) >= plain * completions_per_prompt)
    return PhaseResult(state, rows, unasked(rows), generated, metrics)

  return Rollout(phases=(phase,), provides=PROVIDES, prompt_width=task.prompt_tokens + operator.tokens)


def demonstrated(task: Task, operator: Operator, *, refined_prompts: int, copied: float) -> Rollout:
  """A demonstration of each of N prompts, of which the last `refined_prompts` hold a workspace of others.

  A workspace shows one to k demonstrations. With probability `copied` the response repeats one of them, else it is made
  apart from them. A policy that learns this reads a workspace, and trusts whatever it says half of the time.

  Raises: ValueError: see `check_operator`; the task has no demonstrations.
  """
  check_operator(task, operator)
  (demonstrate,) = demonstrations(task).phases
  k = operator.k

  def phase(models, state, plan, prompts, before, key):
    plain, width = prompts.ids.shape[0] - refined_prompts, prompts.tokens.shape[1]
    draw = lambda index: jax.random.fold_in(key, index)
    asked = after(prompts, plain)
    own = demonstrate(models, state, plan, prompts, None, draw(0)).trajectories
    of_drafts = plan_after(plan, plain, k)
    drafts = demonstrate(models, state, of_drafts, after(prompts, plain, k), None, draw(1)).trajectories
    shown = jax.random.randint(draw(2), (refined_prompts,), 1, k + 1)
    visible = drafts.replace(row_mask=(jnp.arange(k) < shown[:, None]).ravel())
    workspace = workspaces(task, visible, operator, prompts=refined_prompts, contexts=1, key=draw(3))

    copies = jax.random.bernoulli(draw(4), copied, (refined_prompts,))
    source = jnp.arange(refined_prompts) * k + jax.random.randint(draw(5), (refined_prompts,), 0, shown)
    rows = jnp.arange(plain + refined_prompts)
    index = rows.at[plain:].set(jnp.where(copies, rows.shape[0] + source, rows[plain:]))
    responses = lambda own, drafts: jnp.concatenate([own, drafts])[index, width:]
    made = assemble(
      _joined(prompts, with_workspaces(asked, workspace, operator.instruction)),
      responses(own.tokens, drafts.tokens),
      responses(own.loss_mask, drafts.loss_mask),
      completions_per_prompt=1,
      row_mask=plan.row_mask,
      truncated=own.truncated,
      source=DEMONSTRATION,
    )
    return PhaseResult(state, made, unasked(made), jnp.int32(0))

  return Rollout(phases=(phase,), prompt_width=task.prompt_tokens + operator.tokens)


def _joined(prompts: Prompts, last: Prompts) -> Prompts:
  """Prompts with other last ones."""
  first = prompts.ids.shape[0] - last.ids.shape[0]
  return jax.tree.map(lambda x, new: jnp.concatenate([x[:first], new]), prompts, last)
