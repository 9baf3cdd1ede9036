"""Models in the GGUF form: one file with metadata and tensors, most of them quantised in blocks along the inputs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rl_jax.models.errors import ModelFileError, package
from rl_jax.models.loading import Index, Names, Source
from rl_jax.models.transformer import TransformerConfig

ARCHITECTURES: dict[str, dict[str, Any]] = {"llama": {}, "qwen2": {"qkv_bias": True}, "qwen3": {"qk_norm": True}}
"""What an architecture switches on."""

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
  """The model in a file; its weights are read and dequantised when they are asked for.

  Raises: ModelFileError: the file is missing or broken, or the model is none of `ARCHITECTURES`.
  """
  values = metadata(path)
  name = values.get("general.architecture", "none")
  if name not in ARCHITECTURES:
    raise ModelFileError(f"{path}: architecture {name!r}: known are {', '.join(ARCHITECTURES)}")
  scaling = values.get(f"{name}.rope.scaling.type", "none")
  if scaling != "none":
    raise ModelFileError(f"{path}: {name}.rope.scaling.type={scaling!r}: only 'none' can be run")
  tensors = GGUFTensors(path)
  try:
    config = _config(values, tensors, path)
    context = int(values[f"{name}.context_length"])
  except KeyError as error:
    raise ModelFileError(f"{path} has no {error}") from error
  except ModelFileError:
    raise
  except (TypeError, ValueError, ZeroDivisionError) as error:
    raise ModelFileError(f"{path}: {error}") from error
  if name == "llama":
    tensors = GGUFTensors(path, interleaved=config.head_width)
  return Source(path, config, context, NAMES, tensors, ignored=frozenset({_ROPE_FACTORS}))


def metadata(path: Path) -> dict[str, Any]:
  """All key-value pairs of a file.

  Raises: ModelFileError: there is no such file, or it is no GGUF.
  """
  return {key: field.contents() for key, field in _reader(path).fields.items()}


def _reader(path: Path) -> Any:
  try:
    changed = path.stat().st_mtime_ns
  except OSError as error:
    raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error
  return _read(path, changed)


@functools.lru_cache(maxsize=1)
def _read(path: Path, changed: int) -> Any:
  """The package's reader, which takes seconds to list a vocabulary; `changed` tells versions of a file apart."""
  reader = package("gguf").GGUFReader
  try:
    return reader(path)
  except (ValueError, LookupError, OverflowError) as error:
    raise ModelFileError(f"{path} is damaged or no GGUF file: {error}") from error


def _config(values: Mapping[str, Any], tensors: GGUFTensors, path: Path) -> TransformerConfig:
  name = values["general.architecture"]
  field = lambda key: values[f"{name}.{key}"]
  heads, width = field("attention.head_count"), field("embedding_length")
  vocabulary = tensors.shapes[NAMES.whole["embedding"]][0]
  config = TransformerConfig(
    vocabulary=vocabulary,
    outputs=vocabulary,
    width=width,
    layers=field("block_count"),
    heads=heads,
    key_value_heads=values.get(f"{name}.attention.head_count_kv", heads),
    head_width=values.get(f"{name}.attention.key_length", width // heads),
    feed_forward=field("feed_forward_length"),
    norm_epsilon=field("attention.layer_norm_rms_epsilon"),
    rope_base=values.get(f"{name}.rope.freq_base", 10_000.0),
    tied_embeddings=NAMES.whole["output"] not in tensors.shapes,
    **ARCHITECTURES[name],
  )
  return _with_rope_scaling(config, tensors, path) if _ROPE_FACTORS in tensors.shapes else config


def _with_rope_scaling(config: TransformerConfig, tensors: GGUFTensors, path: Path) -> TransformerConfig:
  """The scaling behind the factors by which frequencies are divided: the format keeps only these.

  Every Llama 3 divides its slowest pair by the whole factor and has the default limits.
  """
  factors = tensors.read(_ROPE_FACTORS, (slice(0, tensors.shapes[_ROPE_FACTORS][0]),))
  scaled = dataclasses.replace(config, rope_scaling="llama3", rope_factor=float(factors.max()))
  plain = np.asarray(config.rope_frequencies())
  if factors.shape != plain.shape or not np.allclose(plain / factors, scaled.rope_frequencies(), rtol=1e-4):
    raise ModelFileError(f"{path}: {_ROPE_FACTORS} is not the scaling of a Llama 3: only that can be run")
  return scaled


class GGUFTensors:
  """The tensors of a file, dequantised.

  Args:
    interleaved: head width, where the file keeps the channels of a query and key head in the order 0, half, 1,
      half + 1, …, which is how the format wants "llama"; 0: in ours.
  """

  def __init__(self, path: Path, interleaved: int = 0):
    self._path, self._interleaved = path, interleaved
    self._tensors = {tensor.name: tensor for tensor in _reader(path).tensors}
    self._shapes = {name: tuple(int(n) for n in reversed(tensor.shape)) for name, tensor in self._tensors.items()}
    self._dequantize = package("gguf.quants").dequantize

  @property
  def shapes(self) -> Mapping[str, tuple[int, ...]]:
    """Of all tensors, by name, [outputs, inputs]."""
    return self._shapes

  def read(self, tensor: str, index: Index) -> np.ndarray:
    """A part of a tensor, float32. Only its rows are dequantised, but these whole, as blocks lie along them."""
    rows: Any = index[0]
    if self._interleaved and tensor.endswith((".attn_q.weight", ".attn_k.weight")):
      head, channel = np.divmod(np.arange(rows.start, rows.stop), self._interleaved)
      second, pair = np.divmod(channel, self._interleaved // 2)
      rows = head * self._interleaved + 2 * pair + second
    found = self._tensors[tensor]
    try:
      values = self._dequantize(found.data[rows], found.tensor_type)
    except RuntimeError as error:
      raise ModelFileError(f"{self._path}: tensor {tensor!r}: {error}") from error
    return values[(slice(None), *index[1:])]
