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

from rl_jax.kernels.logprobs import categorical, linear_logprobs
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
  """The outputs of a `Model` that it names. See the top of this file.

  Args:
    batch: has the fields of `Sequences`. With a `prompt_width` it has outputs of its responses alone, 0 elsewhere; with
      `rows_per_prompt` its prompts are run once for the rows that share them, if the model has `shared_prompts`.
  """
  first = max(getattr(batch, "prompt_width", 1), 1)
  states = _states(model, params, batch, first)
  padded = lambda x: jnp.pad(x, ((0, 0), (first, 0), *[(0, 0)] * (x.ndim - 2)))
  arrays = (_of_heads if model.of_heads else _of_vocabulary)(model, params, batch, states, first)
  return {name: arrays[name] if name == "rewards" else padded(arrays[name]) for name in model.names}


def _states(model: Any, params: Any, batch: Any, first: int) -> Float[Array, "B R D"]:
  """What the output layer reads before each token from slot `first` on, and of the last token."""
  rows = getattr(batch, "rows_per_prompt", 1) if model.shared_prompts else 1
  run = lambda tokens, positions, mask, **options: model.module.apply(
    {"params": params}, tokens, positions, mask, readout=False, **options
  )
  if rows == 1:
    states, _ = run(batch.tokens, batch.positions, batch.attention_mask)
    return states[:, first - 1 :]
  of_prompts = lambda x: x[::rows, :first]
  of_responses = lambda x: x[:, first:]
  arrays = batch.tokens, batch.positions, batch.attention_mask
  last, prefix = run(*map(of_prompts, arrays), last=True)
  states, _ = run(*map(of_responses, arrays), prefix=prefix)
  return jnp.concatenate([jnp.repeat(last, rows, axis=0), states], axis=1)


def _of_vocabulary(
  model: Any, params: Any, batch: Any, states: Float[Array, "B R D"], first: int
) -> dict[str, Array]:
  """Outputs [B, R - 1] of the tokens from slot `first` on."""
  states, tokens = states[:, :-1], batch.tokens[:, first:]
  arrays = {"hidden": states}
  if set(model.names) == {"hidden"}:
    return arrays
  matrix = params["embedding" if model.config.output_is_embedding else "output"].astype(states.dtype)
  if model.logprobs == "logits":
    logits = jnp.matmul(states, matrix, preferred_element_type=jnp.float32)
    return arrays | categorical(logits, tokens, temperature=model.temperature)._asdict()
  linear = linear_logprobs(
    states,
    matrix,
    tokens,
    batch.attention_mask[:, first:],
    layout="DV",
    temperature=model.temperature,
    placement=layout.of_output(matrix.shape[1]),
    implementation=None if model.logprobs == "recomputed" else model.logprobs,
  )
  return arrays | {"logprobs": linear.logprobs, "entropies": linear.entropies}


def _of_heads(model: Any, params: Any, batch: Any, states: Float[Array, "B R D"], first: int) -> dict[str, Array]:
  """The same from heads, and `rewards` of the state at each row's last token."""
  heads = jnp.matmul(states, params["output"].astype(states.dtype), preferred_element_type=jnp.float32)
  squeezed = (lambda x: x[..., 0]) if heads.shape[-1] == 1 else (lambda x: x)
  slots = jnp.arange(batch.tokens.shape[1])
  last = jnp.max(jnp.where(batch.attention_mask, slots, 0), axis=1) - (first - 1)
  # A row without a response ends with its prompt, before the states that are here.
  rewards = jnp.take_along_axis(heads, jnp.maximum(last, 0)[:, None, None], axis=1)[:, 0]
  return {"hidden": states[:, :-1], "values": squeezed(heads[:, :-1]), "rewards": squeezed(rewards)}
