"""Models in GGUF format: one file with metadata and tensors, mostly quantised in blocks along the inputs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rl_jax.models import gguf_file
from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.errors import ModelFileError, package, reason, shown
from rl_jax.models.fields import Fields
from rl_jax.models.loading import MOST_LAYERS, Index, Names, Source, config_of

ARCHITECTURES: dict[str, dict[str, Any]] = {"llama": {}, "qwen2": {"qkv_bias": True}, "qwen3": {"qk_norm": True}}
"""Options that an architecture switches on."""

NAMES = Names(
  whole={"embedding": "token_embd.weight", "output": "output.weight", "final_norm/scale": "output_norm.weight"},
  layer={
    "attention_norm/scale": "attn_norm.weight",
    "attention/query": "attn_q.weight",
    "attention/query_bias": "attn_q.bias",
    "attention/query_norm/scale": "attn_q_norm.weight",
    "attention/key": "attn_k.weight",
    "attention/key_bias": "attn_k.bias",
    "attention/key_norm/scale": "attn_k_norm.weight",
    "attention/value": "attn_v.weight",
    "attention/value_bias": "attn_v.bias",
    "attention/output": "attn_output.weight",
    "feed_forward_norm/scale": "ffn_norm.weight",
    "feed_forward/gate": "ffn_gate.weight",
    "feed_forward/up": "ffn_up.weight",
    "feed_forward/down": "ffn_down.weight",
  },
  prefix="blk.{}.",
)

_ROPE_FACTORS = "rope_freqs.weight"


def open_file(path: Path) -> Source:
  """Model in a file, whose weights are read and dequantised on demand.

  Raises: ModelFileError: the file is missing or broken, or the model is none of `ARCHITECTURES`.
  """
  fields = Fields(metadata(path), path, noun="")
  name = fields.text("general.architecture", "none")
  if name not in ARCHITECTURES:
    raise ModelFileError(f"{path}: architecture {shown(name)}: known are {', '.join(ARCHITECTURES)}")
  tensors = GGUFTensors(path)
  config = _config(fields, name, tensors, path)
  _refuse_other_attention(fields, name, config, path)
  context = fields.whole(f"{name}.context_length", high=2**31 - 1)
  if name == "llama":
    tensors = GGUFTensors(path, interleaved=config.head_width)
  return Source(path, config, context, NAMES, tensors, ignored=frozenset({_ROPE_FACTORS}))


def metadata(path: Path) -> dict[str, Any]:
  """All key-value pairs of a file.

  Raises: ModelFileError: there is no such file, or it is no GGUF.
  """
  return gguf_file.read(path).fields


def _config(fields: Fields, name: str, tensors: GGUFTensors, path: Path) -> TransformerConfig:
  size = lambda key, field, *default, **bound: fields.whole(f"{name}.{key}", *default, means=f"model.{field}", **bound)
  heads, width = size("attention.head_count", "heads"), size("embedding_length", "width")
  embedding = tensors.shapes.get(NAMES.whole["embedding"])
  if not embedding:
    raise ModelFileError(f"{path} has no tensor {NAMES.whole['embedding']!r}")
  sizes = {
    "vocabulary": embedding[0],
    "outputs": embedding[0],
    "width": width,
    "layers": size("block_count", "layers", high=MOST_LAYERS),
    "heads": heads,
    "key_value_heads": size("attention.head_count_kv", "key_value_heads", heads),
    "head_width": size("attention.key_length", "head_width", width // heads),
    "feed_forward": size("feed_forward_length", "feed_forward"),
    "norm_epsilon": fields.number(f"{name}.attention.layer_norm_rms_epsilon", high=1.0),
    "rope_base": fields.number(f"{name}.rope.freq_base", 10_000.0),
    "tied_embeddings": NAMES.whole["output"] not in tensors.shapes,
  }
  config = config_of(sizes | ARCHITECTURES[name], path)
  return _with_rope_scaling(config, tensors, path) if _ROPE_FACTORS in tensors.shapes else config


def _refuse_other_attention(fields: Fields, name: str, config: TransformerConfig, path: Path) -> None:
  """Raises: ModelFileError: positions or scores are scaled. As in llama.cpp, a factor without a type is linear."""
  type_, factor = f"{name}.rope.scaling.type", f"{name}.rope.scaling.factor"
  kind = fields.text(type_, "linear")
  if kind not in ("none", "linear"):
    raise ModelFileError(f"{path}: {type_}={shown(kind)}: only 'none' can be run")
  older = fields.number(f"{name}.rope.scale_linear", 1.0)
  if kind == "linear" and fields.number(factor, older) != 1.0:
    raise ModelFileError(f"{path}: {type_}='linear' with {factor}={fields.number(factor, older):g}: only 1 can be run")
  width = config.head_width
  for field, only in (("rope.dimension_count", width), ("attention.value_length", width)):
    if fields.whole(f"{name}.{field}", only) != only:
      raise fields.refused(f"{name}.{field}", f"the width of a head, {only}: others cannot be run")
  if not math.isclose(fields.number(f"{name}.attention.scale", width**-0.5), width**-0.5, rel_tol=1e-5):
    raise fields.refused(f"{name}.attention.scale", f"{width**-0.5:g}, the root of 1 / {width}: others cannot be run")
  if not fields.flag(f"{name}.attention.causal", True):
    raise fields.refused(f"{name}.attention.causal", "true: others cannot be run")


def _with_rope_scaling(config: TransformerConfig, tensors: GGUFTensors, path: Path) -> TransformerConfig:
  """Rotary scaling, inferred from the factors that divide frequencies, as the format stores only these.

  Every Llama 3 divides its slowest pair by the full factor and has the default limits.
  """
  half = config.head_width // 2
  if tensors.shapes[_ROPE_FACTORS] != (half,):
    raise ModelFileError(f"{path}: {_ROPE_FACTORS} has shape {tensors.shapes[_ROPE_FACTORS]}, want ({half},)")
  factors = tensors.read(_ROPE_FACTORS, (slice(0, half),))
  refused = ModelFileError(f"{path}: {_ROPE_FACTORS} is not the scaling of a Llama 3: only that can be run")
  if not (np.isfinite(factors).all() and factors.min() > 0):
    raise refused
  scaled = dataclasses.replace(config, rope_scaling="llama3", rope_factor=float(factors.max()))
  if not np.allclose(np.asarray(config.rope_frequencies()) / factors, scaled.rope_frequencies(), rtol=1e-4):
    raise refused
  return scaled


class GGUFTensors:
  """The tensors of a file, dequantised.

  Args:
    interleaved: head width if the file stores the channels of query and key heads in the order 0, half, 1,
      half + 1, …, as the format does for "llama"; 0 if it uses our order.
  """

  def __init__(self, path: Path, interleaved: int = 0):
    self._path, self._interleaved = path, interleaved
    self._file = gguf_file.read(path)
    self._shapes = {name: tensor.shape for name, tensor in self._file.tensors.items()}
    self._dequantize = package("gguf.quants").dequantize

  @property
  def shapes(self) -> Mapping[str, tuple[int, ...]]:
    """Shapes of all tensors by name, [outputs, inputs]."""
    return self._shapes

  def read(self, tensor: str, index: Index) -> np.ndarray:
    """Part of a tensor, in float32. Only its rows are dequantised, each as a whole, since blocks run along rows."""
    rows: Any = index[0] if len(index) > 1 else slice(None)
    if self._interleaved and tensor.endswith((".attn_q.weight", ".attn_k.weight")):
      head, channel = np.divmod(np.arange(rows.start, rows.stop), self._interleaved)
      second, pair = np.divmod(channel, self._interleaved // 2)
      rows = head * self._interleaved + 2 * pair + second
    try:
      values = self._dequantize(self._file.rows(tensor)[rows], self._file.tensors[tensor].kind)
    except RuntimeError as error:
      raise ModelFileError(f"{self._path}: tensor {shown(tensor)}: {reason(error)}") from error
    return values[(slice(None), *index[1:])] if len(index) > 1 else values[0][index]
