"""Outputs of a model over whole sequences, by name: [B, T], where entry t speaks of token t or of the state before it,
unless it is said otherwise.

  logprobs      log pi(token t | tokens before t), of the vocabulary
  entropies     of the distribution that token t was drawn from, in nats
  hidden        [B, T, D], what the output layer read to give these: with its matrix, full-vocabulary divergences
  values        of the state before token t, a number; [B, T, H] from H heads
  rewards       [B], one number for the sequence, read at its last token; [B, H] from H heads
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from rl_jax.kernels.logprobs import align, linear_logprobs, token_logprobs
from rl_jax.models import layout

OF_VOCABULARY = ("logprobs", "entropies")
OF_HEADS = ("values", "rewards")
NAMES = (*OF_VOCABULARY, "hidden", *OF_HEADS)


def check(names: tuple[str, ...]) -> None:
  """Raise ValueError for outputs that are not known, or that one model cannot give together."""
  unknown = [name for name in names if name not in NAMES]
  if unknown or not names:
    raise ValueError(f"outputs {list(unknown) or 'none'}: a model gives some of {', '.join(NAMES)}")
  if set(names) & set(OF_VOCABULARY) and of_heads(names):
    raise ValueError(f"outputs {list(names)}: {OF_VOCABULARY} and {OF_HEADS} are of two models, with a head each")


def width(names: tuple[str, ...], heads: int, vocabulary: int) -> int:
  """Columns of the output layer of a model that gives these."""
  return heads if of_heads(names) else vocabulary


def of_heads(names: tuple[str, ...]) -> bool:
  """Whether these come from heads of a number each, and not from the vocabulary."""
  return bool(set(names) & set(OF_HEADS))


def outputs(model: Any, params: Any, batch: Any) -> dict[str, Array]:
  """The outputs of a `Model` that it names. See the top of this file."""
  if model.of_heads:
    return _of_heads(model, params, batch)
  return _of_vocabulary(model, params, batch)


def _of_vocabulary(model: Any, params: Any, batch: Any) -> dict[str, Array]:
  plain = model.logprobs == "logits" and "hidden" not in model.names
  if plain:
    logits, _ = model.run(params, batch.tokens, batch.positions, batch.attention_mask)
    found = token_logprobs(logits, batch.tokens, temperature=model.temperature)._asdict()
    return {name: found[name] for name in model.names}
  hidden = _hidden(model, params, batch)
  found = {"hidden": _aligned(hidden[:, :-1])}
  matrix = params["embedding" if model.config.output_is_embedding else "output"].astype(hidden.dtype)
  if model.logprobs == "logits":
    logits = jnp.matmul(hidden, matrix, preferred_element_type=jnp.float32)
    found |= token_logprobs(logits, batch.tokens, temperature=model.temperature)._asdict()
  else:
    linear = linear_logprobs(
      hidden[:, :-1],
      matrix,
      batch.tokens[:, 1:],
      batch.attention_mask[:, 1:],
      layout="DV",
      temperature=model.temperature,
      placement=layout.of_output(matrix.shape[1]),
      implementation=None if model.logprobs == "recomputed" else model.logprobs,
    )
    found |= {"logprobs": align(linear.logprobs), "entropies": align(linear.entropies)}
  return {name: found[name] for name in model.names}


def _of_heads(model: Any, params: Any, batch: Any) -> dict[str, Array]:
  if "hidden" in model.names:
    hidden = _hidden(model, params, batch)
    heads = jnp.matmul(hidden, params["output"].astype(hidden.dtype), preferred_element_type=jnp.float32)
    found = {"hidden": _aligned(hidden[:, :-1])}
  else:
    heads, _ = model.run(params, batch.tokens, batch.positions, batch.attention_mask)
    found = {}
  each = (lambda x: x[..., 0]) if heads.shape[-1] == 1 else (lambda x: x)
  last = jnp.max(jnp.where(batch.attention_mask, jnp.arange(heads.shape[1]), 0), axis=1)
  found |= {
    "values": _aligned(each(heads[:, :-1])),
    "rewards": each(jnp.take_along_axis(heads, last[:, None, None], axis=1)[:, 0]),
  }
  return {name: found[name] for name in model.names}


def _hidden(model: Any, params: Any, batch: Any) -> Float[Array, "B T D"]:
  """What the output layer reads at each token."""
  found, _ = model.module.apply({"params": params}, batch.tokens, batch.positions, batch.attention_mask, readout=False)
  return found


def _aligned(x: Array) -> Array:
  """What was read at token t - 1 to entry t."""
  return jnp.pad(x, ((0, 0), (1, 0), *[(0, 0)] * (x.ndim - 2)))
