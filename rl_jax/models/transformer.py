"""Decoder-only transformer: RMSNorm, rotary positions, grouped-query attention, SwiGLU (Llama 3, arXiv 2407.21783).

Its switches also make SmolLM2 (arXiv 2502.02737; tied embeddings), Qwen2.5 (2412.15115; biases of query, key, value),
Qwen3 (2505.09388; normalised queries and keys) and Gemma 3 (2503.19786; sliding windows, norms after layers, GeGLU).

One call serves training (whole sequences), prefill (whole prompts into a cache) and decoding (one token per row).
Every parameter carries logical axis names; `rl_jax.training.mesh` maps them to a device mesh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rl_jax.models.architecture import ACTIVATIONS, TransformerConfig
from rl_jax.models.attention import Shared, attend, attend_with_prefixes, within
from rl_jax.models.cache import Cache, write
from rl_jax.models.dense import dense
from rl_jax.models.lora import A, B, adapted
from rl_jax.models.remat import recomputed
from rl_jax.models.rope import Rotation, rotate, rotation


def _param(module: nn.Module, name: str, shape: tuple[int, ...], axes: tuple[str, ...], scale: float, dtype: str):
  """A normally distributed parameter with logical axes, in the compute type; a scale of 0 starts with zeros."""
  init = nn.with_logical_partitioning(nn.initializers.normal(scale), axes)
  param_dtype = module.config.param_dtype  # type: ignore[attr-defined]
  value: Any = module.param(name, init, shape, jnp.dtype(param_dtype))
  return value.astype(dtype)


def _product(module: nn.Module, x: Array, weight: Array, name: str, axes: tuple[str, str]) -> Array:
  """x times the matrix `name`, with its adapter if the config has one."""
  c: TransformerConfig = module.config  # type: ignore[attr-defined]
  if not c.lora_rank or name not in c.lora_targets:
    return dense(x, weight)
  inputs, outputs = weight.shape
  a = _param(module, name + A, (inputs, c.lora_rank), (axes[0], "rank"), inputs**-0.5, c.dtype)
  b = _param(module, name + B, (c.lora_rank, outputs), ("rank", axes[1]), 0.0, c.dtype)
  return adapted(x, weight, a, b, c.lora_scale)


class RMSNorm(nn.Module):
  """x / sqrt(mean(x^2) + epsilon) * scale, in float32 (arXiv 1910.07467, eq. 4); 1 + scale with `offset_norms`."""

  config: TransformerConfig

  @nn.compact
  def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
    c = self.config
    init = nn.initializers.zeros_init() if c.offset_norms else nn.initializers.ones_init()
    scale: Any = self.param(
      "scale", nn.with_logical_partitioning(init, ("norm",)), (x.shape[-1],), jnp.dtype(c.param_dtype)
    )
    if c.offset_norms:
      scale = 1.0 + scale.astype(jnp.float32)
    wide = x.astype(jnp.float32)
    wide = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + c.norm_epsilon)
    return (wide * scale).astype(x.dtype)


class Attention(nn.Module):
  """Causal grouped-query attention (arXiv 2305.13245) over the given tokens and cached ones before them."""

  config: TransformerConfig

  @nn.compact
  def __call__(self, x, turned, allowed, cached, slot, prefixes: Sequence[Shared] = ()):
    """Attention output of tokens x [B, T, D] that are `turned` by their rotation, and (keys, values) with them.

    allowed [B, T, S]: slots that a token may see; cached: (keys, values) of S slots or None.
    """
    c, (rows, time, width) = self.config, x.shape
    scale = width**-0.5
    shape_q, shape_kv = (width, c.heads * c.head_width), (width, c.key_value_heads * c.head_width)
    axes_q, axes_kv = ("width", "heads"), ("width", "key_value_heads")
    wq = _param(self, "query", shape_q, axes_q, scale, c.dtype)
    wk = _param(self, "key", shape_kv, axes_kv, scale, c.dtype)
    wv = _param(self, "value", shape_kv, axes_kv, scale, c.dtype)
    wo = _param(self, "output", shape_q[::-1], axes_q[::-1], (c.heads * c.head_width) ** -0.5, c.dtype)

    group = c.heads // c.key_value_heads
    q = _product(self, x, wq, "query", axes_q)
    k = _product(self, x, wk, "key", axes_kv)
    v = _product(self, x, wv, "value", axes_kv)
    if c.qkv_bias:
      q += _param(self, "query_bias", shape_q[1:], ("heads",), 0.0, c.dtype)
      k += _param(self, "key_bias", shape_kv[1:], ("key_value_heads",), 0.0, c.dtype)
      v += _param(self, "value_bias", shape_kv[1:], ("key_value_heads",), 0.0, c.dtype)
    q = q.reshape(rows, time, c.heads, c.head_width)
    k, v = (y.reshape(rows, time, c.key_value_heads, c.head_width) for y in (k, v))
    if c.qk_norm:
      q, k = RMSNorm(c, name="query_norm")(q), RMSNorm(c, name="key_norm")(k)
    q, k = rotate(q, turned), rotate(k, turned)
    keys, values = k.transpose(0, 2, 3, 1), v.transpose(0, 2, 1, 3)
    if cached is not None:
      keys, values = write(cached[0], keys, slot, 3), write(cached[1], values, slot, 2)
    q = q.reshape(rows, time, c.key_value_heads, group, c.head_width).transpose(0, 2, 3, 1, 4)
    q = q * c.query_scale
    if prefixes:
      out = attend_with_prefixes(q, keys, values, allowed, prefixes)
    else:
      out = attend(q, keys, values, allowed)
    out = out.transpose(0, 3, 1, 2, 4).reshape(rows, time, -1)
    return _product(self, out, wo, "output", axes_q[::-1]), (keys, values)


class FeedForward(nn.Module):
  """Gated feed-forward layer (arXiv 2002.05202, eq. 6): (silu(x W_gate) * (x W_up)) W_down, or with another gate."""

  config: TransformerConfig

  @nn.compact
  def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    c, width = self.config, x.shape[-1]
    shape, axes = (width, c.feed_forward), ("width", "feed_forward")
    gate = _param(self, "gate", shape, axes, width**-0.5, c.dtype)
    up = _param(self, "up", shape, axes, width**-0.5, c.dtype)
    down = _param(self, "down", shape[::-1], axes[::-1], c.feed_forward**-0.5, c.dtype)
    inner = ACTIVATIONS[c.activation](_product(self, x, gate, "gate", axes)) * _product(self, x, up, "up", axes)
    return _product(self, inner, down, "down", axes[::-1])


class Block(nn.Module):
  """Residual block with a norm before each layer, and with `output_norms` one after it, too."""

  config: TransformerConfig

  @nn.compact
  def __call__(self, x, turned, allowed, cached, slot, prefixes: Sequence[Shared] = ()):
    c = self.config
    normed = RMSNorm(c, name="attention_norm")(x)
    mixed, cached = Attention(c, name="attention")(normed, turned, allowed, cached, slot, prefixes)
    if c.output_norms:
      mixed = RMSNorm(c, name="attention_output_norm")(mixed)
    x = x + mixed
    fed = FeedForward(c, name="feed_forward")(RMSNorm(c, name="feed_forward_norm")(x))
    if c.output_norms:
      fed = RMSNorm(c, name="feed_forward_output_norm")(fed)
    return x + fed, cached


def _block(config: TransformerConfig) -> Callable[..., tuple[Array, Any]]:
  """A block without a cache as a function of its parameters."""
  module = Block(config, parent=None)
  return lambda params, x, prefixes, turned, allowed: module.apply(
    {"params": params}, x, turned, allowed, None, 0, prefixes
  )


class _View(NamedTuple):
  """Positions and sight of the given tokens in the layers of a kind of attention."""

  turned: Rotation
  allowed: Bool[Array, "B T S"]
  """Slots that each token may see."""
  of_prefixes: list[Bool[Array, "M #T P"]]
  """Slots of each prefix that its rows, or their tokens, may see."""


def _positions_of_slots(
  c: TransformerConfig, positions: Int[Array, "B T"], cache: Cache | None, slot: Int[Array, ""] | int
) -> Int[Array, "B S"] | None:
  """Positions of the slots of a cache with the given tokens in it; None without windows."""
  if "window" not in c.attentions:
    return None
  if cache is None:
    return positions
  if cache.positions is None:
    raise ValueError("the cache has no positions: it was made by a model without windows")
  return write(cache.positions, positions, slot, 1)


def _views(
  c: TransformerConfig,
  positions: Int[Array, "B T"],
  allowed: Bool[Array, "B T S"],
  of_slots: Int[Array, "B S"] | None,
  prefixes: Sequence[Cache],
) -> Mapping[str, _View]:
  """Views by kind of attention.

  Args:
    allowed: slots that each token may see without a window.
    of_slots: positions of the slots; None without windows.
  """
  turned = {kind: rotation(positions, c.rope_frequencies(kind)) for kind in dict.fromkeys(c.attentions)}
  masks = [prefix.mask[:, None] for prefix in prefixes]
  views = {kind: _View(turned[kind], allowed, masks) for kind in turned}
  if of_slots is not None:
    near = lambda of_keys: within(c.window, positions, of_keys)
    rows_of = lambda mask: jnp.repeat(mask, len(positions) // len(mask), axis=0)
    of_prefixes = [rows_of(mask) & near(prefix.positions) for mask, prefix in zip(masks, prefixes, strict=True)]
    views["window"] = _View(turned["window"], allowed & near(of_slots), of_prefixes)
  return views


class Transformer(nn.Module):
  """Tokens to float32 outputs (logits or values) at every position, and the cache with the new tokens in it."""

  config: TransformerConfig

  @nn.compact
  def __call__(
    self,
    tokens: Int[Array, "B T"],
    positions: Int[Array, "B T"],
    mask: Bool[Array, "B T"],
    cache: Cache | None = None,
    slot: Int[Array, ""] | int = 0,
    last: bool = False,
    readout: bool = True,
    prefixes: Sequence[Cache] = (),
    segments: Int[Array, "B T"] | None = None,
  ) -> tuple[Float[Array, "B T O"], Cache]:
    """Run T tokens per row; with a cache they are written from column `slot` on, after all that it holds.

    Args:
      mask: False on padding, which no token attends to.
      cache: keys and values of the tokens before; None: there are none.
      slot: column of the cache for the first token, the same for all rows.
      last: True to return the outputs of the last column only, [B, 1, O].
      readout: True to multiply with the output matrix; else its inputs, the hidden states [B, T, D], are returned.
      prefixes: the tokens before those of the cache, in parts of N rows, each for B / N adjacent rows. A mask of B rows
        may restrict what each of the B rows sees.
      segments: texts that the tokens belong to, without a cache: a token sees its own. None: one text per row.
    """
    c = self.config
    time = tokens.shape[1]
    scale, across = c.width**-0.5, ("width", "vocabulary")
    # A tied matrix is read whole at every decoded token as the output layer, but only row by row as the embedding: in
    # bf16 on CPU the product with its transpose took 6 times as long.
    if c.tied_embeddings:
      embedding = _param(self, "embedding", (c.width, c.vocabulary), across, scale, c.dtype)
    else:
      embedding = _param(self, "embedding", (c.vocabulary, c.width), across[::-1], scale, c.dtype)
    if c.output_is_embedding:
      output = embedding
    else:
      output = _param(self, "output", (c.width, c.outputs), across, scale, c.dtype)
    attended = mask if cache is None else write(cache.mask, mask, slot, 1)
    layers = [None] * c.layers if cache is None else list(zip(cache.keys, cache.values, strict=True))
    causal = jnp.arange(attended.shape[1]) <= slot + jnp.arange(time)[:, None]
    positions_of_slots = _positions_of_slots(c, positions, cache, slot)

    if c.tied_embeddings:
      embedded = jnp.moveaxis(jnp.take(embedding, tokens, axis=1), 0, -1)
    else:
      embedded = jnp.take(embedding, tokens, axis=0)
    if c.scaled_embeddings:
      embedded = embedded * jnp.asarray(c.width**0.5, embedded.dtype)
    x = nn.with_logical_constraint(embedded, ("batch", "time", "activation"))
    allowed = attended[:, None, :] & causal
    if segments is not None:
      allowed &= segments[:, :, None] == segments[:, None]
    views = _views(c, positions, allowed, positions_of_slots, prefixes)
    again = c.remat == "block" and cache is None and not self.is_initializing()
    layer_caches = []
    for i, kind in enumerate(c.attentions):
      turned, allowed, masks = views[kind]
      shared = [Shared(prefix.keys[i], prefix.values[i], seen) for prefix, seen in zip(prefixes, masks, strict=True)]
      if again:
        x, kv = recomputed(_block(c))(self.variables["params"][f"layer_{i}"], x, shared, turned, allowed)
      else:
        x, kv = Block(c, name=f"layer_{i}")(x, turned, allowed, layers[i], slot, shared)
      x = nn.with_logical_constraint(x, ("batch", "time", "activation"))
      layer_caches.append(kv)
    x = RMSNorm(c, name="final_norm")(x[:, -1:] if last else x)
    keys, values = zip(*layer_caches, strict=True)
    outputs = jnp.matmul(x, output, preferred_element_type=jnp.float32) if readout else x
    return outputs, Cache(keys, values, attended, positions_of_slots)
