"""The batch of the whole program: B sequences of T token slots, batch first.

Masks are built where tokens are made and are never inferred from token ids. Rows are grouped by id, never by
position. One sequence per row: packing exists only inside a model pass.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

POLICY, PROMPT, TOOL, HINT, REPLAY, DEMONSTRATION = range(6)
"""Values of `Trajectories.source_ids`: the origin of a token. Padding has PROMPT or POLICY and is masked out."""


class PrefixTrees(NamedTuple):
  """Trees of adjacent rows that share text, all of one shape, prompt after prompt.

  The rows of a tree are its nodes below the prompt, level by level; the children of a node are adjacent. Each row holds
  its whole text. Before `starts` of its level, that is the text of its parent's row (of the prompt, at the first
  level); from there on it is the row's own, up to the start of the next level. Rows without a parent in use may hold
  anything.
  """

  rows: int
  """Number of rows in all trees."""
  children: tuple[int, ...]
  """Number of children by level: of the prompt, then of each node. Empty: no text is known to be shared."""
  starts: tuple[int, ...]
  """First slot of a node's own text, by level."""

  @classmethod
  def groups(cls, rows: int, children: int, prompt_width: int) -> PrefixTrees:
    """Trees of independent responses, whose rows share the prompt only."""
    return cls(rows, (children,), (prompt_width,))

  @classmethod
  def alone(cls, rows: int) -> PrefixTrees:
    """Trees of rows that share nothing."""
    return cls(rows, (), ())

  @property
  def nodes(self) -> tuple[int, ...]:
    """Number of rows of one tree, by level."""
    return tuple(itertools.accumulate(self.children, lambda a, b: a * b))

  @property
  def size(self) -> int:
    """Number of rows of one tree; 1 if nothing is shared."""
    return sum(self.nodes) if self.children else 1


def slots_run(trees: PrefixTrees, width: int) -> int:
  """Number of token slots that one pass runs over rows of `width` slots, with shared slots counted once."""
  if not trees.children:
    return trees.rows * width
  prompts, stops = trees.rows // trees.size, (*trees.starts[1:], width)
  own = [count * (stop - start) for count, start, stop in zip(trees.nodes, trees.starts, stops, strict=True)]
  return prompts * (trees.starts[0] + sum(own))


class Trajectories(flax.struct.PyTreeNode):
  """A batch of token sequences with masks, logprobs, rewards and ids.

  The first `prompt_width` slots hold prompts, left-padded; responses begin in the slot after them. Every logprob is
  aligned with its token: entry t is log pi(token t | tokens before t), at the sampling temperature.
  Slots outside `loss_mask` may hold anything in the per-token arrays.
  """

  tokens: Int[Array, "B T"]
  positions: Int[Array, "B T"]
  """Position of a token in its own sequence, from 0; any value in padding."""
  attention_mask: Bool[Array, "B T"]
  """True where a token exists, whatever its source."""
  loss_mask: Bool[Array, "B T"]
  """True on tokens that the policy sampled: not on prompts, tool output, hints or padding."""
  step_ids: Int[Array, "B T"]
  """Index of the reasoning step (segment) that a token belongs to, -1 outside any step."""
  turn_ids: Int[Array, "B T"]
  """Index of the turn of a token, 0 in single-turn tasks."""
  source_ids: Int[Array, "B T"]
  """Source of a token: POLICY, PROMPT, TOOL, HINT, REPLAY, DEMONSTRATION."""
  group_ids: Int[Array, " B"]
  """Arbitrary integers; rows that answer the same prompt share one."""
  prompt_ids: Int[Array, " B"]
  """The task's id of the problem."""
  row_mask: Bool[Array, " B"]
  """False on rows that only fill a static capacity."""
  behaviour_logprobs: Float[Array, "B T"]
  """Logprobs under the sampling distribution, after truncation (top-k, top-p, min-p)."""
  old_logprobs: Float[Array, "B T"]
  """Logprobs under the full distribution of the policy before the update: the denominators of ratios."""
  ref_logprobs: Float[Array, "B T"]
  """Logprobs under the reference policy; 0 until scored."""
  rewards: Float[Array, " B"]
  objectives: Float[Array, "B K"]
  """Parts of the reward, named by the task (`Task.objectives`); 0 where a row has none."""
  token_rewards: Float[Array, "B T"]
  """Parts of `rewards` on the tokens that earned them, as the reward of a turn; the rest is earned by the last token.
  All 0 where the reward is one of the whole response."""
  verified: Bool[Array, " B"]
  """True if the verifier was asked about the response."""
  reward_mask: Bool[Array, " B"]
  """True if the verifier gave a verdict. False on an unscored row (a time-out), which differs from a score of 0."""
  truncated: Bool[Array, " B"]
  """True if the response hit its length limit instead of ending by itself."""
  unfinished: Bool[Array, " B"]
  """True if the response continues in a later iteration: it has no reward yet."""
  extras: dict[str, Array]
  """Named arrays with leading axis B, added by a rollout, task or model."""
  prompt_width: int = flax.struct.field(pytree_node=False)
  """Number of prompt slots, the same in all batches of a run."""
  trees: tuple[PrefixTrees, ...] = flax.struct.field(pytree_node=False, default=())
  """Trees of the rows that share text, in row order; () if no text is known to be shared."""
  run_width: int | None = flax.struct.field(pytree_node=False, default=None)
  """Number of slots that models run; later slots are empty in every row in use. None: all slots."""
  run_rows: int | None = flax.struct.field(pytree_node=False, default=None)
  """Number of rows into which models pack the responses of each prompt; they hold all in use. None: no packing."""

  @classmethod
  def empty(cls, rows: int, width: int, prompt_width: int, *, objectives: int = 0) -> Trajectories:
    """A batch of empty rows that are not in use: zeros, and -1 as step.

    Args:
      width: T.
      objectives: K.
    """
    slots = lambda dtype: jnp.zeros((rows, width), dtype)
    per_row = lambda dtype: jnp.zeros(rows, dtype)
    arrays: dict[str, Any] = {
      **{name: slots(jnp.int32) for name in ("tokens", "positions", "turn_ids", "source_ids")},
      **{name: slots(bool) for name in ("attention_mask", "loss_mask")},
      **{name: slots(jnp.float32) for name in ("behaviour_logprobs", "old_logprobs", "ref_logprobs", "token_rewards")},
      **{name: per_row(jnp.int32) for name in ("group_ids", "prompt_ids")},
      **{name: per_row(bool) for name in ("row_mask", "verified", "reward_mask", "truncated", "unfinished")},
      "step_ids": jnp.full((rows, width), -1),
      "rewards": per_row(jnp.float32),
      "objectives": jnp.zeros((rows, objectives), jnp.float32),
    }
    return cls(**arrays, extras={}, prompt_width=prompt_width)

  @property
  def scored(self) -> Bool[Array, " B"]:
    """True on rows that count in statistics of rewards."""
    return self.row_mask & self.reward_mask

  @property
  def correct(self) -> Bool[Array, " B"]:
    """True on rows whose response solves the problem, by the task's own score if rewards have other terms."""
    return self.scored & self.extras.get("correct", self.rewards >= 1.0)

  @property
  def trained(self) -> Bool[Array, "B T"]:
    """True on tokens that count in losses."""
    return self.loss_mask & self.row_mask[:, None]

  @property
  def response_lengths(self) -> Int[Array, " B"]:
    """Number of tokens that the policy wrote in each row."""
    return self.trained.sum(axis=1)

  @property
  def sampled_tokens(self) -> Int[Array, ""]:
    """Number of tokens that the policy wrote in rows that are in use."""
    return self.trained.sum(dtype=jnp.int32)

  def with_extras(self, **arrays: Array) -> Trajectories:
    """A copy with arrays set by name in `extras`. Raises ValueError for the name of a field: `replace` sets it."""
    fields = sorted(arrays.keys() & self.__dataclass_fields__.keys())
    if fields:
      raise ValueError(f"{', '.join(fields)}: a field of the batch and not an extra: set it with replace(...)")
    return self.replace(extras={**self.extras, **arrays})

  def rows(self, index: Int[Array, " n"]) -> Trajectories:
    """The rows at `index`, in that order."""
    return jax.tree.map(lambda x: jnp.take(x, index, axis=0), self.replace(trees=()))

  def first(self, rows: int) -> Trajectories:
    """The first `rows` rows, with their `trees` if these are not split."""
    ends = list(itertools.accumulate(part.rows for part in self.trees))
    trees = self.trees[: ends.index(rows) + 1] if rows in ends else ()
    return jax.tree.map(lambda x: x[:rows], self.replace(trees=trees))
