"""Sizes, switches and types of a transformer."""

from __future__ import annotations

import dataclasses

import flax.linen as nn
from jaxtyping import Array, Float

from rl_jax.models.lora import TARGETS
from rl_jax.models.rope import SCALINGS, frequencies

DTYPES = ("float32", "bfloat16", "float16", "float64")
"""Types of activations and parameters; float64 only if enabled in JAX."""

REMAT = ("none", "block")
"""Recomputation in the backward pass: none, or each block from its input."""

ATTENTIONS = ("full", "window")
"""Kinds of attention: to all tokens before, or to the latest ones."""

ACTIVATIONS = {"silu": nn.silu, "gelu_tanh": nn.gelu}
"""Functions of the gate of a feed-forward layer; Flax's GELU is the tanh approximation."""


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
    query_scalar: scores are divided by its root; 0: the width of a head.
    attention_pattern: kinds of attention of the layers in turn, out of `ATTENTIONS`, begun anew after the last.
    window: tokens that a query of a "window" layer sees, itself included; 0 without such layers.
    window_rope_base: base of the rotary positions of "window" layers, which have no scaling.
    activation: of the gate, one of `ACTIVATIONS`.
    output_norms: the outputs of attention and feed-forward layer are normalised, too, before they are added.
    offset_norms: norms multiply by 1 + scale, and scales start at 0.
    scaled_embeddings: embeddings of tokens are multiplied by the root of the width, in the type of activations.
    rope_scaling: one of `rope.SCALINGS`; it has `rope_factor`, and "llama3" the next three: see `rope.frequencies`.
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
  query_scalar: int = 0
  attention_pattern: tuple[str, ...] = ("full",)
  window: int = 0
  window_rope_base: float = 10_000.0
  activation: str = "silu"
  output_norms: bool = False
  offset_norms: bool = False
  scaled_embeddings: bool = False
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
    for name, allowed in (choices | {"activation": tuple(ACTIVATIONS)}).items():
      if getattr(self, name) not in allowed:
        raise ValueError(f"model.{name} is one of {', '.join(allowed)}, got {getattr(self, name)!r}")
    if not (self.rope_base > 0 and self.norm_epsilon > 0):
      raise ValueError(
        f"model.rope_base and model.norm_epsilon are above 0, got {self.rope_base} and {self.norm_epsilon}"
      )
    self._check_attention()
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

  def _check_attention(self) -> None:
    if not (self.window_rope_base > 0 and self.query_scalar >= 0):
      raise ValueError(
        "model.window_rope_base is above 0 and model.query_scalar at least 0, got "
        f"{self.window_rope_base} and {self.query_scalar}"
      )
    if not self.attention_pattern or not set(self.attention_pattern) <= set(ATTENTIONS):
      raise ValueError(
        f"model.attention_pattern names one or more of {', '.join(ATTENTIONS)}, got {list(self.attention_pattern)}"
      )
    if ("window" in self.attention_pattern) != (self.window > 0):
      raise ValueError(
        f"model.window={self.window} with model.attention_pattern={list(self.attention_pattern)}: "
        "a window of at least 1 goes with layers of kind 'window', and 0 with none"
      )

  @property
  def attentions(self) -> tuple[str, ...]:
    """Kind of attention of each layer."""
    return tuple(self.attention_pattern[i % len(self.attention_pattern)] for i in range(self.layers))

  @property
  def query_scale(self) -> float:
    """Factor of queries."""
    return (self.query_scalar or self.head_width) ** -0.5

  @property
  def output_is_embedding(self) -> bool:
    """True if the output layer is the embedding instead of a parameter of its own."""
    return self.tied_embeddings and self.outputs == self.vocabulary

  @property
  def lora_scale(self) -> float:
    """Factor of the adapters' product; 0 without adapters."""
    return self.lora_alpha / self.lora_rank if self.lora_rank else 0.0

  def rope_frequencies(self, attention: str = "full") -> Float[Array, " half"]:
    """Radians per position of each pair of channels of a head, in layers of a kind of attention."""
    if attention == "window":
      return frequencies(self.head_width, self.window_rope_base)
    return frequencies(
      self.head_width,
      self.rope_base,
      scaling=self.rope_scaling,
      factor=self.rope_factor,
      low_frequency=self.rope_low_frequency,
      high_frequency=self.rope_high_frequency,
      context=self.rope_context,
    )
