"""Parallel-Distill-Refine: drafts in rounds, a bounded workspace between them, and what that costs in tokens.

Sequential refinement is the case of one draft per round.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels._order import largest


class Budget(NamedTuple):
  """Tokens read and written."""

  sequential: Int[Array, " B"]
  """B_seq, over the accepted path: a measure of latency."""
  total: Int[Array, " B"]
  """B_total, over all calls."""


class Calls(NamedTuple):
  """All model calls for one prompt, in order."""

  inputs: Int[Array, "B C"]
  """Tokens read."""
  outputs: Int[Array, "B C"]
  """Tokens written."""
  accepted: Bool[Array, "B C"]
  """True on the accepted path: one draft of each round, the summaries and the final answer."""


class Selection(NamedTuple):
  """Chosen drafts, best first; 0 and False where there are fewer than k."""

  slots: Int[Array, "B k"]
  mask: Bool[Array, "B k"]


class Workspace(NamedTuple):
  """Tokens that the next round reads after the prompt; 0 and False after them."""

  tokens: Int[Array, "B cap"]
  mask: Bool[Array, "B cap"]


def token_budget(
  inputs: Int[Array, "B S"], outputs: Int[Array, "B S"], accepted: Bool[Array, "B S"], mask: Num[Array, "B S"]
) -> Budget:
  """B_total = sum_c (in_c + out_c) over all calls c, and B_seq = the same sum over the accepted ones.

  PDR, arXiv 2510.01123. Which drafts are accepted is not in the paper; see `refinement_calls`.

  >>> one = jnp.ones((1, 2), jnp.int32)
  >>> print(*token_budget(10 * one, 100 * one, jnp.array([[True, False]]), one))
  [110] [220]
  """
  same_shape("token_budget", "B S", inputs=inputs, outputs=outputs, accepted=accepted, mask=mask)
  exists = mask != 0
  tokens = jnp.where(exists, inputs + outputs, 0).astype(jnp.int32)
  sequential = jnp.where(accepted != 0, tokens, 0)
  return Budget(*(x.sum(axis=1, dtype=jnp.int32) for x in (sequential, tokens)))


def refinement_calls(
  prompt_lengths: Int[Array, " B"],
  draft_lengths: Int[Array, " B"],
  artefact_lengths: Int[Array, " B"],
  *,
  widths: tuple[int, ...],
  distillation: str = "top_k",
  k: int = 2,
  cap: int | None = None,
) -> Calls:
  """Calls of rounds r = 1 .. R with M_r drafts each, which read prompt and workspace C_{r-1}, and of the final answer.

  PDR, arXiv 2510.01123: C_0 is empty, and C_r is built from round r alone. `distillation` "top_k" (shared, by branch,
  or at random): min(k, M_r) solutions of `artefact_lengths` tokens; "summary": that many tokens, written by a call more
  that reads the prompt and all drafts. |C| <= `cap`. The answer has a draft's length. Sequential refinement with R
  rounds after the first draft has widths (1,) * R. The accepted path is not in the paper.

  >>> calls = refinement_calls(jnp.array([10]), jnp.array([100]), jnp.array([20]), widths=(8, 4))
  >>> print(*token_budget(*calls, jnp.ones_like(calls.inputs)))
  [410] [1630]
  """
  known_option("refinement_calls", "distillation", distillation, ("top_k", "summary"))
  same_shape(
    "refinement_calls",
    "B",
    prompt_lengths=prompt_lengths,
    draft_lengths=draft_lengths,
    artefact_lengths=artefact_lengths,
  )
  if not widths or min(*widths, k) < 1:
    raise ValueError(f"refinement_calls: expected widths and k of at least 1, got {widths} and {k}")
  workspace, calls = 0, []  # of each call: drafts read, artefacts read, whether it writes a draft, whether accepted
  for width in widths:
    calls += [(0, workspace, True, draft == 0) for draft in range(width)]
    if distillation == "summary":
      calls.append((width, 0, False, True))
    workspace = 1 if distillation == "summary" else min(k, width)
  calls.append((0, workspace, True, True))
  drafts, artefacts, writes_draft, accepted = np.array(calls, np.int32).T
  bounded = lambda tokens: tokens if cap is None else jnp.minimum(tokens, cap)
  prompt, draft, artefact = (x.astype(jnp.int32)[:, None] for x in (prompt_lengths, draft_lengths, artefact_lengths))
  inputs = prompt + drafts * draft + bounded(artefacts * artefact)
  return Calls(inputs, jnp.where(writes_draft, draft, bounded(artefact)), jnp.broadcast_to(accepted != 0, inputs.shape))


def top_drafts(scores: Num[Array, "B S"], mask: Num[Array, "B S"], *, k: int = 2) -> Selection:
  """The k drafts with the highest scores, of equal ones the first.

  PDR, arXiv 2510.01123. A row is a prompt (shared top-k, one workspace for all branches of the next round) or a branch
  with scores of its own (per-sample top-k); with uniform random scores this is random-k.

  >>> print(top_drafts(jnp.array([[0.2, 0.9, 0.9, 0.1]]), jnp.ones((1, 4))).slots)
  [[1 2]]
  """
  same_shape("top_drafts", "B S", scores=scores, mask=mask)
  return Selection(*largest(scores, mask, k))


def join_drafts(
  tokens: Int[Array, "B S T"],
  mask: Num[Array, "B S T"],
  slots: Int[Array, "B k"],
  slot_mask: Num[Array, "B k"],
  *,
  cap: int,
  separator: int = -1,
  room: str = "in_order",
) -> Workspace:
  """The chosen drafts in order, a separator between them, in at most `cap` tokens.

  PDR, arXiv 2510.01123, |C| <= kappa. How the bound is kept is not in the paper. A draft that is too long keeps its
  last tokens, where the solution is, and `room` says what is too long: what is left after the drafts before it
  ("in_order"), or an equal share, floor((cap - separators) / drafts), for each ("equal"). Pass the drafts' final
  solutions, not their thinking. A draft without tokens, or without room, has no separator either.

  >>> tokens, mask = jnp.array([[[6, 7, 0], [8, 9, 10]]]), jnp.array([[[1, 1, 0], [1, 1, 1]]])
  >>> print(join_drafts(tokens, mask, jnp.array([[0, 1]]), jnp.ones((1, 2)), cap=5).tokens)
  [[ 6  7 -1  9 10]]
  """
  known_option("join_drafts", "room", room, ("in_order", "equal"))
  same_shape("join_drafts", "B S T", tokens=tokens, mask=mask)
  same_shape("join_drafts", "B k", slots=slots, slot_mask=slot_mask)
  indices = jnp.where(slot_mask != 0, slots, 0)[:, :, None]
  tokens = jnp.take_along_axis(tokens, indices, axis=1)
  exists = (jnp.take_along_axis(mask, indices, axis=1) != 0) & (slot_mask != 0)[:, :, None]
  lengths = exists.sum(axis=2, dtype=jnp.int32)
  if room == "in_order":
    allowed = cap - _used_before(lengths)
  else:
    drafts = (lengths > 0).sum(axis=1, keepdims=True, dtype=jnp.int32)
    allowed = (cap - (drafts - 1)) // jnp.maximum(drafts, 1)
  kept_lengths = jnp.clip(allowed, 0, lengths)
  starts = _used_before(kept_lengths)
  place = starts[:, :, None] + jnp.cumsum(exists, axis=2, dtype=jnp.int32) - 1 - (lengths - kept_lengths)[:, :, None]
  place = jnp.where(exists & (place >= starts[:, :, None]), place, cap)
  marks = jnp.where((kept_lengths > 0) & (starts > 0), starts - 1, cap)

  def write(row, place, tokens, marks):
    return row.at[place].set(tokens, mode="drop").at[marks].set(separator, mode="drop")

  rows = place.shape[0]
  empty = jnp.zeros((rows, cap), jnp.int32)
  joined = jax.vmap(write)(empty, place.reshape(rows, -1), tokens.reshape(rows, -1).astype(jnp.int32), marks)
  size = jnp.max(jnp.where(kept_lengths > 0, starts + kept_lengths, 0), axis=1, keepdims=True)
  return Workspace(joined, jnp.arange(cap) < size)


def _used_before(lengths):
  """Tokens before each draft: those of the drafts before it, and a separator after each that has any."""
  slots = jnp.where(lengths > 0, lengths + 1, 0)
  return jnp.cumsum(slots, axis=1) - slots
