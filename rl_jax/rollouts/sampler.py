"""Autoregressive sampling: prefill once per prompt, then one token per row and step until every row has ended."""

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
from rl_jax.models.model import Model, Params
from rl_jax.rollouts.categorical import argmax, draw
from rl_jax.rollouts.truncation import Truncation, truncate

SEED_AXIS = "seeds"
"""Name of the vmapped axis over which the trainer runs seeds."""


@dataclasses.dataclass(frozen=True)
class Sampling:
  """How tokens are drawn from the policy's distribution (whose temperature is the model's).

  Attributes:
    truncation: top-k, top-p, min-p.
    greedy: take the most likely token instead.
    stop_sequences: tuples of token ids; a response ends with the first one that it contains.
    seed_axis: name of the vmapped axis of seeds, None outside of one. A loop that stops seed by seed would select the
      whole cache at every token (6 times slower), so all seeds stop together.
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
  """What was sampled: B rows of R slots. Outside `mask` tokens are padding and the rest is 0."""

  tokens: Int[Array, "B R"]
  mask: Bool[Array, "B R"]
  """True on sampled tokens, the ending one included."""
  logprobs: Float[Array, "B R"]
  """Under the policy's whole distribution, at its temperature: what the trainer computes again."""
  behaviour_logprobs: Float[Array, "B R"]
  """Under the distribution drawn from, renormalised over what truncation left; equal to `logprobs` without it."""
  entropies: Float[Array, "B R"]
  """Of the policy's whole distribution."""
  truncated: Bool[Array, " B"]
  """Hit its limit without ending."""


class _Loop(NamedTuple):
  time: Int[Array, ""]
  cache: Cache
  token: Int[Array, " B"]
  active: Bool[Array, " B"]
  ended: Bool[Array, " B"]
  written: dict[str, Array]  # each [R, B], time first so that a step writes one row


def positions_of(mask: Bool[Array, "B T"]) -> Int[Array, "B T"]:
  """Position of each token in its own sequence: padding on either side does not count."""
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
  end_id: int,
  pad_id: int = 0,
  sampling: Sampling = Sampling(),
) -> Completions:
  """Samples B = N * completions_per_prompt responses; rows of one prompt stand together.

  Row b draws token t with the key fold_in(fold_in(key, b), t): a response depends on its row, not on the batch
  around it, when it stops, or how rows are laid over devices.

  Args:
    tokens, mask: left-padded prompts.
    max_tokens: R, the static number of slots.
    limits: number of tokens after which a row is cut, at most R; 0 makes an empty row.
  """
  rows, width = tokens.shape[0] * completions_per_prompt, tokens.shape[1]
  row_keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(rows))
  lengths = jnp.repeat(mask.sum(axis=1), completions_per_prompt)

  def choose(loop: _Loop, logits: Float[Array, "B V"]) -> _Loop:
    """Draws token `loop.time` of every active row."""
    truncated = truncate(logits, model.temperature, sampling.truncation)
    if sampling.greedy:
      token = argmax(truncated)
    else:
      token = draw(truncated / model.temperature, jax.vmap(jax.random.fold_in, (0, None))(row_keys, loop.time))
    policy = categorical(logits, token, temperature=model.temperature)
    behaviour = categorical(truncated, token, temperature=model.temperature) if sampling.truncation.active else policy
    token = jnp.where(loop.active, token, pad_id)
    new = {
      "tokens": token,
      "mask": loop.active,
      "logprobs": jnp.where(loop.active, policy.logprobs, 0.0),
      "behaviour_logprobs": jnp.where(loop.active, behaviour.logprobs, 0.0),
      "entropies": jnp.where(loop.active, policy.entropies, 0.0),
    }
    written = {name: write(loop.written[name], value[None], loop.time, 0) for name, value in new.items()}
    ends = loop.active & ((token == end_id) | _stops(written["tokens"], loop.time, sampling.stop_sequences))
    active = loop.active & ~ends & (loop.time + 1 < limits)
    return loop._replace(time=loop.time + 1, token=token, active=active, ended=loop.ended | ends, written=written)

  def more(loop: _Loop) -> Bool[Array, ""]:
    active = loop.active.any()
    if sampling.seed_axis:
      active = jax.lax.pmax(active.astype(jnp.int32), sampling.seed_axis) > 0
    return active & (loop.time < max_tokens)

  def step(loop: _Loop) -> _Loop:
    position = (lengths + loop.time - 1)[:, None]
    logits, cache = model.run(
      params, loop.token[:, None], position, loop.active[:, None], loop.cache, width + loop.time - 1
    )
    return choose(loop._replace(cache=cache), logits[:, 0])

  logits, cache = model.run(params, tokens, positions_of(mask), mask, last=True)
  empty = {name: jnp.zeros((max_tokens, rows), t) for name, t in _TYPES.items()} | {
    "tokens": jnp.full((max_tokens, rows), pad_id, jnp.int32)
  }
  start = _Loop(
    time=jnp.int32(0),
    cache=cache.repeat(completions_per_prompt).grow(max_tokens),
    token=jnp.zeros(rows, jnp.int32),
    active=limits > 0,
    ended=jnp.zeros(rows, bool),
    written=empty,
  )
  loop = choose(start, jnp.repeat(logits[:, -1], completions_per_prompt, axis=0))
  loop = jax.lax.while_loop(more, step, loop)
  written = {name: nn.with_logical_constraint(x.T, ("batch", "time")) for name, x in loop.written.items()}
  return Completions(**written, truncated=~loop.ended)


_TYPES = {"mask": bool, "logprobs": jnp.float32, "behaviour_logprobs": jnp.float32, "entropies": jnp.float32}


def _stops(
  tokens: Int[Array, "R B"], time: Int[Array, ""], sequences: tuple[tuple[int, ...], ...]
) -> Bool[Array, " B"] | bool:
  """Whether the tokens up to `time` end in one of the sequences."""
  stops: Bool[Array, " B"] | bool = False
  for sequence in sequences:
    hit = time + 1 >= len(sequence)
    for back, token in enumerate(reversed(sequence)):
      hit &= tokens[jnp.maximum(time - back, 0)] == token
    stops |= hit
  return stops


def sampling_from(config: ConfigDict) -> Sampling:
  """The sampling that a config's section `sampling` describes, inside the axis of its seeds."""
  section = config.sampling
  truncation = Truncation(top_k=section.top_k, top_p=section.top_p, min_p=section.min_p)
  stops = tuple(tuple(s) if isinstance(s, list | tuple) else s for s in section.stop_sequences)
  return Sampling(truncation=truncation, stop_sequences=stops, seed_axis=SEED_AXIS if config.num_seeds > 1 else None)
