"""New endings of responses, for rollouts that sample from the middle of a response."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from rl_jax.rollouts.rollout import BoundModel
from rl_jax.rollouts.sampler import Sampling, Texts, positions_of, sample
from rl_jax.tasks.task import Task, end_ids
from rl_jax.trajectories import POLICY, PrefixTrees, Trajectories


class Prefixes(NamedTuple):
  """Beginnings of M rows, right-aligned as prompts of the sampler."""

  tokens: Int[Array, "M T"]
  mask: Bool[Array, "M T"]
  stems: Texts | None
  """Prompts of several rows each; `tokens` are what follows. None: `tokens` begin with each row's prompt."""


def prefixes(
  trajectories: Trajectories, cuts: Int[Array, " M"], *, rows_per_prompt: int = 1, longest: int | None = None
) -> Prefixes:
  """Prefixes before slot `cuts` of each row (`Trajectories.rows` takes a row several times).

  Args:
    rows_per_prompt: number of adjacent rows that have the same prompt, which is then a stem of theirs.
    longest: static number of slots of the responses before the last of the cuts; None: all.
  """
  width, time = trajectories.prompt_width, trajectories.tokens.shape[1]
  begin = width if rows_per_prompt > 1 else 0
  slots = time - begin if longest is None else width - begin + longest
  source = cuts[:, None] - slots + jnp.arange(slots)
  take = lambda x: jnp.take_along_axis(x, jnp.maximum(source, begin), axis=1)
  tokens, mask = take(trajectories.tokens), take(trajectories.attention_mask) & (source >= begin)
  if rows_per_prompt == 1:
    return Prefixes(tokens, mask, None)
  first = lambda x: x[::rows_per_prompt, :width]
  return Prefixes(tokens, mask, Texts(first(trajectories.tokens), first(trajectories.attention_mask)))


def resample_from(
  policy: BoundModel,
  task: Task,
  trajectories: Trajectories,
  cuts: Int[Array, " M"],
  key: PRNGKeyArray,
  *,
  sampling: Sampling,
  completions: int = 1,
  max_tokens: int | None = None,
  limits: Int[Array, " L"] | None = None,
  rows_per_prompt: int = 1,
  longest: int | None = None,
) -> Trajectories:
  """Rows with everything from slot `cuts` on sampled again, not yet scored, in the same number of slots.

  Tokens before the cut keep their logprobs but are no longer trained on (`loss_mask` False); new tokens are. The rows'
  `extras` are dropped: they describe the old ending.

  Args:
    cuts: first new slot, from the first slot of the response to T (nothing new).
    completions: number of adjacent completions per row: returns L = M * completions rows. The text before the cut is
      processed once.
    max_tokens: largest number of new tokens in any row; None: the task's `response_tokens`.
    limits: largest number of new tokens in each row, which never exceeds its slots. A response that is cut by its own
      limit, with slots left, is `unfinished`; one that fills its slots is `truncated`. 0: the row gets nothing and is
      unfinished.
    rows_per_prompt, longest: see `prefixes`.
  """
  before = prefixes(trajectories, cuts, rows_per_prompt=rows_per_prompt, longest=longest)
  trajectories, cuts = jax.tree.map(lambda x: jnp.repeat(x, completions, axis=0), (trajectories, cuts))
  time = trajectories.tokens.shape[1]
  room = time - cuts
  limits = room if limits is None else jnp.minimum(limits, room)
  responses = sample(
    policy.model,
    policy.params,
    before.tokens,
    before.mask,
    key,
    completions_per_prompt=completions,
    max_tokens=max_tokens or task.response_tokens,
    limits=limits,
    end_ids=end_ids(task.vocabulary),
    stems=before.stems,
    stop_texts=task.stop_texts,
    pad_id=task.vocabulary.pad_id,
    sampling=sampling,
  )
  slots = jnp.arange(time)
  new = slots >= cuts[:, None]
  source = jnp.clip(slots - cuts[:, None], 0, responses.tokens.shape[1] - 1)
  in_response = new & (slots - cuts[:, None] < responses.tokens.shape[1])

  def joined(old, sampled, empty):
    moved = jnp.where(in_response, jnp.take_along_axis(sampled, source, axis=1), empty)
    return jnp.where(new, moved, old)

  mask = joined(trajectories.attention_mask, responses.mask, False)
  rows = trajectories.tokens.shape[0]
  return trajectories.replace(
    tokens=joined(trajectories.tokens, responses.tokens, task.vocabulary.pad_id),
    positions=positions_of(mask),
    attention_mask=mask,
    loss_mask=mask & new,
    step_ids=jnp.full((rows, time), -1),
    turn_ids=jnp.where(new, 0, trajectories.turn_ids),
    source_ids=jnp.where(new, POLICY, trajectories.source_ids),
    behaviour_logprobs=joined(trajectories.behaviour_logprobs, responses.behaviour_logprobs, 0.0),
    old_logprobs=joined(trajectories.old_logprobs, responses.logprobs, 0.0),
    ref_logprobs=jnp.zeros((rows, time), jnp.float32),
    rewards=jnp.zeros(rows, jnp.float32),
    token_rewards=jnp.zeros((rows, time), jnp.float32),
    objectives=jnp.zeros((rows, 0), jnp.float32),
    verified=jnp.zeros(rows, bool),
    reward_mask=jnp.zeros(rows, bool),
    truncated=responses.truncated & (limits == room),
    unfinished=responses.truncated & (limits < room),
    extras={},
    trees=(),
  )


def concatenate(*parts: Trajectories) -> Trajectories:
  """Rows of all parts, in order. Extras and objectives that a part lacks are 0 in its rows.

  Raises: ValueError: prompts, or rows, differ in width.
  """
  widths = {(part.prompt_width, part.tokens.shape[1]) for part in parts}
  if len(widths) > 1:
    layouts = " and ".join(f"{prompts} of {slots}" for prompts, slots in sorted(widths))
    raise ValueError(f"rows with prompts in {layouts} slots cannot be one batch: see Rollout.prompt_width")
  like = {name: x for part in parts for name, x in part.extras.items()}
  objectives = max(part.objectives.shape[1] for part in parts)

  def filled(part: Trajectories) -> Trajectories:
    rows, present = part.objectives.shape
    missing = {n: jnp.zeros((rows, *x.shape[1:]), x.dtype) for n, x in like.items() if n not in part.extras}
    padded = jnp.pad(part.objectives, [(0, 0), (0, objectives - present)])
    return part.replace(objectives=padded, extras={**part.extras, **missing})

  trees = tuple(tree for part in parts for tree in part.trees or (PrefixTrees.alone(part.tokens.shape[0]),))
  filled_parts = [filled(part).replace(trees=trees) for part in parts]
  return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *filled_parts)
