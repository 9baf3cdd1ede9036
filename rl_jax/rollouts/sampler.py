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
  stop_texts: StopTexts | None = None,
  pad_id: int = 0,
  sampling: Sampling = Sampling(),
) -> Completions:
  """Sample B = N * completions_per_prompt responses; rows of one prompt are adjacent.

  Row b draws token t with the key fold_in(fold_in(key, b), t). A response thus depends on its row alone: not on the
  rest of the batch, on when that stops, or on the sharding of rows.

  The cost of a step follows its rows and slots. Keys and values of a prompt are stored once for all of its rows, slots
  of responses are added when needed, and the last few rows continue as a smaller batch (`compaction`), unless a mesh
  splits rows, which would have to move. If no row needs a token, nothing runs.

  Args:
    tokens, mask: left-padded prompts.
    max_tokens: R, the static number of slots.
    end_ids: tokens of which each ends a response.
    stop_texts: texts that end a response, of which this one's own tokens have to write all.
    limits: number of tokens after which a row is cut, at most R; 0 makes an empty row.
  """
  count, shards = completions_per_prompt, row_shards()
  batch = tokens.shape[0] * count
  decoder = _Decoder(model, params, max_tokens, end_ids, stop_texts, pad_id, sampling)
  empty = {name: jnp.zeros((max_tokens, batch), t) for name, t in _TYPES.items()} | {
    "tokens": jnp.full((max_tokens, batch), pad_id, jnp.int32)
  }

  def run() -> dict[str, Array]:
    rows = _Rows(
      keys=jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(batch)),
      lengths=jnp.repeat(mask.sum(axis=1), count),
      limits=limits,
    )
    logits, prompts = model.run(params, tokens, positions_of(mask), mask, last=True)
    shared = count > 1 and model.shared_prompts and tokens.shape[0] % shards == 0
    start = _Loop(
      time=jnp.int32(0),
      cache=prompts.without_slots(batch) if shared else prompts.repeat(count),
      token=jnp.zeros(batch, jnp.int32),
      active=limits > 0,
      text_states=jnp.zeros(batch, jnp.int32) if stop_texts is not None else None,
      written=empty,
    )
    first = decoder.choose(start, rows, jnp.repeat(logits[:, -1], count, axis=0))
    sizes = compaction.sizes(batch, long=max_tokens >= LONG) if shards == 1 else ()
    return decoder.rest(first, rows, prompts if shared else None, sizes)

  written = jax.lax.cond(decoder.in_any_seed((limits > 0).any()), run, lambda: empty)
  truncated = ~written.pop("ends").any(axis=0)
  rows_first = {name: nn.with_logical_constraint(x.T, ("batch", "time")) for name, x in written.items()}
  return Completions(**rows_first, truncated=truncated)


_TYPES = dict.fromkeys(("logprobs", "behaviour_logprobs", "entropies"), jnp.float32) | {"mask": bool, "ends": bool}


class _Rows(NamedTuple):
  """Constant part of the state of rows."""

  keys: PRNGKeyArray
  lengths: Int[Array, " B"]
  """Number of tokens in the prompt."""
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

  def rest(self, loop: _Loop, rows: _Rows, prompts: Cache | None, sizes: tuple[int, ...]) -> dict[str, Array]:
    """Draw all tokens after the first; return the written arrays.

    Args:
      loop: state whose cache has slots for prompts, or none if `prompts` is given.
      prompts: keys and values of the prompts, each for its share of the rows; None: they are in the loop's cache.
      sizes: sizes of the batches that may follow this one, largest first.
    """
    before = loop.cache.slots
    for slots in (self.max_tokens // 2, self.max_tokens) if self.max_tokens >= LONG else (self.max_tokens,):
      loop = loop._replace(cache=loop.cache.grow(before + slots - loop.cache.slots))
      loop = self.steps(loop, rows, prompts, before, slots, sizes[0] if sizes else 0)
    return self.smaller(loop, rows, prompts, before, sizes) if sizes else loop.written

  def smaller(
    self, loop: _Loop, rows: _Rows, prompts: Cache | None, before: int, sizes: tuple[int, ...]
  ) -> dict[str, Array]:
    """Continue in batches of `sizes`, whose rows each hold their own prompt."""
    size, *later = sizes

    def run() -> dict[str, Array]:
      kept = compaction.compact(loop.active, size)
      cache, start = kept.take(loop.cache), before
      if prompts is not None:
        share = loop.active.shape[0] // prompts.mask.shape[0]
        cache, start = cache.after(prompts.rows(kept.rows // share)), prompts.slots
      few = loop._replace(cache=cache, written=kept.take(loop.written, axis=1))
      few = few._replace(**{name: kept.take(getattr(loop, name)) for name in ("token", "active", "text_states")})
      few_rows = kept.take(rows)
      few = self.steps(few, few_rows, None, start, self.max_tokens, later[0] if later else 0)
      written = self.smaller(few, few_rows, None, start, tuple(later)) if later else few.written
      return kept.put(loop.written, written, axis=1)

    return jax.lax.cond(self.in_any_seed(loop.active.any()), run, lambda: loop.written)

  def steps(self, loop: _Loop, rows: _Rows, prompts: Cache | None, before: int, until: int, fewer: int) -> _Loop:
    """Draw tokens up to `until`, while more than `fewer` rows are active; response slots begin at slot `before`."""

    def more(loop: _Loop) -> Bool[Array, ""]:
      many = loop.active.sum() > fewer if fewer else loop.active.any()
      return self.in_any_seed(many) & (loop.time < until)

    def step(loop: _Loop) -> _Loop:
      position = (rows.lengths + loop.time - 1)[:, None]
      inputs = loop.token[:, None], position, loop.active[:, None], loop.cache, before + loop.time - 1
      logits, cache = self.model.run(self.params, *inputs, prefixes=() if prompts is None else (prompts,))
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
