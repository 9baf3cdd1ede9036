"""Section `model` of a config for a pretrained checkpoint, which provides sizes and parameters."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any

from rl_jax.models import pretrained_files
from rl_jax.models.errors import ModelFileError
from rl_jax.models.loading import load
from rl_jax.models.lora import TARGETS
from rl_jax.models.model import Model, Params
from rl_jax.models.outputs import OF_VOCABULARY, width


def get_config() -> dict[str, Any]:
  """Defaults of the section `model` of a config."""
  return {
    "checkpoint": "smollm2-135m-instruct",  # a known model, folder, .gguf file, or "owner/name" of the hub
    "dtype": "float32",  # type of activations and matrix products
    "param_dtype": "float32",  # type of parameters, whatever the checkpoint's type
    "logprobs": "recomputed",  # without holding logits [B, T, V]; see `rl_jax.models.model.LOGPROBS`
    "remat": "none",  # or "block": less memory for gradients, one more forward pass
    "lora_rank": 0,  # rank of adapters, which are then the only trained parameters; 0: none
    "lora_alpha": 32.0,  # the product of an adapter is scaled by lora_alpha / lora_rank
    "lora_targets": TARGETS,  # adapted matrices of every layer
  }


def build(
  config: Mapping[str, Any],
  vocabulary: int,
  *,
  names: tuple[str, ...] = OF_VOCABULARY,
  heads: int = 1,
  temperature: float = 1.0,
) -> Model:
  """Build the model of a config's section `model`.

  Args:
    vocabulary: size of the task's vocabulary. Checkpoints may have more rows, since some pad their embedding.
    names, heads: as in `rl_jax.models.model.build`.

  Raises: ModelFileError: the checkpoint is missing, broken or unknown, or has a smaller vocabulary.
  """
  source = pretrained_files.open_source(config["checkpoint"])
  if source.config.vocabulary < vocabulary:
    raise ModelFileError(
      f"{source.path} knows {source.config.vocabulary} tokens, the task's vocabulary has {vocabulary}: "
      "use the tokenizer of the checkpoint"
    )
  columns = width(names, heads, source.config.vocabulary)
  fields = {name: config[name] for name in get_config() if name not in ("checkpoint", "logprobs")}
  return Model(dataclasses.replace(source.config, outputs=columns, **fields), names, temperature, config["logprobs"])


def start(config: Mapping[str, Any], model: Model, shardings: Any = None) -> Params:
  """The checkpoint's parameters for a language model of `build`, in the config's `param_dtype`, without boxes.

  Files hold no adapters: these are the parameters of `model.base`.

  Args:
    shardings: a tree like the parameters; see `loading.load`.
  """
  source = pretrained_files.open_source(config["checkpoint"])
  if source.left_out:
    print(f"{source.path}: the text model is read; {source.left_out} are left out", file=sys.stderr)
  return load(source, model, shardings)


def digest(config: Mapping[str, Any]) -> str:
  """Hash of the checkpoint's files, for the record of a run."""
  return pretrained_files.digest(pretrained_files.find(config["checkpoint"]))
