"""Candidates of every turn from one shared prefix: all are judged, one is committed to, and the next turn extends it.

A row is a candidate and holds its whole text, but only its own turn counts as sampled (`loss_mask`, `source_ids`).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from rl_jax.kernels.advantages.candidates import commit_probabilities
from rl_jax.rollouts.categorical import draw
from rl_jax.rollouts.continuation import concatenate
from rl_jax.rollouts.flat import PROVIDES as OF_RESPONSES
from rl_jax.rollouts.rollout import PhaseResult, Rollout, nothing_new
from rl_jax.rollouts.sampler import Sampling
from rl_jax.rollouts.turns import first_turn, goes_on, next_turn, required_turns
from rl_jax.tasks.task import ExtraSpec, Task
from rl_jax.trajectories import PROMPT, PrefixTrees, Trajectories

PROVIDES = {**OF_RESPONSES, "turns": ExtraSpec((), "int32", "turn that the row is a candidate of, from 0")}


def candidates(
  task: Task,
  count: int,
  advantages: Callable[[Trajectories], Float[Array, " B"]],
  *,
  temperature: float,
  sampling: Sampling,
) -> Rollout:
  """Rollout of `count` candidates of every turn of each of N prompts; keeps no state.

  The verifier judges the candidates of a turn. One of them is drawn with the probabilities softmax(advantages /
  temperature), the environment's answer is added to it, and the result is the prefix of the next turn's candidates. An
  episode ends if the drawn candidate ends it; its later rows have `row_mask` False and sample nothing. For at most K
  turns, the B = K N count rows are in the order of the turns; the candidates of a prefix are adjacent and form a group.
  The reward of a row is the reward of its episode up to its turn.

  Args:
    advantages: scored rows -> advantages within their groups.
    temperature: of the draw; <= 0: the candidate with the highest advantage is taken.

  Raises: ValueError: the task has no turns.
  """
  layout = required_turns(task)

  def first(models, state, plan, prompts, before, key):
    rows = first_turn(
      models["policy"],
      task,
      prompts,
      key,
      completions_per_prompt=count,
      row_mask=plan.row_mask,
      limits=plan.response_limits,
      sampling=sampling,
    )
    rows = rows.with_extras(turns=jnp.zeros_like(rows.group_ids))
    return PhaseResult(state, rows, rows.row_mask, rows.sampled_tokens)

  def later(turn: int):
    def phase(models, state, plan, prompts, before, key):
      width = plan.row_mask.shape[0]
      last = jax.tree.map(lambda x: x[-width:], before.replace(trees=()))
      committed = commit(last, advantages(last), count, jax.random.fold_in(key, 0), temperature=temperature)
      prefixes = _untrained(last.rows(committed))
      written = (prefixes.attention_mask[:, prefixes.prompt_width :] & ~layout.observed).sum(axis=1)
      exists = jnp.repeat(goes_on(prefixes) & prefixes.scored, count) & plan.row_mask
      rows = next_turn(
        models["policy"],
        task,
        prefixes,
        turn,
        jax.random.fold_in(key, 1),
        limits=jnp.where(exists, plan.response_limits - jnp.repeat(written, count), 0),
        sampling=sampling,
        completions=count,
      )
      unjudged = jnp.zeros_like(exists)
      rows = rows.replace(
        row_mask=exists,
        verified=unjudged,
        reward_mask=unjudged,
        truncated=rows.truncated & exists,
        group_ids=turn * (width // count) + jnp.arange(width) // count,
        trees=(PrefixTrees.groups(width, count, rows.prompt_width + layout.start(turn)),),
      ).with_extras(turns=jnp.full(width, turn, jnp.int32))
      verify = jnp.concatenate([nothing_new(before), exists])
      return PhaseResult(state, concatenate(before, rows), verify, rows.sampled_tokens)

    return phase

  return Rollout(phases=(first, *(later(turn) for turn in range(1, layout.max_turns))), provides=PROVIDES)


def commit(
  rows: Trajectories, advantages: Float[Array, " B"], count: int, key: PRNGKeyArray, *, temperature: float
) -> Int[Array, " N"]:
  """Row of the candidate that continues each of N prefixes; a random one of the prefix if none is scored.

  Args:
    rows: `count` adjacent candidates of each prefix.
  """
  chances = commit_probabilities(advantages, rows.group_ids, rows.scored, temperature=temperature).reshape(-1, count)
  starts = jnp.arange(chances.shape[0])
  keys = jax.vmap(jax.random.fold_in, (None, 0))(key, starts)
  scores = jnp.where(chances.sum(axis=1, keepdims=True) > 0, jnp.log(chances), 0.0)
  return starts * count + draw(scores, keys)


def _untrained(rows: Trajectories) -> Trajectories:
  """Rows as prefixes, without trained tokens."""
  sources = jnp.where(rows.loss_mask, PROMPT, rows.source_ids)
  return rows.replace(loss_mask=jnp.zeros_like(rows.loss_mask), source_ids=sources)
