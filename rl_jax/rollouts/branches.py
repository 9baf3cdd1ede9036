"""Values inside responses: mean reward of completions sampled from there.

This is the plain Monte Carlo estimate of V(text so far), without a critic. Completions are scored and discarded; their
tokens count as generated. Boundaries with the same text (the prompt alone, a common beginning) are sampled once and
share their value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rl_jax.kernels.reductions import densify, masked_mean
from rl_jax.rollouts.continuation import concatenate, resample_from
from rl_jax.rollouts.rollout import BoundModel, PhaseResult, Rollout, nothing_new, unasked
from rl_jax.rollouts.sampler import Sampling
from rl_jax.tasks.task import ExtraSpec, Task
from rl_jax.trajectories import Trajectories

PROVIDES = {
  "cut_values": ExtraSpec(("S",), "float32", "mean reward of the completions from each of S boundaries"),
  "cut_variances": ExtraSpec(("S",), "float32", "variance of these rewards"),
  "cut_starts": ExtraSpec(("S",), "int32", "slot of the response where the completions begin"),
  "cut_mask": ExtraSpec(("S",), "bool", "boundaries that there are"),
}


class Boundaries(NamedTuple):
  """Boundaries in responses, at most S per row."""

  starts: Int[Array, "B S"]
  """Number of response slots before each."""
  mask: Bool[Array, "B S"]
  """True where a boundary exists: the response has not ended before it."""


class Branches(NamedTuple):
  """Completions from boundaries."""

  rows: Trajectories
  """B * S * N rows, adjacent by boundary; `row_mask` is True on completions of sampled boundaries."""
  sources: Int[Array, "B S"]
  """Index of the boundary whose completions this one uses: itself, or the first with the same text."""


class Values(NamedTuple):
  """Values of boundaries; 0 where there is no boundary."""

  values: Float[Array, "B S"]
  """Mean reward of the completions. A completion that was cut at its limit counts as 0, an unscored one does not count.
  The value is 0 if none counts."""
  variances: Float[Array, "B S"]
  """Population variance of their rewards."""


def branch(
  policy: BoundModel,
  task: Task,
  trajectories: Trajectories,
  boundaries: Boundaries,
  limits: Int[Array, " B"],
  key: PRNGKeyArray,
  *,
  samples: int,
  sampling: Sampling,
) -> Branches:
  """`samples` completions from each boundary, not yet scored.

  Args:
    limits: response length at which a row's completions are cut, tokens before the boundary included.
  """
  starts, mask = boundaries.starts, boundaries.mask & trajectories.row_mask[:, None]
  rows, places = starts.shape
  sources = _first_alike(trajectories, starts, mask, limits)
  sampled = (mask & (sources == jnp.arange(rows * places).reshape(rows, places))).ravel()
  owners, starts = jnp.repeat(jnp.arange(rows), places), jnp.where(mask, starts, 0).ravel()
  completions = resample_from(
    policy,
    task,
    trajectories.rows(owners),
    trajectories.prompt_width + starts,
    key,
    sampling=sampling,
    completions=samples,
    limits=jnp.repeat(jnp.where(sampled, jnp.maximum(limits[owners] - starts, 0), 0), samples),
    rows_per_prompt=places,
  )
  return Branches(completions.replace(row_mask=jnp.repeat(sampled, samples)), sources)


def _first_alike(trajectories, starts, mask, limits) -> Int[Array, "B S"]:
  """Index of the first boundary with the same problem, preceding text and limit."""

  def longer(ids, token):
    ids = densify(ids, token)
    return ids, ids

  responses = jnp.where(trajectories.attention_mask, trajectories.tokens, -1)[:, trajectories.prompt_width :]
  prompts = densify(trajectories.prompt_ids, limits)
  _, texts = jax.lax.scan(longer, prompts, responses.T)  # [R, B]: an id per text up to and including slot t
  texts = jnp.concatenate([prompts[None], texts]).T
  text_ids = jnp.take_along_axis(texts, jnp.where(mask, starts, 0), axis=1)
  ids = densify(mask.ravel().astype(jnp.int32), starts.ravel(), text_ids.ravel())
  order = jnp.arange(mask.size)
  return jax.ops.segment_min(order, ids, num_segments=mask.size)[ids].reshape(mask.shape)


def values_of(branched: Branches, mask: Bool[Array, "B S"]) -> Values:
  """Values of the boundaries in `mask`, from scored rows."""
  rows, shape = branched.rows, branched.sources.shape
  by_boundary = lambda x: x.reshape(mask.size, -1)
  usable = by_boundary(rows.row_mask & (rows.reward_mask | rows.unfinished))
  rewards = by_boundary(jnp.where(rows.scored, rows.rewards, 0.0))
  mean = masked_mean(rewards, usable, axis=1).value
  variance = masked_mean(jnp.square(rewards - mean[:, None]), usable, axis=1).value
  shared = lambda x: jnp.where(mask, x[branched.sources.ravel()].reshape(shape), 0.0)
  return Values(shared(mean), shared(variance))


def branches(
  task: Task,
  rollout: Rollout,
  boundaries: Callable[[Trajectories], Boundaries],
  samples: int,
  sampling: Sampling,
  by: str = "policy",
) -> Rollout:
  """Rollout of the plan's rows, followed by `samples` completions from each of their boundaries.

  Adds the extras of `PROVIDES`, where S counts the `boundaries` of finished rows.

  Args:
    by: name of the model that samples the completions.

  Raises: ValueError: samples below 1.
  """
  if samples < 1:
    raise ValueError(f"values need at least 1 completion from each boundary, got {samples}")

  def sampled(models, state, plan, prompts, before, key):
    cuts = boundaries(before)
    mask = cuts.mask & before.row_mask[:, None]
    branched = branch(
      models[by],
      task,
      before,
      Boundaries(cuts.starts, mask),
      plan.response_limits,
      key,
      samples=samples,
      sampling=sampling,
    )
    before = before.with_extras(cut_starts=jnp.where(mask, cuts.starts, 0), cut_mask=mask, cut_sources=branched.sources)
    verify = jnp.concatenate([nothing_new(before), unasked(branched.rows)])
    return PhaseResult(state, concatenate(before, branched.rows), verify, branched.rows.sampled_tokens)

  def reduced(models, state, plan, prompts, before, key):
    places = before.extras["cut_mask"].shape[1]
    rows = before.tokens.shape[0] // (1 + places * samples)
    originals, branched = before.first(rows), jax.tree.map(lambda x: x[rows:], before.replace(trees=()))
    extras = dict(originals.extras)
    values = values_of(Branches(branched, extras.pop("cut_sources")), extras["cut_mask"])
    extras |= {"cut_values": values.values, "cut_variances": values.variances}
    originals = originals.replace(extras=extras)
    return PhaseResult(state, originals, nothing_new(originals), jnp.int32(0))

  return dataclasses.replace(
    rollout, phases=(*rollout.phases, sampled, reduced), provides={**rollout.provides, **PROVIDES}
  )
