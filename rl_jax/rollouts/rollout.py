"""The role `rollout`: phases that make trajectories, each verified before the next one reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rl_jax.curricula.curriculum import Plan
from rl_jax.kernels.reductions import Mean
from rl_jax.models.model import Model, Params
from rl_jax.rollouts.sampler import positions_of
from rl_jax.tasks.checks import checked_prompts, checked_verdicts
from rl_jax.tasks.task import ExtraSpec, Prompts, Split, Task, Verdicts
from rl_jax.trajectories import POLICY, PROMPT, PrefixTrees, Trajectories


class BoundModel(NamedTuple):
  """A model with its current parameters."""

  model: Model
  params: Params


Models = Mapping[str, BoundModel]
"""Models named by a method, including the policy."""


class PhaseResult(NamedTuple):
  """Result of a phase."""

  state: Any
  """State of the rollout after the phase."""
  trajectories: Trajectories
  """All rows so far, new ones unscored."""
  verify: Bool[Array, " B"]
  """Rows to verify after this phase; see `unasked`."""
  generated_tokens: Int[Array, ""]
  """Number of tokens sampled in the phase, including probes and rows that are dropped later."""
  metrics: dict[str, Mean] = {}  # noqa: RUF012


Phase = Callable[[Models, Any, Plan, Prompts, Trajectories | None, PRNGKeyArray], PhaseResult]
"""(models, state, plan, prompts of the plan, trajectories of the phases before with their verdicts, key)"""


@dataclasses.dataclass(frozen=True)
class Rollout:
  """A static list of phases over the rollout's own state.

  Between phases the verifier scores the requested rows: on device within one program (`collect`), for host tasks
  between two programs.

  Attributes:
    respond: (completions per prompt, sampling) -> rollout of plain responses, or of turns, to held-out prompts. None:
      `rollouts.turns.responses`.
    provides: extras that its phases set, by name.
    keeps_verdicts: False if rows lack the extras of the task's verdicts, as replayed rows do.
    prompt_width: number of slots of the widest prompt in any phase, to which all prompts are padded; None: the task's.
  """

  phases: tuple[Phase, ...]
  init: Callable[[PRNGKeyArray], Any] = lambda key: ()
  respond: Callable[..., Rollout] | None = None
  provides: Mapping[str, ExtraSpec] = dataclasses.field(default_factory=dict)
  keeps_verdicts: bool = True
  prompt_width: int | None = None

  def given(self, of_task: Iterable[str]) -> set[str]:
    """Names of the extras of its rows, given those of the task's verdicts."""
    return {*self.provides, *(of_task if self.keeps_verdicts else ())}


class RolloutResult(NamedTuple):
  """Result of all phases of an iteration; fields as in `PhaseResult`."""

  state: Any
  trajectories: Trajectories
  generated_tokens: Int[Array, ""]
  metrics: dict[str, Mean]


def collect(
  rollout: Rollout,
  models: Models,
  state: Any,
  plan: Plan,
  task: Task,
  split: Split,
  key_of: Callable[[int], PRNGKeyArray],
) -> RolloutResult:
  """Run all phases of one iteration, verified on device.

  Args:
    key_of: index of a phase -> its key.
  """
  of_plan = checked_prompts(task.prompts(plan.prompt_ids, split), task, plan.prompt_ids)
  prompts = padded(of_plan, rollout.prompt_width)
  trajectories, total = None, jnp.int32(0)
  metrics: dict[str, Mean] = {}
  for index, phase in enumerate(rollout.phases):
    result = phase(models, state, plan, prompts, trajectories, key_of(index))
    state, trajectories = result.state, verify(task, result.trajectories, result.verify, split)
    total, metrics = total + result.generated_tokens, joined_metrics(metrics, result.metrics)
  assert trajectories is not None, "a rollout has at least one phase"
  return RolloutResult(state, trajectories, total, metrics)


def joined_metrics(metrics: dict[str, Mean], more: dict[str, Mean]) -> dict[str, Mean]:
  """Metrics of several phases; those of the same name, as of several rounds, are added."""
  return metrics | {name: jax.tree.map(jnp.add, metrics[name], x) if name in metrics else x for name, x in more.items()}


def unasked(trajectories: Trajectories) -> Bool[Array, " B"]:
  """Finished rows in use that have not been verified."""
  return trajectories.row_mask & ~trajectories.verified & ~trajectories.unfinished


def nothing_new(trajectories: Trajectories) -> Bool[Array, " B"]:
  """Mask without any row, for a phase that adds no response."""
  return jnp.zeros_like(trajectories.row_mask)


def verify(
  task: Task, trajectories: Trajectories, requested: Bool[Array, " B"], split: Split = "train"
) -> Trajectories:
  """Trajectories with the verdicts of the task's verifier on the rows `requested`."""
  prompts = task.prompts(trajectories.prompt_ids, split)
  responses = slice(trajectories.prompt_width, None)
  tokens, mask = trajectories.tokens[:, responses], trajectories.attention_mask[:, responses]
  verdicts = checked_verdicts(task.verify(prompts, tokens, mask), task, tokens.shape)
  return judged(trajectories, verdicts, prompts.levels, requested, task.provides)


def judged(
  trajectories: Trajectories,
  verdicts: Verdicts,
  levels: Int[Array, " B"],
  requested: Bool[Array, " B"],
  provides: Mapping[str, ExtraSpec],
) -> Trajectories:
  """Trajectories with verdicts on the responses `requested`, and each row's level; other rows are unchanged.

  Extras per token are padded over the prompt; others, such as an observation, are kept as they are. Rows that continue
  in a later iteration get no reward, but the steps and extras of their verdicts: a device task judges all rows, a host
  task the requested ones.

  Args:
    provides: the task's description of its extras. An extra without description is per token if its shape is [B, R].
  """
  width, responses = trajectories.prompt_width, verdicts.step_ids.shape
  of_tokens = lambda name, x: provides[name].shape[:1] == ("R",) if name in provides else x.shape == responses
  marked = requested | (trajectories.row_mask & trajectories.unfinished)
  padded = lambda x, fill: jnp.pad(x, [(0, 0), (width, 0), *[(0, 0)] * (x.ndim - 2)], constant_values=fill)

  def chosen(rows: Bool[Array, " B"], new: Array, old: Array) -> Array:
    return jnp.where(rows.reshape(-1, *[1] * (new.ndim - 1)), new, old)

  def extra(name: str, x: Array) -> Array:
    new = padded(x, 0) if of_tokens(name, x) else x
    return chosen(marked, new, trajectories.extras.get(name, jnp.zeros_like(new)))

  scored = verdicts.reward_mask & ~trajectories.unfinished
  earned = verdicts.token_rewards
  if earned is not None:
    earned = chosen(requested, padded(earned, 0.0), trajectories.token_rewards)
    trajectories = trajectories.replace(token_rewards=earned)
  return trajectories.replace(
    rewards=chosen(requested, verdicts.rewards, trajectories.rewards),
    objectives=_objectives(trajectories, verdicts, requested),
    reward_mask=jnp.where(requested, scored, trajectories.reward_mask),
    verified=trajectories.verified | requested,
    step_ids=chosen(marked, padded(verdicts.step_ids, -1), trajectories.step_ids),
    extras=trajectories.extras | {"levels": levels} | {name: extra(name, x) for name, x in verdicts.extras.items()},
  )


def _objectives(trajectories: Trajectories, verdicts: Verdicts, requested: Bool[Array, " B"]) -> Float[Array, "B K"]:
  if verdicts.objectives is None:
    return trajectories.objectives
  old = trajectories.objectives if trajectories.objectives.shape[1] else 0.0  # width 0 until the first verdict
  return jnp.where(requested[:, None], verdicts.objectives, old)


def padded(prompts: Prompts, width: int | None) -> Prompts:
  """Prompts padded on the left to `width` slots; None: unchanged.

  Raises: ValueError: they have more slots.
  """
  slots = prompts.tokens.shape[1]
  if width is None or width == slots:
    return prompts
  if width < slots:
    raise ValueError(f"prompts of {slots} slots do not fit into a rollout's prompt_width of {width}")
  wider = lambda x: jnp.pad(x, [(0, 0), (width - slots, 0)])
  return dataclasses.replace(prompts, tokens=wider(prompts.tokens), mask=wider(prompts.mask))


def prompts_of_rows(prompts: Prompts, trajectories: Trajectories) -> tuple[Prompts, Bool[Array, " B"]]:
  """Prompt of each row, looked up by its id in a plan, and whether it was found."""
  matches = prompts.ids == trajectories.prompt_ids[:, None]
  index = jnp.argmax(matches, axis=1)
  return jax.tree.map(lambda x: x[index], prompts), matches.any(axis=1)


def assemble(
  prompts: Prompts,
  tokens: Int[Array, "B R"],
  mask: Bool[Array, "B R"],
  *,
  completions_per_prompt: int,
  row_mask: Bool[Array, " B"],
  truncated: Bool[Array, " B"],
  source: int = POLICY,
  **arrays: Array,
) -> Trajectories:
  """Trajectories of responses to prompts, not yet scored; `arrays` [B, R] are set by name, 0 on the prompts.

  Raises: ValueError when B is not N * completions_per_prompt.
  """
  repeat = lambda x: jnp.repeat(x, completions_per_prompt, axis=0)
  (rows, _), width = tokens.shape, prompts.tokens.shape[1]
  if rows != prompts.tokens.shape[0] * completions_per_prompt:
    raise ValueError(
      f"{rows} responses do not belong to {prompts.tokens.shape[0]} prompts x {completions_per_prompt} completions"
    )
  join = lambda prompt, response: jnp.concatenate([repeat(prompt), response], axis=1)
  pad = lambda x: jnp.pad(x, [(0, 0), (width, 0)])
  attention = join(prompts.mask, mask)
  empty = Trajectories.empty(attention.shape[0], attention.shape[1], width)
  of_rows = empty.replace(
    tokens=join(prompts.tokens, tokens),
    positions=positions_of(attention),
    attention_mask=attention,
    loss_mask=pad(mask),
    source_ids=jnp.where(jnp.arange(attention.shape[1]) < width, PROMPT, source) * jnp.ones_like(empty.source_ids),
    group_ids=repeat(jnp.arange(prompts.tokens.shape[0])),
    prompt_ids=repeat(prompts.ids),
    row_mask=row_mask,
    truncated=truncated,
    trees=(PrefixTrees.groups(rows, completions_per_prompt, width),),
  )
  fields = {name: pad(x) for name, x in arrays.items() if name in LOGPROBS}
  return of_rows.replace(**fields).with_extras(**{name: pad(x) for name, x in arrays.items() if name not in fields})


LOGPROBS = ("behaviour_logprobs", "old_logprobs")
"""Fields that `assemble` takes beside extras."""
