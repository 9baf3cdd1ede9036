"""Outputs of a model over sequences, by name. Unless stated otherwise they are [B, T], and entry t belongs to token t
or to the state before it.

  logprobs      log pi(token t | tokens before t), of the vocabulary
  entropies     of the distribution that token t was drawn from, in nats
  collisions    sum over the vocabulary of its squared probabilities
  hidden        [B, T, D], the inputs of the output layer for these: with its matrix, full-vocabulary divergences
  readout       [D, V], that matrix, in the type of activations: of the parameters alone, whatever the rows
  values        of the state before token t, a number; [B, T, H] from H heads
  rewards       [B], one number for the sequence, read at its last token; [B, H] from H heads
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rl_jax.kernels.logprobs import categorical, linear_logprobs
from rl_jax.models import layout
from rl_jax.models.cache import Cache
from rl_jax.models.packing import packing
from rl_jax.trajectories import PrefixTrees

OF_VOCABULARY = ("logprobs", "entropies")
"""Outputs of a model of the vocabulary, unless it is asked for others."""
OF_HEADS = ("values", "rewards")
OF_PARAMETERS = ("readout",)
"""Outputs without an axis of rows: a loss reads them, of frozen models too; nothing scores them."""
NAMES = (*OF_VOCABULARY, "collisions", "hidden", *OF_HEADS, *OF_PARAMETERS)


def check(names: tuple[str, ...]) -> None:
  """Raise ValueError for unknown outputs, or for outputs that one model cannot have together."""
  unknown = [name for name in names if name not in NAMES]
  if unknown or not names:
    raise ValueError(f"outputs {list(unknown) or 'none'}: a model gives some of {', '.join(NAMES)}")
  if set(names) & {*OF_VOCABULARY, "collisions"} and of_heads(names):
    raise ValueError(f"outputs {list(names)}: {OF_VOCABULARY} and {OF_HEADS} are of two models, with a head each")


def width(names: tuple[str, ...], heads: int, vocabulary: int) -> int:
  """Width of the output layer of a model with these outputs."""
  return heads if of_heads(names) else vocabulary


def of_heads(names: tuple[str, ...]) -> bool:
  """Return whether these come from scalar heads instead of the vocabulary."""
  return bool(set(names) & set(OF_HEADS))


class Sequences(NamedTuple):
  """The part of a batch that a transformer reads."""

  tokens: Int[Array, "B T"]
  positions: Int[Array, "B T"]
  attention_mask: Bool[Array, "B T"]

  def part(self, rows: slice, slots: slice = slice(None)) -> Sequences:
    """Part of the sequences: some rows, and some of their slots."""
    return Sequences(*(x[rows, slots] for x in self))


def outputs(model: Any, params: Any, batch: Any) -> dict[str, Array]:
  """Named outputs of a `Model`. See the top of this file.

  Args:
    batch: has the fields of `Sequences`. With a `prompt_width`, only responses have outputs, and 0 elsewhere. Text
      shared by `trees` is computed once if the model has `shared_prompts`; a row then has outputs of its own text only.
      Slots after `run_width` are not computed and have outputs 0. Independent responses of a prompt are packed into
      `run_rows` rows, which must hold them; outputs after the end of a text are then 0.

  Raises: ValueError: `trees` of another number of rows.
  """
  count, first = batch.tokens.shape[0], max(getattr(batch, "prompt_width", 1), 1)
  trees = (model.shared_prompts and getattr(batch, "trees", ())) or (PrefixTrees.alone(count),)
  if len(trees) == 1:  # also for a part of an update's rows
    trees = (trees[0]._replace(rows=count - count % trees[0].size),)
  ends = list(itertools.accumulate(part.rows for part in trees))
  if ends[-1] != count:
    raise ValueError(f"a batch of {count} rows with trees of {ends[-1]}: Trajectories.rows picks rows")
  sequences = Sequences(batch.tokens, batch.positions, batch.attention_mask)
  width = batch.tokens.shape[1]
  run_width, run_rows = getattr(batch, "run_width", None) or width, getattr(batch, "run_rows", None)
  found = []
  for trees_of_part, end in zip(trees, ends, strict=True):
    part = sequences.part(slice(end - trees_of_part.rows, end), slice(run_width))
    if not trees_of_part.children:
      found.append(_of_rows(model, params, part, first))
    elif len(trees_of_part.children) > 1 or run_rows is None:
      found.append(_of_trees(model, params, part, trees_of_part))
    else:
      used = batch.row_mask[end - trees_of_part.rows : end]
      found.append(_of_packed(model, params, part, used, trees_of_part, run_rows))
  whole = found[0] if len(found) == 1 else jax.tree.map(lambda *parts: jnp.concatenate(parts), *found)
  of_rows = whole if run_width == width else _in_slots(whole, 0, width - run_width)
  return of_rows | of_parameters(model, params)


def of_parameters(model: Any, params: Any) -> dict[str, Array]:
  """The outputs that a `Model` names and no row is needed for."""
  return {"readout": _matrix(model, params)} if "readout" in model.names else {}


def _matrix(model: Any, params: Any) -> Float[Array, "D V"]:
  """The matrix of the output layer, which may be the embedding."""
  return params["embedding" if model.config.output_is_embedding else "output"].astype(model.config.dtype)


def outputs_after(
  model: Any, params: Any, stems: Any, visible: Bool[Array, "B S"], tails: Sequences
) -> dict[str, Array]:
  """Outputs [B, T] of texts that continue others from some slot, by name, but those of the parameters alone.

  Args:
    stems: N rows of S slots, each with B / N adjacent tails; a batch as in `outputs`. They, and their prompts, are
      computed once if the model has `shared_prompts`.
    visible: slots of its stem that a tail sees, including all prompt slots.
  """
  owners = jnp.arange(visible.shape[0]) // (visible.shape[0] // stems.tokens.shape[0])
  seen, slots = stems.attention_mask[owners] & visible, visible.shape[1]
  if not model.shared_prompts:
    before = Sequences(stems.tokens[owners], stems.positions[owners], seen)
    whole = Sequences(*(jnp.concatenate(both, axis=1) for both in zip(before, tails, strict=True)))
    states, _ = _run(model, params, whole)
    last, after = states[jnp.arange(len(owners)), _last(seen) - 1], states[:, slots:]
  else:
    states, prompts, cache = _run_stems(model, params, stems)
    of_stem = seen[:, slots - cache.mask.shape[1] :]
    last = states[owners, _last(of_stem)]
    after, _ = _run(model, params, tails, [*prompts, cache._replace(mask=of_stem)])
  return _read(model, params, tails, _States.of(jnp.concatenate([last[:, None], after], axis=1), tails))


def _last(mask: Bool[Array, "B T"]) -> Int[Array, " B"]:
  """Number of slots up to and including the last token; 0 if there is none."""
  return jnp.max(jnp.where(mask, 1 + jnp.arange(mask.shape[1]), 0), axis=1, initial=0)


def _run_stems(model: Any, params: Any, stems: Any) -> tuple[Float[Array, "N S1 D"], list[Cache], Cache]:
  """States before each slot of the stems and after the last, and the caches of their prompts and of themselves."""
  sequences = Sequences(stems.tokens, stems.positions, stems.attention_mask)
  trees: tuple[PrefixTrees, ...] = getattr(stems, "trees", ())
  if len(trees) != 1 or len(trees[0].children) != 1:
    states, cache = _run(model, params, sequences)
    return jnp.pad(states, ((0, 0), (1, 0), (0, 0))), [], cache
  (rows,), (width,) = trees[0].children, trees[0].starts
  before, prompts = _run(model, params, sequences.part(slice(None, None, rows), slice(width)), last=True)
  states, cache = _run(model, params, sequences.part(slice(None), slice(width, None)), [prompts])
  return jnp.concatenate([jnp.repeat(before, rows, axis=0), states], axis=1), [prompts], cache


def _of_rows(model: Any, params: Any, rows: Sequences, first: int) -> dict[str, Array]:
  """Outputs of rows computed without sharing, from slot `first` on."""
  states, _ = _run(model, params, rows)
  own = rows.part(slice(None), slice(first, None))
  return _in_slots(_read(model, params, own, _States.of(states[:, first - 1 :], own)), first, 0)


def _of_trees(model: Any, params: Any, rows: Sequences, trees: PrefixTrees) -> dict[str, Array]:
  """Outputs of rows that are nodes of trees: prompts are computed once, then each node's own text, level by level."""
  width, prompts = rows.tokens.shape[1], trees.rows // trees.size
  of_trees = lambda x: x.reshape(prompts, trees.size, *x.shape[1:])
  before, cache = _run(model, params, rows.part(slice(None, None, trees.size), slice(trees.starts[0])), last=True)
  caches, levels, done = [cache], [], 0
  for children, nodes, start, stop in zip(
    trees.children, trees.nodes, trees.starts, (*trees.starts[1:], width), strict=True
  ):
    of_level = lambda x, done=done, nodes=nodes: of_trees(x)[:, done : done + nodes].reshape(-1, *x.shape[1:])
    own = Sequences(*map(of_level, rows)).part(slice(None), slice(start, stop))
    states, cache = _run(model, params, own, caches)
    states = jnp.concatenate([jnp.repeat(before, children, axis=0), states], axis=1)
    found = _in_slots(_read(model, params, own, _States.of(states, own)), start, width - stop)
    levels.append({name: x.reshape(prompts, nodes, *x.shape[1:]) for name, x in found.items()})
    before, caches, done = states[:, -1:], [*caches, cache], done + nodes
  joined = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *levels)
  return {name: x.reshape(-1, *x.shape[2:]) for name, x in joined.items()}


def _of_packed(
  model: Any, params: Any, rows: Sequences, used: Bool[Array, " B"], trees: PrefixTrees, count: int
) -> dict[str, Array]:
  """Outputs of rows that share a prompt, whose own texts are packed into `count` rows for each prompt. Rows not
  in use have those of an empty text."""
  (group,), (start,), slots = trees.children, trees.starts, rows.tokens.shape[1] - trees.starts[0]
  before, cache = _run(model, params, rows.part(slice(None, None, group), slice(start)), last=True)
  own = rows.part(slice(None), slice(start, None))
  lengths = jnp.where(used, _last(own.attention_mask), 0).reshape(-1, group)
  packed = packing(lengths, slots, count)
  inside = Sequences(*(packed.pack(x, count) for x in own))
  sources = packed.sources.reshape(-1, slots)
  states, _ = _run(model, params, inside, [cache], segments=sources // slots)
  of_prompt = jnp.repeat(before, count, axis=0)
  ahead = jnp.concatenate([of_prompt, states[:, :-1]], axis=1)
  ahead = jnp.where((sources % slots == 0)[:, :, None], of_prompt, ahead)
  last = jnp.take_along_axis(states.reshape(len(lengths), count * slots, -1), packed.ends(lengths)[:, :, None], axis=1)
  last = jnp.where(lengths[:, :, None] > 0, last, before).reshape(len(used), -1)
  read = _read(model, params, inside, _States(ahead, last))
  unpacked = {name: x if name == "rewards" else packed.unpack(x, group) for name, x in read.items()}
  return _in_slots(unpacked, start, 0)


class _States(NamedTuple):
  """Inputs of the output layer."""

  before: Float[Array, "B R D"]
  """Inputs before each token."""
  last: Float[Array, "M D"]
  """Inputs after the last token of each text; a row without tokens of its own ends at its parent's text."""

  @classmethod
  def of(cls, states: Float[Array, "B R1 D"], own: Sequences) -> _States:
    """Parts of the states before each of R tokens and after all of them."""
    last = jnp.take_along_axis(states, _last(own.attention_mask)[:, None, None], axis=1)[:, 0]
    return cls(states[:, :-1], last)


def _run(
  model: Any,
  params: Any,
  rows: Sequences,
  prefixes: Sequence[Cache] = (),
  last: bool = False,
  segments: Int[Array, "B T"] | None = None,
) -> tuple[Float[Array, "B T D"], Cache]:
  """Inputs of the output layer after each token (or after the last slot alone), and keys and values."""
  options = {"readout": False, "prefixes": prefixes, "last": last, "segments": segments}
  found: Any = model.module.apply({"params": params}, *rows, **options)
  return found


def _in_slots(found: dict[str, Array], before: int, after: int) -> dict[str, Array]:
  """Outputs per token in rows padded with `before` and `after` slots of 0."""
  pad = lambda x: jnp.pad(x, ((0, 0), (before, after), *[(0, 0)] * (x.ndim - 2)))
  return {name: x if name == "rewards" else pad(x) for name, x in found.items()}


def _read(model: Any, params: Any, own: Sequences, states: _States) -> dict[str, Array]:
  """Outputs of the tokens of `own`, and of the texts that they belong to."""
  of_states = _of_heads(model, params, states) if model.of_heads else _of_vocabulary(model, params, own, states.before)
  return {name: of_states[name] for name in model.names if name not in OF_PARAMETERS}


def _of_vocabulary(model: Any, params: Any, own: Sequences, states: Float[Array, "B R D"]) -> dict[str, Array]:
  found = {"hidden": states}
  if not set(model.names) & {*OF_VOCABULARY, "collisions"}:
    return found
  matrix = _matrix(model, params)
  tokens = _tokens(model, own, states, matrix, model.temperature)
  found |= {"logprobs": tokens.logprobs, "entropies": tokens.entropies}
  if "collisions" in model.names:
    # With logits z at the temperature, log sum_v p_v^2 = lse(2 z) - 2 lse(z): of the same token at half of it, twice.
    at_half = _tokens(model, own, states, matrix, model.temperature / 2)
    found["collisions"] = jnp.exp(2 * tokens.logprobs - at_half.logprobs)
  return found


def _tokens(model: Any, own: Sequences, states: Float[Array, "B R D"], matrix: Array, temperature: float) -> Any:
  """Logprobs and entropies of tokens at a temperature, of the states before them."""
  if model.logprobs == "logits":
    logits = jnp.matmul(states, matrix, preferred_element_type=jnp.float32)
    return categorical(logits, own.tokens, temperature=temperature)
  return linear_logprobs(
    states,
    matrix,
    own.tokens,
    own.attention_mask,
    layout="DV",
    temperature=temperature,
    placement=layout.of_output(matrix.shape[1]),
    implementation=None if model.logprobs == "recomputed" else model.logprobs,
  )


def _of_heads(model: Any, params: Any, states: _States) -> dict[str, Array]:
  """Values before each token, and `rewards` of the state after each text's last one."""
  heads = lambda x: jnp.matmul(x, _matrix(model, params), preferred_element_type=jnp.float32)
  each = lambda x: x[..., 0] if x.shape[-1] == 1 else x
  return {"hidden": states.before, "values": each(heads(states.before)), "rewards": each(heads(states.last))}
