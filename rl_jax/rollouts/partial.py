"""Successive batching: every slot samples a window of tokens per iteration; finished slots take new prompts."""

from __future__ import annotations

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rl_jax.kernels.curricula.batching import refill
from rl_jax.kernels.reductions import Mean
from rl_jax.rollouts.continuation import resample_from
from rl_jax.rollouts.rollout import PhaseResult, Rollout, assemble, unasked
from rl_jax.rollouts.sampler import Sampling
from rl_jax.tasks.task import ExtraSpec, Prompts, Task
from rl_jax.trajectories import REPLAY, Trajectories

PROVIDES = {"response_mask": ExtraSpec(("T",), "bool", "tokens of the response, those of earlier windows among them")}


class Slots(flax.struct.PyTreeNode):
  """Responses so far, one per slot."""

  tokens: Int[Array, "B T"]
  attention_mask: Bool[Array, "B T"]
  behaviour_logprobs: Float[Array, "B T"]
  old_logprobs: Float[Array, "B T"]
  """Logprobs under the policies that wrote the tokens."""
  prompt_ids: Int[Array, " B"]
  group_ids: Int[Array, " B"]
  row_mask: Bool[Array, " B"]
  limits: Int[Array, " B"]
  """Length at which the response is cut."""
  free: Bool[Array, " B"]
  """True if the response is finished, so that the slot takes the next prompt."""
  groups: Int[Array, ""]
  """Number of prompts planned so far, which makes group ids unique."""


def partial_rollouts(slots: int, window: int, task: Task, sampling: Sampling, *, staggered: bool = False) -> Rollout:
  """One phase that writes at most `window` more tokens in each of `slots` responses.

  Free slots take the rows of the plan (as many as slots) in order; other rows are dropped. A row is `unfinished` until
  its response ends or reaches its limit. Tokens of this window are trained on and have the source POLICY. Tokens of
  earlier windows keep the logprobs of the policies that sampled them and have the source REPLAY. The cache of a
  response is recomputed from its tokens.

  Slots that begin together also end together: iterations in which no response ends alternate with those in which nearly
  all do. With `staggered` the slots sample 1, 2, … up to all of the task's response tokens in the first iteration.

  Extras: "response_mask" [B, T], the response's tokens of all windows. Metrics: `finished`, the share of rows that
  ended.

  Raises: ValueError: a window below one token; a task with turns; when traced: prompts wider than the task's.
  """
  if window < 1:
    raise ValueError(f"a window has at least 1 token, got {window}")
  if task.turns is not None:
    raise ValueError("a response of several turns cannot continue in windows: use a task without turns")
  prompt_tokens, width = task.prompt_tokens, task.prompt_tokens + task.response_tokens
  in_first = 1 + jnp.arange(slots) * task.response_tokens // slots

  def init(key):
    per_token, per_row = lambda dtype: jnp.zeros((slots, width), dtype), lambda dtype: jnp.zeros(slots, dtype)
    return Slots(
      tokens=per_token(jnp.int32),
      attention_mask=per_token(bool),
      behaviour_logprobs=per_token(jnp.float32),
      old_logprobs=per_token(jnp.float32),
      prompt_ids=per_row(jnp.int32),
      group_ids=per_row(jnp.int32),
      row_mask=per_row(bool),
      limits=per_row(jnp.int32),
      free=~per_row(bool),
      groups=jnp.int32(0),
    )

  def phase(models, state, plan, prompts, before, key):
    if prompts.tokens.shape[1] != prompt_tokens:
      slots_of_prompts = prompts.tokens.shape[1]
      raise ValueError(f"prompts of {slots_of_prompts} slots do not fit into windows with prompts of {prompt_tokens}")
    first = state.groups == 0
    state = _refilled(state, plan, prompts)
    lengths = state.attention_mask[:, prompt_tokens:].sum(axis=1)
    left = state.limits - lengths
    windows = jnp.where(first, in_first, window) if staggered else window
    rows = resample_from(
      models["policy"],
      task,
      _as_trajectories(state, prompt_tokens),
      prompt_tokens + lengths,
      key,
      sampling=sampling,
      max_tokens=task.response_tokens if staggered else min(window, task.response_tokens),
      limits=jnp.minimum(left, windows),
    )
    new, open_end = rows.loss_mask.sum(axis=1), rows.truncated | rows.unfinished
    response = rows.attention_mask & (jnp.arange(width) >= prompt_tokens)
    rows = rows.replace(
      source_ids=jnp.where(response & ~rows.loss_mask, REPLAY, rows.source_ids),
      truncated=open_end & (new == left),
      unfinished=open_end & (new < left),
    )
    rows = rows.with_extras(response_mask=response)
    rows_in_use = rows.row_mask.sum().astype(jnp.float32)
    metrics = {
      "finished": Mean((rows.row_mask & ~rows.unfinished).sum().astype(jnp.float32), rows_in_use),
    }
    state = state.replace(
      tokens=rows.tokens,
      attention_mask=rows.attention_mask,
      behaviour_logprobs=rows.behaviour_logprobs,
      old_logprobs=rows.old_logprobs,
      free=~rows.unfinished,
    )
    return PhaseResult(state, rows, unasked(rows), rows.sampled_tokens, metrics)

  return Rollout(phases=(phase,), init=init, provides=PROVIDES)


def _refilled(state: Slots, plan, prompts: Prompts) -> Slots:
  """Slots, with the plan's rows in the free ones.

  Raises: ValueError: as many rows as slots are needed.
  """
  slots, rows = state.free.shape[0], plan.row_mask.shape[0]
  if rows != slots:
    raise ValueError(f"a plan of {rows} rows does not match {slots} slots")
  num_prompts = prompts.ids.shape[0]
  row = refill(jnp.zeros(slots, jnp.int32), state.free, jnp.int32(0), num_prompts=rows).prompts
  prompt = row // (rows // num_prompts)
  room = state.tokens.shape[1] - prompts.tokens.shape[1]

  def put(new, old):
    return jnp.where(state.free.reshape(-1, *[1] * (old.ndim - 1)), new.astype(old.dtype), old)

  padded = lambda x: jnp.pad(x[prompt], [(0, 0), (0, room)])
  nothing = jnp.zeros_like(state.old_logprobs)
  return state.replace(
    tokens=put(padded(prompts.tokens), state.tokens),
    attention_mask=put(padded(prompts.mask), state.attention_mask),
    behaviour_logprobs=put(nothing, state.behaviour_logprobs),
    old_logprobs=put(nothing, state.old_logprobs),
    prompt_ids=put(prompts.ids[prompt], state.prompt_ids),
    group_ids=put(state.groups + prompt, state.group_ids),
    row_mask=put(plan.row_mask[row], state.row_mask),
    limits=put(plan.response_limits[row], state.limits),
    groups=state.groups + num_prompts,
  )


def _as_trajectories(state: Slots, prompt_tokens: int) -> Trajectories:
  """Trajectories of the slots' responses so far, one per prompt."""
  slots, cut = state.free.shape[0], slice(prompt_tokens, None)
  tokens, mask = state.tokens[:, :prompt_tokens], state.attention_mask[:, :prompt_tokens]
  trajectories = assemble(
    Prompts(tokens=tokens, mask=mask, ids=state.prompt_ids, levels=jnp.zeros(slots, jnp.int32), metadata={}),
    state.tokens[:, cut],
    state.attention_mask[:, cut],
    completions_per_prompt=1,
    row_mask=state.row_mask,
    truncated=jnp.zeros(slots, bool),
    behaviour_logprobs=state.behaviour_logprobs[:, cut],
    old_logprobs=state.old_logprobs[:, cut],
  )
  return trajectories.replace(group_ids=state.group_ids)
