"""Models of known public sizes without weights, for plans or for training from a random start.

`config.model.name = "qwen3-8b"` names one. Sizes are those of the models' own config.json on the Hugging Face hub.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from rl_jax.models import hub_architectures, pretrained
from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.model import Model
from rl_jax.models.outputs import OF_VOCABULARY, width


def _sizes(vocabulary, width, layers, heads, key_value_heads, head_width, feed_forward, **more) -> dict[str, Any]:
  return {
    "vocabulary": vocabulary,
    "width": width,
    "layers": layers,
    "heads": heads,
    "key_value_heads": key_value_heads,
    "head_width": head_width,
    "feed_forward": feed_forward,
    **more,
  }


_TIED: dict[str, Any] = {"tied_embeddings": True}
_QWEN2: dict[str, Any] = {"qkv_bias": True, "rope_base": 1e6}
_QWEN3: dict[str, Any] = {"qk_norm": True, "rope_base": 1e6}
_LLAMA3: dict[str, Any] = {"norm_epsilon": 1e-5, "rope_base": 5e5, "rope_scaling": "llama3", "rope_factor": 8.0}
_GEMMA3: dict[str, Any] = {
  **hub_architectures.ARCHITECTURES["Gemma3ForCausalLM"].switches,
  "attention_pattern": ("window",) * 5 + ("full",),
  "rope_base": 1e6,
  **_TIED,
}
_LONG: dict[str, Any] = {"window": 1024, "rope_scaling": "linear", "rope_factor": 8.0}

ARCHITECTURES: dict[str, dict[str, Any]] = {
  "smollm2-135m": _sizes(49152, 576, 30, 9, 3, 64, 1536, norm_epsilon=1e-5, rope_base=1e5, **_TIED),
  "qwen2.5-0.5b": _sizes(151936, 896, 24, 14, 2, 64, 4864, **_QWEN2, **_TIED),
  "qwen2.5-1.5b": _sizes(151936, 1536, 28, 12, 2, 128, 8960, **_QWEN2, **_TIED),
  "qwen2.5-7b": _sizes(152064, 3584, 28, 28, 4, 128, 18944, **_QWEN2),
  "qwen3-0.6b": _sizes(151936, 1024, 28, 16, 8, 128, 3072, **_QWEN3, **_TIED),
  "qwen3-1.7b": _sizes(151936, 2048, 28, 16, 8, 128, 6144, **_QWEN3, **_TIED),
  "qwen3-4b": _sizes(151936, 2560, 36, 32, 8, 128, 9728, **_QWEN3, **_TIED),
  "qwen3-8b": _sizes(151936, 4096, 36, 32, 8, 128, 12288, **_QWEN3),
  "qwen3-32b": _sizes(151936, 5120, 64, 64, 8, 128, 25600, **_QWEN3),
  "gemma3-270m": _sizes(262144, 640, 18, 4, 1, 256, 2048, window=512, **_GEMMA3),
  "gemma3-1b": _sizes(262144, 1152, 26, 4, 1, 256, 6912, window=512, **_GEMMA3),
  "gemma3-4b": _sizes(262208, 2560, 34, 8, 4, 256, 10240, **_GEMMA3, **_LONG),
  "gemma3-12b": _sizes(262208, 3840, 48, 16, 8, 256, 15360, **_GEMMA3, **_LONG),
  "gemma3-27b": _sizes(262208, 5376, 62, 32, 16, 128, 21504, query_scalar=168, **_GEMMA3, **_LONG),
  "llama3.2-1b": _sizes(128256, 2048, 16, 32, 8, 64, 8192, **_LLAMA3 | {"rope_factor": 32.0}, **_TIED),
  "llama3.1-8b": _sizes(128256, 4096, 32, 32, 8, 128, 14336, **_LLAMA3),
  "llama3.1-70b": _sizes(128256, 8192, 80, 64, 8, 128, 28672, **_LLAMA3),
}
"""Fields of `TransformerConfig` by name."""


def get_config() -> dict[str, Any]:
  """Defaults of the section `model` of a config."""
  fields = {name: value for name, value in pretrained.get_config().items() if name != "checkpoint"}
  return {
    "architecture": "smollm2-135m",  # a name of ARCHITECTURES
    "layers": None,  # a number of layers instead of the architecture's
    **fields,
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
    vocabulary: size of the task's vocabulary, at most that of the architecture.
    names, heads: as in `rl_jax.models.model.build`.

  Raises: ValueError: there is no such architecture, or its vocabulary is smaller.
  """
  name = config["architecture"]
  if name not in ARCHITECTURES:
    like = difflib.get_close_matches(name, ARCHITECTURES, n=1)
    raise ValueError(f"model.architecture={name!r} is not known: use {like[0] if like else ', '.join(ARCHITECTURES)}")
  sizes = dict(ARCHITECTURES[name])
  if sizes["vocabulary"] < vocabulary:
    raise ValueError(f"{name} knows {sizes['vocabulary']} tokens, the task's vocabulary has {vocabulary}")
  if config["layers"] is not None:
    sizes["layers"] = config["layers"]
  columns = width(names, heads, sizes["vocabulary"])
  own = ("architecture", "layers", "logprobs")
  fields = {field: config[field] for field in get_config() if field not in own}
  return Model(TransformerConfig(outputs=columns, **sizes, **fields), names, temperature, config["logprobs"])
