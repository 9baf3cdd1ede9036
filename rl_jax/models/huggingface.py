"""Models in Hugging Face format: a folder with config.json and safetensors files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from rl_jax.models import hub_architectures
from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.errors import ModelFileError, package, reason, shown
from rl_jax.models.fields import Fields
from rl_jax.models.hub_architectures import ARCHITECTURES, Architecture
from rl_jax.models.loading import MOST_LAYERS, Index, Source, config_of

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"

FULL, WINDOW = "full_attention", "sliding_attention"
_KINDS = {FULL: "full", WINDOW: "window"}
"""Our kinds of attention by those of config.json."""

_FLOATS = ("F64", "F32", "F16", "BF16")
_LONGEST_NAME = 255
"""Letters of the name of a file."""


def open_folder(folder: Path) -> Source:
  """Model in a folder, whose weights are read on demand; of a model of text and images the one of text.

  Raises: ModelFileError: a file is missing or broken, or the model is none of `ARCHITECTURES`.
  """
  path = folder / CONFIG
  values = read_json(path)
  config, architecture = transformer_config(values, path), _architecture(values, path)
  tensors = SafetensorsFolder(folder)
  # Old checkpoints also store values derived from the config; tied ones store the embedding twice.
  ignored = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq" for i in range(config.layers)}
  tied = {f"{architecture.prefix}lm_head.weight", "lm_head.weight"} if config.tied_embeddings else set()
  left_out = frozenset(name for name in tensors.shapes if name.startswith(architecture.left_out))
  return Source(
    path=folder,
    config=config,
    context=_text_fields(values, architecture, path).whole("max_position_embeddings", 2048, high=2**31 - 1),
    names=hub_architectures.names(config, architecture.prefix),
    tensors=tensors,
    ignored=frozenset(ignored | tied | left_out),
    left_out=", ".join(part.rstrip(".") for part in architecture.left_out) if left_out else "",
  )


def read_json(path: Path) -> dict[str, Any]:
  """The object in a JSON file.

  Raises: ModelFileError: there is no such file, or it holds something else.
  """
  if path.exists() and not path.is_file():  # reading a pipe would block
    raise ModelFileError(f"{path} is no file")
  try:
    values = json.loads(path.read_text(encoding="utf-8"))
  except OSError as error:
    raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error
  except (ValueError, RecursionError) as error:
    raise ModelFileError(f"{path} is no JSON: {reason(error)}") from error
  if not isinstance(values, dict):
    raise ModelFileError(f"{path} holds no JSON object but a {type(values).__name__}")
  return values


def transformer_config(values: Mapping[str, Any], path: Path) -> TransformerConfig:
  """Our config of a config.json.

  Args:
    path: of the file, for messages.

  Raises: ModelFileError: a field is missing, or asks for something that the transformer does not do.
  """
  architecture = _architecture(values, path)
  fields = _text_fields(values, architecture, path)
  refused = {
    architecture.activation[0]: architecture.activation[1],
    "attention_bias": False,
    "quantization_config": None,
    **architecture.only,
  }
  for field, only in refused.items():
    found = fields.raw(field, values.get(field, only))
    if found != only:
      raise ModelFileError(f"{path}: {field}={shown(found)}: only {only!r} can be run")
  heads = fields.whole("num_attention_heads", means="model.heads")
  vocabulary = fields.whole("vocab_size", means="model.vocabulary")
  width = fields.whole("hidden_size", means="model.width")
  sizes = {
    "vocabulary": vocabulary,
    "outputs": vocabulary,
    "width": width,
    "layers": fields.whole("num_hidden_layers", high=MOST_LAYERS, means="model.layers"),
    "heads": heads,
    "key_value_heads": fields.whole("num_key_value_heads", heads, means="model.key_value_heads"),
    "head_width": fields.whole("head_dim", width // heads, means="model.head_width"),
    "feed_forward": fields.whole("intermediate_size", means="model.feed_forward"),
    "norm_epsilon": fields.number("rms_norm_eps", high=1.0),
    "tied_embeddings": fields.flag("tie_word_embeddings", False),
  }
  layers = sizes["layers"]
  of_layers = _windows(fields, layers, path) if architecture.windows else _without_windows(fields, path)
  return config_of(sizes | of_layers | dict(architecture.switches), path)


def _architecture(values: Mapping[str, Any], path: Path) -> Architecture:
  names = Fields(values, path).texts("architectures", ()) or ["none"]
  if len(names) != 1 or names[0] not in ARCHITECTURES:
    raise ModelFileError(f"{path}: architecture {', '.join(names)}: known are {', '.join(ARCHITECTURES)}")
  return ARCHITECTURES[names[0]]


def _text_fields(values: Mapping[str, Any], architecture: Architecture, path: Path) -> Fields:
  """Fields of the text model, with the architecture's defaults."""
  section = Fields(values, path).section(architecture.text) if architecture.text else values
  own = {name: value for name, value in section.items() if value is not None}
  return Fields(dict(architecture.defaults) | own, f"{path}: {architecture.text}" if architecture.text else path)


def _without_windows(fields: Fields, path: Path) -> dict[str, Any]:
  unsupported = set(fields.texts("layer_types", ())) - {"full_attention"}
  if unsupported:
    raise ModelFileError(f"{path}: layer_types has {shown(min(unsupported))}: only 'full_attention' can be run")
  return _rope(fields, path)


def _windows(fields: Fields, layers: int, path: Path) -> dict[str, Any]:
  """Fields of attention where layers are full or have windows, each kind with its own rotary positions."""
  every = fields.whole("sliding_window_pattern")
  types = fields.texts("layer_types", None)
  types = types or [WINDOW if (i + 1) % every else FULL for i in range(layers)]
  unknown = set(types) - _KINDS.keys()
  if unknown or len(types) != layers:
    raise fields.refused("layer_types", f"{layers} of {FULL!r} and {WINDOW!r}, one for each layer")
  kinds = tuple(_KINDS[name] for name in types)
  # The shortest pattern that gives all layers.
  period = next(n for n in range(1, layers + 1) if all(kinds[i] == kinds[i % n] for i in range(layers)))
  by_kind = fields.section("rope_parameters", {})
  rope_of = Fields(by_kind, f"{path}: rope_parameters")
  window_rope = Fields(rope_of.section(WINDOW, {}), f"{path}: rope_parameters: {WINDOW}")
  if window_rope.text("rope_type", "default") != "default":
    raise window_rope.refused("rope_type", "'default': others cannot be run")
  full_rope = fields.replaced("rope_parameters", rope_of.section(FULL, {} if WINDOW in by_kind else by_kind))
  return _rope(full_rope, path) | {
    "query_scalar": fields.whole("query_pre_attn_scalar"),
    "attention_pattern": kinds[:period],
    "window": fields.whole("sliding_window", high=2**31 - 1) if "window" in kinds else 0,
    "window_rope_base": window_rope.number("rope_theta", None) or fields.number("rope_local_base_freq"),
  }


def _rope(fields: Fields, path: Path) -> dict[str, Any]:
  """Fields of rotary positions: `rope_parameters` since transformers 5, `rope_theta` and `rope_scaling` before."""
  new, old = fields.section("rope_parameters", {}), fields.section("rope_scaling", {})
  if new and old and _without_base(new) != _without_base(old):
    # transformers would use the old field and lose the base of the new one.
    raise ModelFileError(f"{path}: rope_parameters and rope_scaling={shown(old)} differ: leave one of them out")
  scaling = new or old
  rope = Fields(scaling, f"{path}: rope scaling")
  base = {"rope_base": rope.number("rope_theta", None) or fields.number("rope_theta", 10_000.0)}
  if rope.number("partial_rotary_factor", 1.0) != 1.0:
    raise rope.refused("partial_rotary_factor", "1.0")
  kind = rope.text("rope_type", None) or rope.text("type", None)
  if kind is None and _without_base(scaling):
    raise ModelFileError(f"{path}: rope scaling has no rope_type, but {shown(min(_without_base(scaling)))}")
  if kind in (None, "default"):
    return base
  if kind == "linear":
    factor = Fields(scaling, f"{path}: rope scaling 'linear'").number("factor")
    return base | {"rope_scaling": "linear", "rope_factor": factor}
  if kind != "llama3":
    raise ModelFileError(f"{path}: rope scaling {shown(kind)}: known are 'default', 'linear' and 'llama3'")
  rope = Fields(scaling, f"{path}: rope scaling 'llama3'")
  return base | {
    "rope_scaling": "llama3",
    "rope_factor": rope.number("factor"),
    "rope_low_frequency": rope.number("low_freq_factor"),
    "rope_high_frequency": rope.number("high_freq_factor"),
    "rope_context": rope.whole("original_max_position_embeddings", high=2**31 - 1),
  }


def _without_base(scaling: Mapping[str, Any]) -> dict[str, Any]:
  """The fields that say how rotary positions are scaled."""
  return {name: value for name, value in scaling.items() if name not in ("rope_theta", "partial_rotary_factor")}


def _weight_map(path: Path) -> dict[str, str]:
  """File names by tensor, from an index; all inside its folder."""
  fields = Fields(read_json(path), path)
  shards = fields.section("weight_map")
  files = Fields(shards, f"{path}: weight_map")
  for tensor in shards:
    # Not resolved: in the hub's cache, files are links to another folder.
    place = PurePath(files.text(tensor))
    inside = place.parts and ".." not in place.parts and not place.is_absolute()
    if not inside or "\0" in str(place) or max(map(len, place.parts)) > _LONGEST_NAME:
      raise files.refused(tensor, "a file inside of the folder")
  return shards


class SafetensorsFolder:
  """The tensors of model.safetensors, or of the shards that model.safetensors.index.json names.

  Raises: ModelFileError: a file is missing or broken, or a tensor is no floating point number.
  """

  def __init__(self, folder: Path):
    self._open = package("safetensors").safe_open
    if (folder / INDEX).is_file():
      shards = _weight_map(folder / INDEX)
      files = {name: self._file(folder / name) for name in sorted(set(shards.values()))}
      tensors = {name: set(file.keys()) for name, file in files.items()}
      for tensor, name in shards.items():
        if tensor not in tensors[name]:
          raise ModelFileError(f"{folder / name} has no tensor {shown(tensor)}, which {INDEX} puts there")
      self._files = {tensor: files[name] for tensor, name in shards.items()}
    elif (folder / WEIGHTS).is_file():
      file = self._file(folder / WEIGHTS)
      self._files = {tensor: file for tensor in file.keys()}  # noqa: SIM118
    else:
      raise ModelFileError(f"no weights: neither {INDEX} nor {WEIGHTS} is in {folder}")
    self._shapes = {tensor: self._shape(folder, tensor) for tensor in self._files}

  def _file(self, path: Path) -> Any:
    if not path.is_file():
      raise ModelFileError(f"cannot read {path}: there is no such file")
    try:
      return self._open(path, "numpy")
    except OSError as error:
      raise ModelFileError(f"cannot read {path}: {reason(error)}") from error
    except package("safetensors").SafetensorError as error:
      raise ModelFileError(f"{path} is damaged or no safetensors file: {reason(error)}") from error

  def _shape(self, folder: Path, tensor: str) -> tuple[int, ...]:
    lazy = self._files[tensor].get_slice(tensor)
    if lazy.get_dtype() not in _FLOATS:
      raise ModelFileError(f"{folder}: tensor {tensor!r} is of type {lazy.get_dtype()}: known are {', '.join(_FLOATS)}")
    return tuple(lazy.get_shape())

  @property
  def shapes(self) -> Mapping[str, tuple[int, ...]]:
    """Shapes of all tensors by name."""
    return self._shapes

  def read(self, tensor: str, index: Index) -> np.ndarray:
    """Part of a tensor, read through a memory map without touching the rest of the file."""
    return self._files[tensor].get_slice(tensor)[index]
