"""Replay and reflection: past responses, right and wrong, join a group of the same prompt or become part of a prompt.

A buffer keeps the latest right and wrong responses to each prompt of a pool. Past responses of the opposite outcome
join a group whose responses are all right or all wrong. A prompt that was mostly answered wrong is asked again, in a
wider prompt that consists of the prompt, one of its wrong responses and an instruction.
"""

from __future__ import annotations

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rl_jax.curricula.curriculum import Plan
from rl_jax.kernels.curricula.replay import needs_reflection, replay_slots
from rl_jax.kernels.reductions import Mean
from rl_jax.rollouts.continuation import concatenate, prefixes
from rl_jax.rollouts.flat import flat
from rl_jax.rollouts.replay import as_buffered, empty_buffer
from rl_jax.rollouts.rollout import PhaseResult, Rollout, nothing_new
from rl_jax.rollouts.sampler import Sampling
from rl_jax.tasks.task import ExtraSpec, Prompts, Task
from rl_jax.trajectories import REPLAY, PrefixTrees, Trajectories

PROVIDES = {
  "behaviour_entropies": ExtraSpec(("T",), "float32", "as in flat rollouts, 0 in replayed rows"),
  "correct": ExtraSpec((), "bool", "the response solves the problem"),
  "replayed": ExtraSpec((), "bool", "the row is of an earlier iteration"),
  "reflecting": ExtraSpec((), "bool", "the prompt holds a wrong response"),
}


class Past(flax.struct.PyTreeNode):
  """Outcomes of earlier iterations, in S places; the place of a prompt is its id modulo S."""

  right: Trajectories
  """S * H rows, H for each place, oldest first; `row_mask` is True for rows in use."""
  wrong: Trajectories
  prompt_ids: Int[Array, " S"]
  """Id of the prompt in each place, -1 at first. A new prompt replaces the previous one."""
  responses: Float[Array, " S"]
  """Number of scored responses so far."""
  successes: Float[Array, " S"]


class Recalled(flax.struct.PyTreeNode):
  """The past of N prompts; empty for prompts whose place another prompt holds."""

  right: Trajectories
  """N * H rows."""
  wrong: Trajectories
  responses: Float[Array, " N"]
  successes: Float[Array, " N"]


def recalled(past: Past, ids: Int[Array, " N"]) -> Recalled:
  """The past of the prompts `ids`."""
  places = ids % past.prompt_ids.shape[0]
  own = past.prompt_ids[places] == ids
  kept = past.right.row_mask.shape[0] // past.prompt_ids.shape[0]
  rows = (places[:, None] * kept + jnp.arange(kept)).ravel()

  def of(kind: Trajectories) -> Trajectories:
    found = kind.rows(rows)
    return found.replace(row_mask=found.row_mask & jnp.repeat(own, kept))

  count = lambda x: jnp.where(own, x[places], 0.0)
  return Recalled(of(past.right), of(past.wrong), count(past.responses), count(past.successes))


def remembered(past: Past, ids: Int[Array, " N"], rows: Trajectories) -> Past:
  """The past with the scored new rows added. Rows of a prompt are adjacent; of equal prompts only the first counts."""
  count, size = ids.shape[0], past.prompt_ids.shape[0]
  before, places = recalled(past, ids), ids % size
  earlier = jnp.tril(places[:, None] == places, -1).any(axis=1)
  places = jnp.where(earlier, size, places)  # beyond the end: dropped
  of_prompt = lambda x: x.reshape(count, -1)
  scored, correct = of_prompt(rows.scored), of_prompt(rows.correct)

  def pushed(kind: Trajectories, old: Trajectories, outcome: bool) -> Trajectories:
    kept = of_prompt(old.row_mask).shape[1]
    usable = jnp.concatenate([of_prompt(old.row_mask), scored & (correct == outcome)], axis=1)
    # Usable rows last, oldest first.
    newest = jnp.argsort(usable, axis=1, stable=True)[:, -kept:]
    index = jnp.concatenate(
      [of_prompt(jnp.arange(count * kept)), count * kept + of_prompt(jnp.arange(rows.row_mask.size))], axis=1
    )
    taken = lambda x: jnp.take_along_axis(x, newest, axis=1).ravel()
    both = concatenate(old, as_buffered(old, rows))
    found = both.rows(taken(index)).replace(row_mask=taken(usable))
    found = found.replace(source_ids=jnp.where(found.loss_mask, REPLAY, found.source_ids))
    target = (places[:, None] * kept + jnp.arange(kept)).ravel()
    return jax.tree.map(lambda x, new: x.at[target].set(new, mode="drop"), kind, found)

  put = lambda x, new: x.at[places].set(new, mode="drop")
  return Past(
    right=pushed(past.right, before.right, True),
    wrong=pushed(past.wrong, before.wrong, False),
    prompt_ids=put(past.prompt_ids, ids),
    responses=put(past.responses, before.responses + scored.sum(axis=1)),
    successes=put(past.successes, before.successes + (scored & correct).sum(axis=1)),
  )


def reflections(
  past: Recalled, prompts: Prompts, instruction: tuple[int, ...], key: PRNGKeyArray
) -> tuple[Prompts, Bool[Array, " N"]]:
  """(prompts, mask): each prompt, a random wrong response to it and the instruction; unchanged if it has none."""
  count, width = prompts.tokens.shape
  wrong = past.wrong.row_mask.reshape(count, -1)
  drawn = jnp.argmax(jnp.where(wrong, jax.random.uniform(key, wrong.shape), -1.0), axis=1)
  rows = past.wrong.rows(jnp.arange(count) * wrong.shape[1] + drawn)
  ends = rows.prompt_width + rows.attention_mask[:, rows.prompt_width :].sum(axis=1)
  before = prefixes(rows, ends)
  more = jnp.broadcast_to(jnp.array(instruction, jnp.int32), (count, len(instruction)))
  longer = lambda x, end: jnp.concatenate([x, end], axis=1)[:, -width:]
  found = wrong.any(axis=1)
  chosen = lambda new, old: jnp.where(found[:, None], new, old)
  tokens, mask = longer(before.tokens, more), longer(before.mask, jnp.ones(more.shape, bool))
  return dataclasses.replace(prompts, tokens=chosen(tokens, prompts.tokens), mask=chosen(mask, prompts.mask)), found


def with_past(
  task: Task,
  completions_per_prompt: int,
  sampling: Sampling,
  *,
  pool: int,
  kept: int,
  replayed: int,
  reflected: int | None,
  threshold: float,
  instruction: tuple[int, ...] = (),
) -> Rollout:
  """Responses to each of N prompts, up to `replayed` past ones, and responses to some prompts that are asked again.

  The prompts to reflect on are the first ones of the plan whose share of right responses so far is below `threshold`.
  They form groups of their own; past responses do not join these, and they are not remembered, since their context
  differs. Every group has the same number of adjacent rows; missing ones have `row_mask` False. A replayed row keeps
  its logprobs, its mask of trained tokens and its reward, and has the source REPLAY. A group is compared with the past
  before being added to it.

  Extras: those of `PROVIDES`. Metrics: `replayed`, the share of replayed rows; `reflections`, the share of prompts that
  are asked again.

  Args:
    pool: S, the number of prompts with a past: the size of the task's pool, or as many as memory allows.
    kept: H, the number of right responses kept for each prompt, and of wrong ones.
    reflected: largest number of prompts of a plan that are asked again; None: all.
    instruction: token ids at the end of a reflection prompt.

  Raises: ValueError: the task has turns, or more responses are to be replayed than are kept.
  """
  if replayed > kept:
    raise ValueError(f"{replayed} past responses cannot join a group, as {kept} right and {kept} wrong ones are kept")
  if task.turns is not None:
    raise ValueError("responses of several turns cannot become part of a prompt: use a task without turns")
  reflects = reflected != 0
  respond, size = flat(task, completions_per_prompt, sampling), completions_per_prompt + replayed
  width = task.prompt_tokens + (task.response_tokens + len(instruction) if reflects else 0)

  by_prompt = lambda x: x.reshape(-1, completions_per_prompt)

  def ask(models, state, plan, prompts, before, key):
    if reflects:
      plan, prompts = with_reflections(recalled(state, prompts.ids), plan, prompts, jax.random.fold_in(key, 1))
    (phase,) = respond.phases
    return phase(models, state, plan, prompts, None, jax.random.fold_in(key, 0))

  def with_reflections(past: Recalled, plan: Plan, prompts: Prompts, key: PRNGKeyArray) -> tuple[Plan, Prompts]:
    share = past.successes / jnp.maximum(past.responses, 1)
    hard = needs_reflection(share[:, None], past.responses[:, None] > 0, threshold=threshold)
    longer, found = reflections(past, prompts, instruction, key)
    asked = hard & found & by_prompt(plan.row_mask).any(axis=1)
    first = jnp.argsort(~asked, stable=True)[:reflected]
    mask, limits = asked[first, None] & by_prompt(plan.row_mask)[first], by_prompt(plan.response_limits)[first]
    joined = lambda x, more: jnp.concatenate([x, more])
    both = jax.tree.map(lambda x, more: joined(x, more[first]), prompts, longer)
    limits = jnp.where(mask, limits, 0)
    return Plan(both.ids, joined(plan.row_mask, mask.ravel()), joined(plan.response_limits, limits.ravel())), both

  def opposite(plain: Trajectories, past: Recalled) -> tuple[Int[Array, "N k"], Bool[Array, "N k"]]:
    """(index among all right rows of the past and all wrong ones, mask)"""
    count = past.responses.shape[0]
    right, wrong = (kind.row_mask.reshape(count, kept) for kind in (past.right, past.wrong))
    outcomes = jnp.concatenate([jnp.ones_like(right), jnp.zeros_like(wrong)], axis=1)
    of_rows = lambda x: jnp.repeat(x, completions_per_prompt, axis=0)
    kept_outcomes, exists = of_rows(outcomes), of_rows(jnp.concatenate([right, wrong], axis=1))
    chosen = replay_slots(plain.correct, kept_outcomes, exists, plain.group_ids, plain.scored, num_replay=replayed)
    # Groups get past rows only if all their scored rows agree; unscored rows do not count.
    first = jnp.arange(count) * completions_per_prompt + jnp.argmax(by_prompt(plain.scored), axis=1)
    own, slots = jnp.arange(count)[:, None] * kept, chosen.slots[first]
    return own + jnp.where(slots < kept, slots, count * kept + slots - kept), chosen.mask[first]

  def recall(models, state, plan, prompts, before, key):
    count, rows = prompts.ids.shape[0], before.tokens.shape[0]
    before = before.with_extras(correct=before.correct)
    plain, past = before.first(count * completions_per_prompt), recalled(state, prompts.ids)
    everything, index, mask = before, by_prompt(jnp.arange(rows)), by_prompt(before.row_mask)
    groups = index.shape[0]
    if replayed:
      everything = concatenate(before, past.right, past.wrong)
      old, found = (jnp.pad(x, ((0, groups - count), (0, 0))) for x in opposite(plain, past))
      # The group's first row, marked as not in use, fills the place of a missing row.
      index = jnp.concatenate([index, jnp.where(found, rows + old, index[:, :1])], axis=1)
      mask = jnp.concatenate([mask, found], axis=1)
    joined = everything.rows(index.ravel()).replace(
      row_mask=mask.ravel(),
      group_ids=jnp.repeat(jnp.arange(groups), size),
      trees=(PrefixTrees.groups(groups * size, size, before.prompt_width),),
    )
    is_old, reflecting = index.ravel() >= rows, jnp.repeat(jnp.arange(groups) >= count, size)
    number = lambda x: x.sum().astype(jnp.float32)
    metrics = {
      "replayed": Mean(number(is_old), number(mask)),
      "reflections": Mean(number(mask[count:, 0]), jnp.float32(count)),
    }
    joined = joined.with_extras(replayed=is_old, reflecting=reflecting)
    return PhaseResult(remembered(state, prompts.ids, plain), joined, nothing_new(joined), jnp.int32(0), metrics)

  def init(key):
    outcomes = lambda: empty_buffer(task, pool * kept, width, {"correct": bool}).rows
    return Past(outcomes(), outcomes(), jnp.full(pool, -1, jnp.int32), jnp.zeros(pool), jnp.zeros(pool))

  return Rollout(
    phases=(ask, recall), init=init, provides=PROVIDES, keeps_verdicts=False, prompt_width=width if reflects else None
  )
