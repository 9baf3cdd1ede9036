"""A language model as a Hugging Face folder: config.json, safetensors and tokenizer, as `transformers` reads them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rl_jax.models import hub_architectures
from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.errors import ModelFileError, package
from rl_jax.models.huggingface import CONFIG, FULL, INDEX, WEIGHTS, WINDOW
from rl_jax.models.loading import abstract_params, is_transposed, path_name
from rl_jax.models.lora import A, B, merged_matrix
from rl_jax.models.model import Model, Params
from rl_jax.models.tokenizer import GENERATION, Tokenizer


def export(
  model: Model,
  params: Params,
  folder: Path,
  *,
  context: int,
  tokenizer: Tokenizer | None = None,
  dtype: str | None = None,
  shard_bytes: int = 4 * 2**30,
) -> None:
  """Write a new folder atomically. Adapters are merged into their matrices.

  Args:
    params: parameters of one seed, unboxed and addressable by this process.
    context: context length of the model, in tokens.
    dtype: type of the files; None: the model's `param_dtype`.
    shard_bytes: largest size of a weight file, unless one tensor is larger. One file's tensors are held in memory.

  Raises: ModelFileError: the folder exists, the parameters are not the model's, or no architecture fits the model.
  """
  if folder.exists():
    raise ModelFileError(f"{folder} exists: export into a new folder")
  if model.of_heads:
    raise ModelFileError(
      f"a model of {', '.join(model.names)} has no Hugging Face form: only language models are exported"
    )
  target = np.dtype(dtype or model.config.param_dtype)
  values = hub_config(model.config, context) | {"torch_dtype": target.name}
  generation: dict[str, Any] = {"_from_model_config": True}
  if tokenizer is not None:
    pad, ends = {"pad_token_id": tokenizer.pad_id}, [tokenizer.end_id, *tokenizer.more_end_ids]
    values |= {"eos_token_id": tokenizer.end_id, **pad}
    generation |= {"eos_token_id": ends if len(ends) > 1 else ends[0], **pad}
  arrays = _named(model, params)
  shards = list(_shards(model.base.config, target.itemsize, shard_bytes))
  try:
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
  except OSError as error:
    raise ModelFileError(f"cannot write {folder}: {error.strerror or error}") from error
  try:
    _write_json(unfinished / CONFIG, values)
    _write_json(unfinished / GENERATION, generation)
    _write_weights(unfinished, shards, arrays, model.config, target)
    if tokenizer is not None:
      tokenizer.save(unfinished)
    unfinished.chmod(0o755)
    os.replace(unfinished, folder)
  except OSError as error:
    raise ModelFileError(f"cannot write {folder}: {error.strerror or error}") from error
  finally:
    shutil.rmtree(unfinished, ignore_errors=True)


def hub_config(config: TransformerConfig, context: int) -> dict[str, Any]:
  """The config.json of a language model, in the form that transformers 4 and 5 read.

  Raises: ModelFileError: no architecture has the config's switches.
  """
  name, architecture = hub_architectures.of_config(config)
  activation, function = architecture.activation
  values: dict[str, Any] = {
    "architectures": [name],
    "model_type": architecture.kind,
    "vocab_size": config.vocabulary,
    "hidden_size": config.width,
    "num_hidden_layers": config.layers,
    "num_attention_heads": config.heads,
    "num_key_value_heads": config.key_value_heads,
    "head_dim": config.head_width,
    "intermediate_size": config.feed_forward,
    activation: function,
    "rms_norm_eps": config.norm_epsilon,
    "tie_word_embeddings": config.tied_embeddings,
    "max_position_embeddings": context,
    "rope_theta": config.rope_base,
  }
  if config.rope_scaling == "llama3":
    values["rope_scaling"] = {
      "rope_type": "llama3",
      "factor": config.rope_factor,
      "low_freq_factor": config.rope_low_frequency,
      "high_freq_factor": config.rope_high_frequency,
      "original_max_position_embeddings": config.rope_context,
    }
  if config.rope_scaling == "linear":
    values["rope_scaling"] = {"rope_type": "linear", "factor": config.rope_factor}
  if architecture.windows:
    values |= {
      "query_pre_attn_scalar": config.query_scalar or config.head_width,
      "layer_types": [{"full": FULL, "window": WINDOW}[kind] for kind in config.attentions],
      "rope_local_base_freq": config.window_rope_base,
    }
  if config.window:
    values["sliding_window"] = config.window
  return values


def _named(model: Model, params: Params) -> dict[str, jax.Array]:
  """Parameters by name, after a check of names and shapes against the model."""
  by_name = lambda tree: {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
  arrays, expected = by_name(params), by_name(abstract_params(model.config))
  differing = sorted(arrays.keys() ^ expected.keys())
  if differing:
    raise ModelFileError(f"the parameters are not those of the model: only one of the two has {differing[0]!r}")
  for name, leaf in arrays.items():
    if leaf.shape != expected[name].shape:
      raise ModelFileError(f"{name} has shape {leaf.shape}, that of the model is {expected[name].shape}")
  return arrays


def _shards(config: TransformerConfig, itemsize: int, most: int) -> Iterator[list[str]]:
  """Names of the parameters of each file, at most `most` bytes each."""
  shard: list[str] = []
  size = 0
  for path, leaf in jax.tree_util.tree_leaves_with_path(abstract_params(config)):
    if shard and size + leaf.size * itemsize > most:
      yield shard
      shard, size = [], 0
    shard.append(path_name(path))
    size += leaf.size * itemsize
  yield shard


def _write_weights(
  folder: Path, shards: list[list[str]], arrays: dict[str, jax.Array], config: TransformerConfig, dtype: np.dtype
) -> None:
  save_file = package("safetensors.numpy").save_file
  names = hub_architectures.names(config)
  weight_map: dict[str, str] = {}
  for number, shard in enumerate(shards, start=1):
    file = WEIGHTS if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
    tensors = {}
    for name in shard:
      leaf = arrays[name]
      if name + A in arrays:
        leaf = merged_matrix(leaf, arrays[name + A], arrays[name + B], config.lora_scale)
      array = np.asarray(leaf).astype(dtype)
      tensors[names.tensor(name)] = np.ascontiguousarray(array.T if is_transposed(name, array.ndim, config) else array)
    save_file(tensors, folder / file, metadata={"format": "pt"})
    weight_map |= dict.fromkeys(tensors, file)
  if len(shards) > 1:
    total = sum(arrays[name].size for shard in shards for name in shard) * dtype.itemsize
    _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})


def _write_json(path: Path, values: dict[str, Any]) -> None:
  path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
