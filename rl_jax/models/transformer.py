"""Decoder-only transformer: RMSNorm, rotary positions, grouped-query attention, SwiGLU (Llama 3, arXiv 2407.21783).

Its switches also make SmolLM2 (arXiv 2502.02737; tied embeddings), Qwen2.5 (2412.15115; biases of query, key and value)
and Qwen3 (2505.09388; normalised queries and keys).

One call serves training (whole sequences), prefill (whole prompts into a cache) and decoding (one token per row).
Every parameter carries logical axis names; `rl_jax.training.mesh` maps them to a device mesh.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rl_jax.models.attention import Shared, attend, attend_with_prefixes
from rl_jax.models.cache import Cache, write
from rl_jax.models.dense import dense
from rl_jax.models.lora import TARGETS, A, B, adapted
from rl_jax.models.remat import recomputed
from rl_jax.models.rope import SCALINGS, frequencies, rotate, rotation

DTYPES = ("float32", "bfloat16", "float16", "float64")
"""Types of activations and parameters; float64 only if enabled in JAX."""

REMAT = ("none", "block")
"""Recomputation in the backward pass: none, or each block from its input."""


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
  """Sizes and types of a transformer.

  Attributes:
    outputs: width of the output layer: the vocabulary of a language model, 1 for a value head.
    dtype: type of activations and matrix products; norms, softmax and outputs are float32.
    param_dtype: type in which parameters are kept.
    tied_embeddings: logits are products with the embedding, which is then stored as [width, vocabulary] like the output
      layer; an output layer of another width (a value head) is separate.
    qkv_bias: queries, keys and values have a bias.
    qk_norm: queries and keys are normalised per head before rotation.
    rope_scaling: "none" or "llama3", which the next four belong to: see `rope.frequencies`.
    remat: "block" stores only the input of each block for the gradient and recomputes the rest: less memory, one more
      forward pass; see `remat.recomputed`.
    lora_rank: rank of the adapters, which are then the only trained parameters of a language model; 0: no adapters.
    lora_alpha: the product of an adapter is scaled by lora_alpha / lora_rank; see `lora.adapted`.
    lora_targets: names of the matrices that have an adapter, in every layer.
  """

  vocabulary: int
  outputs: int
  width: int = 128
  layers: int = 4
  heads: int = 4
  key_value_heads: int = 4
  head_width: int = 32
  feed_forward: int = 512
  rope_base: float = 10_000.0
  norm_epsilon: float = 1e-6
  dtype: str = "float32"
  param_dtype: str = "float32"
  tied_embeddings: bool = False
  qkv_bias: bool = False
  qk_norm: bool = False
  rope_scaling: str = "none"
  rope_factor: float = 8.0
  rope_low_frequency: float = 1.0
  rope_high_frequency: float = 4.0
  rope_context: int = 8192
  remat: str = "none"
  lora_rank: int = 0
  lora_alpha: float = 32.0
  lora_targets: tuple[str, ...] = TARGETS

  def __post_init__(self):
    sizes = ("vocabulary", "outputs", "width", "layers", "heads", "key_value_heads", "head_width", "feed_forward")
    for name in sizes:
      if not 1 <= getattr(self, name) < 2**31:
        raise ValueError(f"model.{name}={getattr(self, name)}: sizes are at least 1, and int32")
    choices = {"dtype": DTYPES, "param_dtype": DTYPES, "rope_scaling": SCALINGS, "remat": REMAT}
    for name, allowed in choices.items():
      if getattr(self, name) not in allowed:
        raise ValueError(f"model.{name} is one of {', '.join(allowed)}, got {getattr(self, name)!r}")
    if not (self.rope_base > 0 and self.norm_epsilon > 0):
      raise ValueError(
        f"model.rope_base and model.norm_epsilon are above 0, got {self.rope_base} and {self.norm_epsilon}"
      )
    if not (self.rope_factor > 0 and self.rope_context > 0 and self.rope_high_frequency > self.rope_low_frequency):
      raise ValueError(
        "model.rope_factor and model.rope_context are above 0 and model.rope_high_frequency above "
        f"model.rope_low_frequency, got {self.rope_factor}, {self.rope_context}, {self.rope_high_frequency}, "
        f"{self.rope_low_frequency}"
      )
    if self.heads % self.key_value_heads:
      raise ValueError(
        f"model.heads={self.heads} is not a multiple of model.key_value_heads={self.key_value_heads}: "
        "each key-value head serves the same number of query heads"
      )
    if self.head_width % 2:
      raise ValueError(f"model.head_width={self.head_width} is odd: rotary positions turn pairs of channels")
    if self.lora_rank < 0 or not self.lora_alpha > 0:
      raise ValueError(
        "model.lora_rank is at least 0 (0: no adapters) and model.lora_alpha above 0, got "
        f"{self.lora_rank} and {self.lora_alpha}"
      )
    for name in self.lora_targets:
      if name not in TARGETS:
        raise ValueError(f"model.lora_targets are names out of {', '.join(TARGETS)}, got {name!r}")
    if self.lora_rank and not self.lora_targets:
      raise ValueError(f"model.lora_rank={self.lora_rank} but model.lora_targets is empty: name a matrix, or rank 0")

  @property
  def output_is_embedding(self) -> bool:
    """True if the output layer is the embedding instead of a parameter of its own."""
    return self.tied_embeddings and self.outputs == self.vocabulary

  @property
  def lora_scale(self) -> float:
    """Factor of the adapters' product; 0 without adapters."""
    return self.lora_alpha / self.lora_rank if self.lora_rank else 0.0

  def rope_frequencies(self) -> Float[Array, " half"]:
    """Radians per position of each pair of channels of a head."""
    return frequencies(
      self.head_width,
      self.rope_base,
      scaling=self.rope_scaling,
      factor=self.rope_factor,
      low_frequency=self.rope_low_frequency,
      high_frequency=self.rope_high_frequency,
      context=self.rope_context,
    )


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
  """x / sqrt(mean(x^2) + epsilon) * scale, in float32 (arXiv 1910.07467, eq. 4)."""

  config: TransformerConfig

  @nn.compact
  def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
    scale: Any = self.param(
      "scale",
      nn.with_logical_partitioning(nn.initializers.ones_init(), ("norm",)),
      (x.shape[-1],),
      jnp.dtype(self.config.param_dtype),
    )
    wide = x.astype(jnp.float32)
    wide = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + self.config.norm_epsilon)
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
    q = q * c.head_width**-0.5
    if prefixes:
      out = attend_with_prefixes(q, keys, values, allowed, prefixes)
    else:
      out = attend(q, keys, values, allowed)
    out = out.transpose(0, 3, 1, 2, 4).reshape(rows, time, -1)
    return _product(self, out, wo, "output", axes_q[::-1]), (keys, values)


class FeedForward(nn.Module):
  """SwiGLU (arXiv 2002.05202, eq. 6): (silu(x W_gate) * (x W_up)) W_down."""

  config: TransformerConfig

  @nn.compact
  def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    c, width = self.config, x.shape[-1]
    shape, axes = (width, c.feed_forward), ("width", "feed_forward")
    gate = _param(self, "gate", shape, axes, width**-0.5, c.dtype)
    up = _param(self, "up", shape, axes, width**-0.5, c.dtype)
    down = _param(self, "down", shape[::-1], axes[::-1], c.feed_forward**-0.5, c.dtype)
    inner = nn.silu(_product(self, x, gate, "gate", axes)) * _product(self, x, up, "up", axes)
    return _product(self, inner, down, "down", axes[::-1])


class Block(nn.Module):
  """Pre-norm residual block."""

  config: TransformerConfig

  @nn.compact
  def __call__(self, x, turned, allowed, cached, slot, prefixes: Sequence[Shared] = ()):
    mixed, cached = Attention(self.config, name="attention")(
      RMSNorm(self.config, name="attention_norm")(x), turned, allowed, cached, slot, prefixes
    )
    x = x + mixed
    return x + FeedForward(self.config, name="feed_forward")(RMSNorm(self.config, name="feed_forward_norm")(x)), cached


def _block(config: TransformerConfig) -> Callable[..., tuple[Array, Any]]:
  """A block without a cache as a function of its parameters."""
  module = Block(config, parent=None)
  return lambda params, x, prefixes, turned, allowed: module.apply(
    {"params": params}, x, turned, allowed, None, 0, prefixes
  )


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
    allowed = attended[:, None, :] & causal

    if c.tied_embeddings:
      embedded = jnp.moveaxis(jnp.take(embedding, tokens, axis=1), 0, -1)
    else:
      embedded = jnp.take(embedding, tokens, axis=0)
    x = nn.with_logical_constraint(embedded, ("batch", "time", "activation"))
    turned = rotation(positions, c.rope_frequencies())
    again = c.remat == "block" and cache is None and not self.is_initializing()
    layer_caches = []
    for i in range(c.layers):
      shared = [Shared(prefix.keys[i], prefix.values[i], prefix.mask) for prefix in prefixes]
      if again:
        x, kv = recomputed(_block(c))(self.variables["params"][f"layer_{i}"], x, shared, turned, allowed)
      else:
        x, kv = Block(c, name=f"layer_{i}")(x, turned, allowed, layers[i], slot, shared)
      x = nn.with_logical_constraint(x, ("batch", "time", "activation"))
      layer_caches.append(kv)
    x = RMSNorm(c, name="final_norm")(x[:, -1:] if last else x)
    keys, values = zip(*layer_caches, strict=True)
    outputs = jnp.matmul(x, output, preferred_element_type=jnp.float32) if readout else x
    return outputs, Cache(keys, values, attended)
