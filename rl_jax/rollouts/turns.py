"""Rollouts of several turns: a model writes a turn, the task's environment answers it, until the episode is over.

The environment is the task's verifier, which runs after each phase: see `rl_jax.tasks.task.Turns`. All rows have all
slots from the first turn on. Unused slots are masked out of attention and have no position; the trainer runs over the
same slots. Tokens of an observation have the source TOOL and are not part of any loss.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from rl_jax.rollouts.continuation import prefixes
from rl_jax.rollouts.flat import PROVIDES, flat, source_of
from rl_jax.rollouts.rollout import BoundModel, PhaseResult, Rollout, assemble
from rl_jax.rollouts.sampler import Completions, Sampling, positions_of, sample
from rl_jax.tasks.task import Prompts, Task, Turns, end_ids
from rl_jax.trajectories import POLICY, TOOL, Trajectories


def responses(task: Task, completions_per_prompt: int, sampling: Sampling, by: str = "policy") -> Rollout:
  """Independent whole responses to each prompt: in turns where the task answers them, else in one piece.

  Args:
    by: the model that writes them.
  """
  of_task = flat if task.turns is None else turns
  return of_task(task, completions_per_prompt, sampling, by)


def required_turns(task: Task) -> Turns:
  """The task's turns; ValueError if it has none."""
  if task.turns is None:
    raise ValueError("this task has no turns: use one that has, such as the task of the method's experiment")
  return task.turns


def turns(task: Task, completions_per_prompt: int, sampling: Sampling, by: str = "policy") -> Rollout:
  """`completions_per_prompt` episodes of each prompt of the plan, a phase for each turn; keeps no state.

  The verifier is asked about the rows that have written a turn.

  Args:
    by: the model that writes them, see `flat.source_of`.
  """

  def first(models, state, plan, prompts, before, key):
    rows = first_turn(
      models[by],
      task,
      prompts,
      key,
      completions_per_prompt=completions_per_prompt,
      row_mask=plan.row_mask,
      limits=plan.response_limits,
      sampling=sampling,
      source=source_of(by),
    )
    return PhaseResult(state, rows, rows.row_mask, rows.sampled_tokens)

  def later(turn: int):
    def phase(models, state, plan, prompts, before, key):
      limits = plan.response_limits
      share = before.tokens.shape[0] // prompts.tokens.shape[0]
      options = {"limits": limits, "sampling": sampling, "rows_per_prompt": share}
      rows = next_turn(models[by], task, before, turn, key, **options)
      return PhaseResult(state, rows, goes_on(before), rows.sampled_tokens - before.sampled_tokens)

    return phase

  phases = (first, *(later(turn) for turn in range(1, required_turns(task).max_turns)))
  return Rollout(phases=phases, provides=PROVIDES)


def goes_on(trajectories: Trajectories) -> Bool[Array, " B"]:
  """Rows in use whose episode is not over."""
  return trajectories.row_mask & ~trajectories.extras["done"] & ~trajectories.truncated


def first_turn(
  policy: BoundModel,
  task: Task,
  prompts: Prompts,
  key: PRNGKeyArray,
  *,
  completions_per_prompt: int,
  row_mask: Bool[Array, " B"],
  limits: Int[Array, " B"],
  sampling: Sampling,
  source: int = POLICY,
) -> Trajectories:
  """`completions_per_prompt` episodes of each prompt with their first turn; see `next_turn`."""
  layout = required_turns(task)
  rows = prompts.tokens.shape[0] * completions_per_prompt
  shape = rows, layout.response_tokens
  empty = assemble(
    prompts,
    jnp.full(shape, task.vocabulary.pad_id),
    jnp.zeros(shape, bool),
    completions_per_prompt=completions_per_prompt,
    row_mask=row_mask,
    truncated=jnp.zeros(rows, bool),
    source=source,
    behaviour_entropies=jnp.zeros(shape, jnp.float32),
  )
  completions = sample(
    policy.model,
    policy.params,
    prompts.tokens,
    prompts.mask,
    key,
    completions_per_prompt=completions_per_prompt,
    max_tokens=layout.turn_tokens,
    limits=jnp.minimum(limits, layout.turn_tokens),
    end_ids=end_ids(task.vocabulary),
    stop_texts=task.stop_texts,
    pad_id=task.vocabulary.pad_id,
    sampling=_stopping(sampling, layout),
  )
  return _written(in_turns(empty, layout), completions, empty.prompt_width, jnp.ones(rows, bool))


def in_turns(trajectories: Trajectories, layout: Turns) -> Trajectories:
  """Trajectories with turn ids, and with observations marked as tool output outside the loss."""
  width = trajectories.tokens.shape[1] - layout.response_tokens
  observed = jnp.pad(layout.observed, (width, 0))
  return trajectories.replace(
    turn_ids=jnp.broadcast_to(jnp.pad(layout.turn_ids, (width, 0)), trajectories.tokens.shape),
    source_ids=jnp.where(observed, TOOL, trajectories.source_ids),
    loss_mask=trajectories.loss_mask & ~observed,
  )


def next_turn(
  policy: BoundModel,
  task: Task,
  trajectories: Trajectories,
  turn: int | Int[Array, ""],
  key: PRNGKeyArray,
  *,
  limits: Int[Array, " L"],
  sampling: Sampling,
  completions: int = 1,
  rows_per_prompt: int = 1,
) -> Trajectories:
  """Episodes with one more turn, unless they are over; not yet scored.

  The verifier's observation on the previous turn is inserted first. A row is over when the verifier sets `done`, or
  when a turn hits a limit, its own or the row's, in which case the row is `truncated`.

  Args:
    turn: index of the turn, from 1; a row that is not over has all earlier turns.
    limits: number of trained tokens, over all turns, at which a response is cut.
    completions: number of adjacent episodes with a turn of their own after each of B rows: returns L = B * completions
      rows. The text before the turn is processed once.
  """
  layout = required_turns(task)
  continues = goes_on(trajectories)
  start = trajectories.prompt_width + layout.start(turn)
  trajectories = _observed(trajectories, start - layout.observation_tokens, continues)
  longest = layout.start(turn) if isinstance(turn, int) else None
  cuts = jnp.full(continues.shape, start)
  before = prefixes(trajectories, cuts, rows_per_prompt=rows_per_prompt, longest=longest)
  if completions > 1:
    repeat = lambda x: jnp.repeat(x, completions, axis=0)
    trajectories, continues = jax.tree.map(repeat, (trajectories.replace(trees=()), continues))
  left = jnp.clip(limits - trajectories.loss_mask.sum(axis=1), 0, layout.turn_tokens)
  sampled = sample(
    policy.model,
    policy.params,
    before.tokens,
    before.mask,
    key,
    completions_per_prompt=completions,
    max_tokens=layout.turn_tokens,
    limits=jnp.where(continues, left, 0),
    end_ids=end_ids(task.vocabulary),
    stems=before.stems,
    stop_texts=task.stop_texts,
    pad_id=task.vocabulary.pad_id,
    sampling=_stopping(sampling, layout),
  )
  return _written(trajectories, sampled, start, continues)


def _stopping(sampling: Sampling, layout: Turns) -> Sampling:
  return dataclasses.replace(sampling, stop_sequences=sampling.stop_sequences + layout.stop_sequences)


def _put(old: Array, new: Array, start: int | Int[Array, ""]) -> Array:
  return jax.lax.dynamic_update_slice_in_dim(old, new.astype(old.dtype), start, axis=1)


def _written(
  trajectories: Trajectories, completions: Completions, start: int | Int[Array, ""], continues: Bool[Array, " B"]
) -> Trajectories:
  """Trajectories with a turn from slot `start` on; it is empty in rows that have ended."""
  mask = _put(trajectories.attention_mask, completions.mask, start)
  entropies = _put(trajectories.extras["behaviour_entropies"], completions.entropies, start)
  return trajectories.with_extras(behaviour_entropies=entropies).replace(
    tokens=_put(trajectories.tokens, completions.tokens, start),
    attention_mask=mask,
    positions=positions_of(mask),
    loss_mask=_put(trajectories.loss_mask, completions.mask, start),
    behaviour_logprobs=_put(trajectories.behaviour_logprobs, completions.behaviour_logprobs, start),
    old_logprobs=_put(trajectories.old_logprobs, completions.logprobs, start),
    truncated=jnp.where(continues, completions.truncated, trajectories.truncated),
  )


def _observed(trajectories: Trajectories, start: int | Int[Array, ""], continues: Bool[Array, " B"]) -> Trajectories:
  """Trajectories with the observation of the last turn from slot `start` on, in rows that have not ended."""
  extras = trajectories.extras
  mask = extras["observation_mask"] & continues[:, None]
  return trajectories.replace(
    tokens=_put(trajectories.tokens, extras["observation"], start),
    attention_mask=_put(trajectories.attention_mask, mask, start),
  )


_MULTIPLIER = 1_000_003
"""Odd, and larger than ids of tokens."""


def turn_hashes(task: Task, trajectories: Trajectories) -> Int[Array, "B K"]:
  """Hashes of the texts of turns, without observations: equal for equal tokens; two other texts share one as often as
  numbers of 32 bits do."""
  layout = required_turns(task)
  slots = trajectories.prompt_width + layout.slots
  powers = np.cumprod(np.full(layout.turn_tokens, _MULTIPLIER, np.uint32), dtype=np.uint32)
  tokens = (trajectories.tokens[:, slots] + 1).astype(jnp.uint32)  # a token of id 0 is not an empty slot
  terms = jnp.where(trajectories.loss_mask[:, slots], tokens * powers, jnp.uint32(0))
  return jax.lax.bitcast_convert_type(terms.sum(axis=-1, dtype=jnp.uint32), jnp.int32)


def turn_starts(task: Task, trajectories: Trajectories) -> tuple[Int[Array, "B K"], Bool[Array, "B K"]]:
  """First slot of each turn, after all earlier observations, and whether the row has that turn."""
  layout = required_turns(task)
  starts = trajectories.prompt_width + jnp.array([layout.start(turn) for turn in range(layout.max_turns)])
  exists = trajectories.attention_mask[:, starts]
  return jnp.broadcast_to(starts, exists.shape), exists
