"""The role `rollout`: phases that make trajectories, each verified before the next one reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from rl_jax.curricula.curriculum import Plan
from rl_jax.models.model import Model, Params
from rl_jax.rollouts.sampler import positions_of
from rl_jax.tasks.task import DeviceTask, Prompts, Split, Verdicts
from rl_jax.trajectories import POLICY, PROMPT, Trajectories


class BoundModel(NamedTuple):
  """A model with its parameters of the moment."""

  model: Model
  params: Params


Models = Mapping[str, BoundModel]
"""The models that a method names, the policy among them."""

Phase = Callable[[Models, Any, Plan, DeviceTask, Trajectories | None, PRNGKeyArray], tuple[Any, Trajectories]]
"""(models, state, plan, task, trajectories of the phases before with their rewards, key) -> (state, trajectories)"""


@dataclasses.dataclass(frozen=True)
class Rollout:
  """A static list of phases over a state of the rollout's own.

  A phase returns all rows so far, its new ones unscored. Between phases the verifier scores them: on device within
  one program (`step`), on the host between two.
  """

  phases: tuple[Phase, ...]
  init: Callable[[PRNGKeyArray], Any] = lambda key: ()

  def step(
    self, models: Models, state: Any, plan: Plan, task: DeviceTask, key: PRNGKeyArray
  ) -> tuple[Any, Trajectories]:
    """All phases of one iteration, verified on device."""
    trajectories = None
    for index, phase in enumerate(self.phases):
      state, trajectories = phase(models, state, plan, task, trajectories, jax.random.fold_in(key, index))
      trajectories = verify(task, trajectories)
    assert trajectories is not None, "a rollout has at least one phase"
    return state, trajectories


def verify(task: DeviceTask, trajectories: Trajectories, split: Split = "train") -> Trajectories:
  """The trajectories with rewards, step ids and what else the task's verifier says of them."""
  prompts = task.prompts(trajectories.prompt_ids, split)
  responses = slice(task.prompt_tokens, None)
  verdicts = task.verify(prompts, trajectories.tokens[:, responses], trajectories.attention_mask[:, responses])
  return judged(trajectories, verdicts, prompts.levels)


def judged(trajectories: Trajectories, verdicts: Verdicts, levels: Int[Array, " B"]) -> Trajectories:
  """The trajectories with verdicts on their responses, which are their last R slots, and each row's level.

  Extras [B, R] speak of tokens and get slots for the prompt; others, such as an observation, stay as they are.
  """
  responses = verdicts.step_ids.shape
  width = trajectories.tokens.shape[1] - responses[1]
  whole = lambda x, fill: jnp.pad(x, [(0, 0), (width, 0)], constant_values=fill)
  return trajectories.with_arrays(
    rewards=verdicts.rewards,
    reward_mask=verdicts.reward_mask & trajectories.row_mask & ~trajectories.unfinished,
    step_ids=whole(verdicts.step_ids, -1),
    levels=levels,
    **{name: whole(x, 0) if x.shape == responses else x for name, x in verdicts.extras.items()},
  )


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
  """Trajectories of responses to prompts, yet unscored; `arrays` [B, R] are set by name, 0 on the prompts.

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
  shape = attention.shape
  zeros = jnp.zeros(shape, jnp.float32)
  trajectories = Trajectories(
    tokens=join(prompts.tokens, tokens),
    positions=positions_of(attention),
    attention_mask=attention,
    loss_mask=pad(mask),
    step_ids=jnp.full(shape, -1),
    turn_ids=jnp.zeros(shape, jnp.int32),
    source_ids=jnp.where(jnp.arange(shape[1]) < width, PROMPT, source) * jnp.ones(shape, jnp.int32),
    group_ids=repeat(jnp.arange(prompts.tokens.shape[0])),
    prompt_ids=repeat(prompts.ids),
    row_mask=row_mask,
    behaviour_logprobs=zeros,
    old_logprobs=zeros,
    ref_logprobs=zeros,
    rewards=jnp.zeros(rows, jnp.float32),
    token_rewards=zeros,
    reward_mask=jnp.zeros(rows, bool),
    truncated=truncated,
    unfinished=jnp.zeros(rows, bool),
    spent_tokens=jnp.zeros(rows, jnp.int32),
    extras={},
  )
  return trajectories.with_arrays(**{name: pad(x) for name, x in arrays.items()})
