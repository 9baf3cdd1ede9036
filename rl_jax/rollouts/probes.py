"""Probes: the policy's beliefs in the middle of a response, found by forcing an answer there.

A probe is a copy of the beginning of a row, with the same tokens, followed by the task's opening of an answer. The
answer goes into the extras of the row; the copy is dropped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rl_jax.models.model import Sequences
from rl_jax.rollouts.continuation import prefixes
from rl_jax.rollouts.rollout import BoundModel, PhaseResult, Rollout, nothing_new, prompts_of_rows
from rl_jax.rollouts.sampler import Sampling, positions_of, sample
from rl_jax.tasks.task import ExtraSpec, ForcedAnswer, Prompts, Task, end_ids
from rl_jax.trajectories import Trajectories

PROVIDES = {
  "probe_mask": ExtraSpec(("K",), "bool", "whether there is a probe at each of K boundaries"),
  "probe_answer_logprobs": ExtraSpec(("K", "A"), "float32", "see `Probes`"),
  "probe_answer_mask": ExtraSpec(("A",), "bool", "see `Probes`"),
  "probe_entropies": ExtraSpec(("K", "N", "L"), "float32", "see `Probes`"),
  "probe_sampled": ExtraSpec(("K", "N", "L"), "bool", "see `Probes`"),
}

Boundaries = Callable[[Task, Trajectories], tuple[Int[Array, "B K"], Bool[Array, "B K"]]]
"""(task, scored trajectories) -> (first slot that a probe does not see, whether to probe there)"""


class Probes(NamedTuple):
  """Answers of the policy at K boundaries of each row; 0 where there is no probe."""

  answer_logprobs: Float[Array, "B K A"]
  """Logprobs of the right answer's tokens, each given those before."""
  answer_mask: Bool[Array, "B A"]
  """Tokens of the right answer."""
  entropies: Float[Array, "B K N L"]
  """Entropies, in nats, of the distributions from which the tokens of N sampled answers were drawn."""
  sampled: Bool[Array, "B K N L"]
  """Tokens of the sampled answers."""


def probe(
  policy: BoundModel,
  task: Task,
  prompts: Prompts,
  trajectories: Trajectories,
  cuts: Int[Array, "B K"],
  mask: Bool[Array, "B K"],
  key: PRNGKeyArray,
  *,
  sampling: Sampling,
  samples: int = 0,
  max_tokens: int = 10,
) -> Probes:
  """Force answers at boundaries of rows.

  Args:
    prompts: prompts of the rows' plan, whose metadata has the right answers.
    cuts: slot up to which the probe sees the text; at the response's first slot it sees the prompt alone.
    mask: boundaries to probe. Others cost the same time but no tokens.
    samples: N, number of answers sampled at each boundary; 0: only the right answer is scored.
    max_tokens: L, largest number of tokens in a sampled answer.

  Raises: ValueError: the task has no form of answer that can be forced.
  """
  forced_answer = required_forced_answer(task)
  opening = forced_answer.opening
  rows, boundaries = mask.shape
  index = jnp.repeat(jnp.arange(rows), boundaries)
  ends = jnp.where(mask, cuts, trajectories.prompt_width).reshape(-1)
  begun = jnp.broadcast_to(jnp.array(opening, jnp.int32), (index.shape[0], len(opening)))

  answer, answer_mask = forced_answer.answers(prompts_of_rows(prompts, trajectories)[0])
  visible = jnp.arange(trajectories.tokens.shape[1]) < ends[:, None]
  tail_mask = jnp.concatenate([jnp.ones(begun.shape, bool), answer_mask[index]], axis=1)
  tail_positions = (trajectories.attention_mask[index] & visible).sum(axis=1, keepdims=True) + positions_of(tail_mask)
  tails = Sequences(jnp.concatenate([begun, answer[index]], axis=1), tail_positions, tail_mask)
  logprobs = policy.model.outputs_after(policy.params, trajectories, visible, tails)["logprobs"]
  forced = logprobs[:, len(opening) :].reshape(rows, boundaries, -1)
  forced = jnp.where(mask[:, :, None] & answer_mask[:, None], forced, 0.0)

  shape = rows, boundaries, samples, max_tokens
  if not samples:
    return Probes(forced, answer_mask, jnp.zeros(shape, jnp.float32), jnp.zeros(shape, bool))
  before = prefixes(trajectories.rows(index), ends, rows_per_prompt=boundaries)
  completions = sample(
    policy.model,
    policy.params,
    jnp.concatenate([before.tokens, begun], axis=1),
    jnp.concatenate([before.mask, jnp.ones(begun.shape, bool)], axis=1),
    key,
    completions_per_prompt=samples,
    max_tokens=max_tokens,
    limits=jnp.repeat(jnp.where(mask, max_tokens, 0).reshape(-1), samples),
    end_ids=end_ids(task.vocabulary),
    stems=before.stems,
    stop_texts=task.stop_texts,
    pad_id=task.vocabulary.pad_id,
    sampling=sampling,
  )
  return Probes(forced, answer_mask, completions.entropies.reshape(shape), completions.mask.reshape(shape))


def required_forced_answer(task: Task) -> ForcedAnswer:
  """The task's form of answer that can be forced; ValueError if it has none."""
  if task.forced_answer is None:
    raise ValueError("probes force an answer, but this task has no `forced_answer`: use another task")
  return task.forced_answer


def probed(
  task: Task, rollout: Rollout, boundaries: Boundaries, *, samples: int, max_tokens: int, sampling: Sampling
) -> Rollout:
  """Rollout followed by a phase that probes its rows.

  Adds the extras of `PROVIDES`. Sampled tokens count as generated; the right answer is given and does not. Rows of
  earlier plans (windows, replay) have no probes.
  """

  def phase(models, state, plan, prompts, before, key):
    cuts, mask = boundaries(task, before)
    mask &= prompts_of_rows(prompts, before)[1][:, None]
    policy, options = models["policy"], {"samples": samples, "max_tokens": max_tokens, "sampling": sampling}
    probes = probe(policy, task, prompts, before, cuts, mask, key, **options)
    extras = {f"probe_{name}": array for name, array in probes._asdict().items()}
    rows = before.with_extras(probe_mask=mask, **extras)
    return PhaseResult(state, rows, nothing_new(rows), probes.sampled.sum(dtype=jnp.int32))

  return dataclasses.replace(rollout, phases=(*rollout.phases, phase), provides={**rollout.provides, **PROVIDES})


def begins(opening: Sequence[int], tokens: Int[Array, "B T"], mask: Bool[Array, "B T"]) -> Bool[Array, "B T"]:
  """True where the tokens of an opening begin, all of them in use."""
  found = mask
  for ahead, token in enumerate(opening):
    found &= jnp.pad(mask & (tokens == token), ((0, 0), (0, ahead)))[:, ahead:]
  return found


def step_ends(task: Task, trajectories: Trajectories, steps: int) -> tuple[Int[Array, "B K"], Bool[Array, "B K"]]:
  """First slot after each of the first `steps` reasoning steps, and whether the row has that step.

  A step that ends after the response has opened its own answer does not count.
  """
  tokens, inside = trajectories.tokens, trajectories.attention_mask
  slots = jnp.arange(tokens.shape[1])
  of_step = inside[:, None] & (trajectories.step_ids[:, None] == jnp.arange(steps)[:, None])
  ends = jnp.max(jnp.where(of_step, slots + 1, 0), axis=2)

  opening = required_forced_answer(task).opening
  opens = begins(opening, tokens, inside) & (slots >= trajectories.prompt_width)
  opened = jnp.min(jnp.where(opens, slots, tokens.shape[1]), axis=1)
  return ends, of_step.any(axis=2) & (ends <= opened[:, None])
