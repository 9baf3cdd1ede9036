"""Autoregressive sampling: one prefill per prompt, then one token per row and step until every row has ended."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from rl_jax.kernels.logprobs import categorical
from rl_jax.models.cache import Cache, write
from rl_jax.models.layout import row_shards
from rl_jax.models.model import Model, Params
from rl_jax.rollouts import compaction
from rl_jax.rollouts.categorical import argmax, draw
from rl_jax.rollouts.truncation import Truncation, truncate
from rl_jax.tasks.stop_texts import StopTexts

SEED_AXIS = "seeds"
"""Name of the trainer's vmapped axis of seeds."""

LONG = 64
"""Number of response slots from which more loops repay their compilation: one with a cache of half the slots for the
first half of the tokens, and one more for a smaller batch."""


@dataclasses.dataclass(frozen=True)
class Sampling:
  """Options for drawing tokens from the policy's distribution (whose temperature is the model's).

  Attributes:
    truncation: top-k, top-p, min-p.
    greedy: take the most likely token instead.
    stop_sequences: tuples of token ids; a response ends after the first of them.
    seed_axis: name of the vmapped axis of seeds; None outside of such an axis. A loop that stopped seed by seed would
      select the whole cache at every token (6 times slower), so all seeds stop together.
  """

  truncation: Truncation = Truncation()
  greedy: bool = False
  stop_sequences: tuple[tuple[int, ...], ...] = ()
  seed_axis: str | None = None

  def __post_init__(self):
    for sequence in self.stop_sequences:
      if not isinstance(sequence, tuple) or not sequence:
        raise ValueError(f"sampling.stop_sequences holds tuples of token ids, as in ((4, 5),), got {sequence!r}")


class Texts(NamedTuple):
  """M texts whose last slot holds a token, unless they are empty."""

  tokens: Int[Array, "M T"]
  mask: Bool[Array, "M T"]

  def repeat(self, times: int) -> Texts:
    """Each text `times` times in succession."""
    return jax.tree.map(lambda x: jnp.repeat(x, times, axis=0), self)

  def then(self, more: Texts) -> Texts:
    """Each text with another one after it."""
    tokens, mask = (jnp.concatenate(both, axis=1) for both in zip(self, more, strict=True))
    order = jnp.argsort(mask, axis=1, stable=True)
    return Texts(jnp.take_along_axis(tokens, order, axis=1), jnp.take_along_axis(mask, order, axis=1))


class Completions(NamedTuple):
  """Sampled completions, B rows of R slots. Outside `mask` tokens are padding and other arrays 0."""

  tokens: Int[Array, "B R"]
  mask: Bool[Array, "B R"]
  """True on sampled tokens, including the end token."""
  logprobs: Float[Array, "B R"]
  """Logprobs under the policy's full distribution, at its temperature; the trainer recomputes these."""
  behaviour_logprobs: Float[Array, "B R"]
  """Logprobs under the sampling distribution, renormalised after truncation; equal to `logprobs` without it."""
  entropies: Float[Array, "B R"]
  """Entropies of the policy's full distribution."""
  truncated: Bool[Array, " B"]
  """True if the row hit its limit without ending."""


def positions_of(mask: Bool[Array, "B T"]) -> Int[Array, "B T"]:
  """Position of each token in its own sequence, without padding on either side."""
  return jnp.maximum(jnp.cumsum(mask, axis=1) - 1, 0)


def sample(
  model: Model,
  params: Params,
  tokens: Int[Array, "N P"],
  mask: Bool[Array, "N P"],
  key: PRNGKeyArray,
  *,
  completions_per_prompt: int,
  max_tokens: int,
  limits: Int[Array, " B"],
  end_ids: tuple[int, ...],
  stems: Texts | None = None,
  stop_texts: StopTexts | None = None,
  pad_id: int = 0,
  sampling: Sampling = Sampling(),
) -> Completions:
  """Sample B = N * completions_per_prompt responses; rows of one prompt are adjacent.

  Row b draws token t with the key fold_in(fold_in(key, b), t). A response thus depends on its row alone: not on the
  rest of the batch, on when that stops, or on the sharding of rows.

  The cost of a step follows its rows and slots. A prompt, and a stem of several prompts, is run and stored once for all
  of its rows, slots of responses are added when needed, and the last few rows continue as a smaller batch
  (`compaction`), unless a mesh splits rows, which would have to move. If no row needs a token, nothing runs.

  Args:
    tokens, mask: left-padded prompts, or what follows their stems, which may be nothing.
    max_tokens: R, the static number of slots.
    end_ids: tokens of which each ends a response.
    stems: beginnings of the prompts, each of as many adjacent ones; None: prompts begin with `tokens`.
    stop_texts: texts that end a response, of which this one's own tokens have to write all.
    limits: number of tokens after which a row is cut, at most R; 0 makes an empty row.
  """
  shards = row_shards()
  batch = tokens.shape[0] * completions_per_prompt
  decoder = _Decoder(model, params, max_tokens, end_ids, stop_texts, pad_id, sampling)
  empty = {name: jnp.zeros((max_tokens, batch), t) for name, t in _TYPES.items()} | {
    "tokens": jnp.full((max_tokens, batch), pad_id, jnp.int32)
  }

  def run() -> dict[str, Array]:
    before = _prefilled(model, params, _parts(model, Texts(tokens, mask), stems, shards), batch, shards)
    rows = _Rows(
      keys=jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(batch)), lengths=before.lengths, limits=limits
    )
    start = _Loop(
      time=jnp.int32(0),
      cache=before.own,
      token=jnp.zeros(batch, jnp.int32),
      active=limits > 0,
      text_states=jnp.zeros(batch, jnp.int32) if stop_texts is not None else None,
      written=empty,
    )
    first = decoder.choose(start, rows, before.logits)
    sizes = compaction.sizes(batch, long=max_tokens >= LONG) if shards == 1 else ()
    return decoder.rest(first, rows, before.shared, sizes)

  written = jax.lax.cond(decoder.in_any_seed((limits > 0).any()), run, lambda: empty)
  truncated = ~written.pop("ends").any(axis=0)
  rows_first = {name: nn.with_logical_constraint(x.T, ("batch", "time")) for name, x in written.items()}
  return Completions(**rows_first, truncated=truncated)


class _Before(NamedTuple):
  """State of B rows after the text before their first token."""

  logits: Float[Array, "B V"]
  """Logits of the first token."""
  lengths: Int[Array, " B"]
  """Number of tokens of that text."""
  own: Cache
  """Keys and values of each row's own part; without slots if all parts are shared."""
  shared: tuple[Cache, ...]
  """Keys and values of the parts before it, each for its share of the rows."""


def _parts(model: Model, texts: Texts, stems: Texts | None, shards: int) -> tuple[Texts, ...]:
  """Parts of the texts that are run one after the other, each for its share of the rows."""
  if stems is None:
    return (texts,)
  if model.shared_prompts and stems.tokens.shape[0] % shards == 0:
    return stems, texts
  return (stems.repeat(texts.tokens.shape[0] // stems.tokens.shape[0]).then(texts),)


def _prefilled(model: Model, params: Params, parts: tuple[Texts, ...], batch: int, shards: int) -> _Before:
  """Run the parts of the texts of `batch` rows. A part that is empty in a row leaves the logits of the part before."""
  first, *others = parts
  outputs, cache = model.run(params, first.tokens, positions_of(first.mask), first.mask, last=True)
  logits, lengths = outputs[:, -1], first.mask.sum(axis=1)
  caches: tuple[Cache, ...] = (cache,)
  for part in others:
    share = part.tokens.shape[0] // lengths.shape[0]
    logits, lengths = jnp.repeat(logits, share, axis=0), jnp.repeat(lengths, share)
    inputs = part.tokens, positions_of(part.mask) + lengths[:, None], part.mask
    outputs, cache = model.run(params, *inputs, last=True, prefixes=caches)
    logits = jnp.where(part.mask.any(axis=1)[:, None], outputs[:, -1], logits)
    lengths, caches = lengths + part.mask.sum(axis=1), (*caches, cache)
  count = lengths.shape[0]
  share = batch // count
  shared, own = caches[:-1], caches[-1]
  if share > 1 and model.shared_prompts and count % shards == 0:
    shared, own = caches, own.without_slots(batch)
  elif share > 1:
    own = own.repeat(share)
  return _Before(jnp.repeat(logits, share, axis=0), jnp.repeat(lengths, share), own, shared)


_TYPES = dict.fromkeys(("logprobs", "behaviour_logprobs", "entropies"), jnp.float32) | {"mask": bool, "ends": bool}


class _Rows(NamedTuple):
  """Constant part of the state of rows."""

  keys: PRNGKeyArray
  lengths: Int[Array, " B"]
  """Number of tokens in the prompt, its stem included."""
  limits: Int[Array, " B"]


class _Loop(NamedTuple):
  time: Int[Array, ""]
  cache: Cache
  token: Int[Array, " B"]
  active: Bool[Array, " B"]
  text_states: Int[Array, " B"] | None
  """States of `StopTexts`; None without any."""
  written: dict[str, Array]  # each [R, B], time first so that a step writes one row


@dataclasses.dataclass(frozen=True)
class _Decoder:
  """Steps of a batch, and of the smaller batches that it shrinks to."""

  model: Model
  params: Params
  max_tokens: int
  end_ids: tuple[int, ...]
  stop_texts: StopTexts | None
  pad_id: int
  sampling: Sampling

  def in_any_seed(self, predicate: Bool[Array, ""]) -> Bool[Array, ""]:
    """One predicate for all seeds: branches and loops of their own would select whole caches."""
    axis = self.sampling.seed_axis
    return jax.lax.pmax(predicate.astype(jnp.int32), axis) > 0 if axis else predicate

  def choose(self, loop: _Loop, rows: _Rows, logits: Float[Array, "B V"]) -> _Loop:
    """Draw token `loop.time` of every active row."""
    model, sampling = self.model, self.sampling
    truncated = truncate(logits, model.temperature, sampling.truncation)
    if sampling.greedy:
      token = argmax(truncated)
    else:
      token = draw(truncated / model.temperature, jax.vmap(jax.random.fold_in, (0, None))(rows.keys, loop.time))
    policy = categorical(logits, token, temperature=model.temperature)
    behaviour = categorical(truncated, token, temperature=model.temperature) if sampling.truncation.active else policy
    token = jnp.where(loop.active, token, self.pad_id)
    new = {
      "tokens": token,
      "mask": loop.active,
      "logprobs": jnp.where(loop.active, policy.logprobs, 0.0),
      "behaviour_logprobs": jnp.where(loop.active, behaviour.logprobs, 0.0),
      "entropies": jnp.where(loop.active, policy.entropies, 0.0),
    }
    written = {name: write(loop.written[name], value[None], loop.time, 0) for name, value in new.items()}
    stops = (*((end_id,) for end_id in self.end_ids), *sampling.stop_sequences)
    ended = _stops(written["tokens"], loop.time, stops)
    if self.stop_texts is not None and loop.text_states is not None:
      states = self.stop_texts.step(loop.text_states, token)
      loop, ended = loop._replace(text_states=states), ended | self.stop_texts.complete(states)
    ends = loop.active & ended
    written["ends"] = write(loop.written["ends"], ends[None], loop.time, 0)
    active = loop.active & ~ends & (loop.time + 1 < rows.limits)
    return loop._replace(time=loop.time + 1, token=token, active=active, written=written)

  def rest(self, loop: _Loop, rows: _Rows, shared: tuple[Cache, ...], sizes: tuple[int, ...]) -> dict[str, Array]:
    """Draw all tokens after the first; return the written arrays.

    Args:
      loop: state whose cache has slots for the text before, without what is `shared`.
      shared: keys and values of the first parts of that text, each for its share of the rows.
      sizes: sizes of the batches that may follow this one, largest first.
    """
    before = loop.cache.slots
    for slots in (self.max_tokens // 2, self.max_tokens) if self.max_tokens >= LONG else (self.max_tokens,):
      loop = loop._replace(cache=loop.cache.grow(before + slots - loop.cache.slots))
      loop = self.steps(loop, rows, shared, before, slots, sizes[0] if sizes else 0)
    return self.smaller(loop, rows, shared, before, sizes) if sizes else loop.written

  def smaller(
    self, loop: _Loop, rows: _Rows, shared: tuple[Cache, ...], before: int, sizes: tuple[int, ...]
  ) -> dict[str, Array]:
    """Continue in batches of `sizes`, whose rows each hold all of their text."""
    size, *later = sizes

    def run() -> dict[str, Array]:
      kept = compaction.compact(loop.active, size)
      cache, start = kept.take(loop.cache), before
      for part in reversed(shared):
        share = loop.active.shape[0] // part.mask.shape[0]
        cache, start = cache.after(part.rows(kept.rows // share)), part.slots + start
      few = loop._replace(cache=cache, written=kept.take(loop.written, axis=1))
      few = few._replace(**{name: kept.take(getattr(loop, name)) for name in ("token", "active", "text_states")})
      few_rows = kept.take(rows)
      few = self.steps(few, few_rows, (), start, self.max_tokens, later[0] if later else 0)
      written = self.smaller(few, few_rows, (), start, tuple(later)) if later else few.written
      return kept.put(loop.written, written, axis=1)

    return jax.lax.cond(self.in_any_seed(loop.active.any()), run, lambda: loop.written)

  def steps(self, loop: _Loop, rows: _Rows, shared: tuple[Cache, ...], before: int, until: int, fewer: int) -> _Loop:
    """Draw tokens up to `until`, while more than `fewer` rows are active; response slots begin at slot `before`."""

    def more(loop: _Loop) -> Bool[Array, ""]:
      many = loop.active.sum() > fewer if fewer else loop.active.any()
      return self.in_any_seed(many) & (loop.time < until)

    def step(loop: _Loop) -> _Loop:
      position = (rows.lengths + loop.time - 1)[:, None]
      inputs = loop.token[:, None], position, loop.active[:, None], loop.cache, before + loop.time - 1
      logits, cache = self.model.run(self.params, *inputs, prefixes=shared)
      return self.choose(loop._replace(cache=cache), rows, logits[:, 0])

    return jax.lax.while_loop(more, step, loop)


def _stops(
  tokens: Int[Array, "R B"], time: Int[Array, ""], sequences: tuple[tuple[int, ...], ...]
) -> Bool[Array, " B"] | bool:
  """Return whether the tokens up to `time` end in one of the sequences."""
  stops: Bool[Array, " B"] | bool = False
  for sequence in sequences:
    hit = time + 1 >= len(sequence)
    for back, token in enumerate(reversed(sequence)):
      hit &= tokens[jnp.maximum(time - back, 0)] == token
    stops |= hit
  return stops


def sampling_from(config: ConfigDict) -> Sampling:
  """Sampling options of a config's section `sampling`, inside its axis of seeds."""
  section = config.sampling
  truncation = Truncation(top_k=section.top_k, top_p=section.top_p, min_p=section.min_p)
  stops = tuple(tuple(s) if isinstance(s, list | tuple) else s for s in section.stop_sequences)
  return Sampling(truncation=truncation, stop_sequences=stops, seed_axis=SEED_AXIS if config.num_seeds > 1 else None)
