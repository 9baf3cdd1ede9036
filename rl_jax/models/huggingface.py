"""Models in the Hugging Face form: a folder with config.json and safetensors files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rl_jax.models.errors import ModelFileError, package
from rl_jax.models.loading import Index, Names, Source
from rl_jax.models.transformer import TransformerConfig

ARCHITECTURES: dict[str, dict[str, Any]] = {
  "LlamaForCausalLM": {},
  "Qwen2ForCausalLM": {"qkv_bias": True},
  "Qwen3ForCausalLM": {"qk_norm": True},
}
"""What an architecture switches on."""

NAMES = Names(
  whole={"embedding": "model.embed_tokens.weight", "output": "lm_head.weight", "final_norm/scale": "model.norm.weight"},
  layer={
    "attention_norm/scale": "input_layernorm.weight",
    "attention/query": "self_attn.q_proj.weight",
    "attention/query_bias": "self_attn.q_proj.bias",
    "attention/query_norm/scale": "self_attn.q_norm.weight",
    "attention/key": "self_attn.k_proj.weight",
    "attention/key_bias": "self_attn.k_proj.bias",
    "attention/key_norm/scale": "self_attn.k_norm.weight",
    "attention/value": "self_attn.v_proj.weight",
    "attention/value_bias": "self_attn.v_proj.bias",
    "attention/output": "self_attn.o_proj.weight",
    "feed_forward_norm/scale": "post_attention_layernorm.weight",
    "feed_forward/gate": "mlp.gate_proj.weight",
    "feed_forward/up": "mlp.up_proj.weight",
    "feed_forward/down": "mlp.down_proj.weight",
  },
  prefix="model.layers.{}.",
)

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"

_FLOATS = ("F64", "F32", "F16", "BF16")


def open_folder(folder: Path) -> Source:
  """The model in a folder; its weights are read when they are asked for.

  Raises: ModelFileError: a file is missing or broken, or the model is none of `ARCHITECTURES`.
  """
  values = read_json(folder / CONFIG)
  config = transformer_config(values, folder / CONFIG)
  # Old checkpoints also hold what is worked out from the config, and tied ones the embedding twice.
  ignored = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq" for i in range(config.layers)}
  return Source(
    path=folder,
    config=config,
    context=int(values.get("max_position_embeddings", 2048)),
    names=NAMES,
    tensors=SafetensorsFolder(folder),
    ignored=frozenset(ignored | ({"lm_head.weight"} if config.tied_embeddings else set())),
  )


def read_json(path: Path) -> dict[str, Any]:
  """The object in a JSON file.

  Raises: ModelFileError: there is no such file, or it holds something else.
  """
  try:
    values = json.loads(path.read_text(encoding="utf-8"))
  except OSError as error:
    raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error
  except ValueError as error:
    raise ModelFileError(f"{path} is no JSON: {error}") from error
  if not isinstance(values, dict):
    raise ModelFileError(f"{path} holds no JSON object but a {type(values).__name__}")
  return values


def transformer_config(values: Mapping[str, Any], path: Path) -> TransformerConfig:
  """Our config of a config.json.

  Args:
    path: of the file, for messages.

  Raises: ModelFileError: a field is missing, or asks for something that the transformer does not do.
  """
  names = values.get("architectures") or ["none"]
  if len(names) != 1 or names[0] not in ARCHITECTURES:
    raise ModelFileError(f"{path}: architecture {', '.join(names)}: known are {', '.join(ARCHITECTURES)}")
  refused = {
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "use_sliding_window": False,
    "quantization_config": None,
  }
  for field, only in refused.items():
    if values.get(field, only) != only:
      raise ModelFileError(f"{path}: {field}={values[field]!r}: only {only!r} can be run")

  def need(field: str) -> Any:
    if field not in values:
      raise ModelFileError(f"{path} has no field {field!r}")
    return values[field]

  heads, vocabulary = need("num_attention_heads"), need("vocab_size")
  try:
    return TransformerConfig(
      vocabulary=vocabulary,
      outputs=vocabulary,
      width=need("hidden_size"),
      layers=need("num_hidden_layers"),
      heads=heads,
      key_value_heads=values.get("num_key_value_heads") or heads,
      head_width=values.get("head_dim") or need("hidden_size") // heads,
      feed_forward=need("intermediate_size"),
      norm_epsilon=need("rms_norm_eps"),
      tied_embeddings=values.get("tie_word_embeddings", False),
      **_rope(values, path),
      **ARCHITECTURES[names[0]],
    )
  except ModelFileError:
    raise
  except (TypeError, ValueError, ZeroDivisionError) as error:
    raise ModelFileError(f"{path}: {error}") from error


def _rope(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
  """Fields of rotary positions: `rope_parameters` since transformers 5, `rope_theta` and `rope_scaling` before."""
  scaling = values.get("rope_parameters") or values.get("rope_scaling") or {}
  fields = {"rope_base": float(scaling.get("rope_theta", values.get("rope_theta", 10_000.0)))}
  kind = scaling.get("rope_type", scaling.get("type", "default"))
  if kind == "default":
    return fields
  if kind != "llama3":
    raise ModelFileError(f"{path}: rope scaling {kind!r}: known are 'default' and 'llama3'")
  try:
    return fields | {
      "rope_scaling": "llama3",
      "rope_factor": float(scaling["factor"]),
      "rope_low_frequency": float(scaling["low_freq_factor"]),
      "rope_high_frequency": float(scaling["high_freq_factor"]),
      "rope_context": scaling["original_max_position_embeddings"],
    }
  except KeyError as error:
    raise ModelFileError(f"{path}: rope scaling 'llama3' has no field {error}") from error


class SafetensorsFolder:
  """The tensors of model.safetensors, or of the shards that model.safetensors.index.json names.

  Raises: ModelFileError: a file is missing or broken, or a tensor is no floating point number.
  """

  def __init__(self, folder: Path):
    self._open = package("safetensors").safe_open
    if (folder / INDEX).is_file():
      shards = read_json(folder / INDEX).get("weight_map")
      if not isinstance(shards, dict):
        raise ModelFileError(f"{folder / INDEX} has no field 'weight_map'")
      files = {name: self._file(folder / name) for name in sorted(set(shards.values()))}
      self._files = {tensor: files[name] for tensor, name in shards.items()}
      for tensor, file in self._files.items():
        if tensor not in file.keys():  # noqa: SIM118 - not a mapping
          raise ModelFileError(f"{folder / shards[tensor]} has no tensor {tensor!r}, which {INDEX} puts there")
    elif (folder / WEIGHTS).is_file():
      file = self._file(folder / WEIGHTS)
      self._files = {tensor: file for tensor in file.keys()}  # noqa: SIM118
    else:
      raise ModelFileError(f"no weights: neither {INDEX} nor {WEIGHTS} is in {folder}")
    self._shapes = {tensor: self._shape(folder, tensor) for tensor in self._files}

  def _file(self, path: Path) -> Any:
    try:
      return self._open(path, "numpy")
    except OSError as error:
      raise ModelFileError(f"cannot read {path}: {error}") from error
    except package("safetensors").SafetensorError as error:
      raise ModelFileError(f"{path} is damaged or no safetensors file: {error}") from error

  def _shape(self, folder: Path, tensor: str) -> tuple[int, ...]:
    lazy = self._files[tensor].get_slice(tensor)
    if lazy.get_dtype() not in _FLOATS:
      raise ModelFileError(f"{folder}: tensor {tensor!r} is of type {lazy.get_dtype()}: known are {', '.join(_FLOATS)}")
    return tuple(lazy.get_shape())

  @property
  def shapes(self) -> Mapping[str, tuple[int, ...]]:
    """Of all tensors, by name."""
    return self._shapes

  def read(self, tensor: str, index: Index) -> np.ndarray:
    """A part of a tensor; the file is mapped into memory, and nothing else of it is touched."""
    return self._files[tensor].get_slice(tensor)[index]
