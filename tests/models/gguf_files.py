"""GGUF files as llama.cpp's converter makes them of Hugging Face tensors."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from rl_jax.models import hub_architectures
from rl_jax.models.gguf import NAMES
from rl_jax.models.loading import Source

TOKENS = ["<|end|>", "<|start|>", "<extra>", "a", "b", "c", "ab", "abc", "Ġ", "Ġa", "1", "2", "12", "[PAD13]"]
"""A vocabulary; the pair 1, 2 has a merge, which a split into digits must keep from being used."""
KINDS = [3, 3, 4] + [1] * 10 + [5]
MERGES = ["a b", "ab c", "Ġ a", "1 2"]


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
  """`LlamaModel.permute` of convert_hf_to_gguf.py."""
  split = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
  return split.swapaxes(1, 2).reshape(weight.shape)


def write(
  path: Path,
  source: Source,
  *,
  name: str = "llama",
  kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
  rope_factors: np.ndarray | None = None,
  metadata: dict | None = None,
  split: str = "smollm",
) -> None:
  """`source`, a Hugging Face folder, as a GGUF; matrices are of type `kind`.

  Args:
    metadata: values that differ, None to leave one out.
  """
  c = source.config
  writer = gguf.GGUFWriter(path, name)
  values = {
    f"{name}.context_length": source.context,
    f"{name}.embedding_length": c.width,
    f"{name}.block_count": c.layers,
    f"{name}.feed_forward_length": c.feed_forward,
    f"{name}.attention.head_count": c.heads,
    f"{name}.attention.head_count_kv": c.key_value_heads,
    f"{name}.attention.key_length": c.head_width,
    f"{name}.attention.layer_norm_rms_epsilon": c.norm_epsilon,
    f"{name}.rope.freq_base": c.rope_base,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": split,
    "tokenizer.ggml.eos_token_id": 0,
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.chat_template": "{% for m in messages %}{{ bos_token + m['content'] + eos_token }}{% endfor %}",
  } | (metadata or {})
  add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
  for key, value in values.items():
    if value is not None:
      add[type(value)](key, value)
  writer.add_token_list(TOKENS)
  writer.add_token_types(KINDS)
  writer.add_token_merges(MERGES)
  theirs = hub_architectures.names(c)
  names = {theirs.whole[key]: NAMES.whole[key] for key in NAMES.whole}
  for i in range(c.layers):
    prefixes = theirs.prefix.format(i), NAMES.prefix.format(i)
    names |= {prefixes[0] + theirs.layer[key]: prefixes[1] + NAMES.layer[key] for key in NAMES.layer}
  for tensor, shape in source.tensors.shapes.items():
    array = source.tensors.read(tensor, tuple(slice(0, n) for n in shape)).astype(np.float32)
    if name == "llama" and tensor.endswith(("q_proj.weight", "k_proj.weight")):
      array = permuted(array, c.heads if "q_proj" in tensor else c.key_value_heads)
    wanted = kind if array.ndim == 2 else gguf.GGMLQuantizationType.F32
    writer.add_tensor(names[tensor], gguf.quants.quantize(array, wanted), raw_dtype=wanted)
  if rope_factors is not None:
    writer.add_tensor("rope_freqs.weight", rope_factors.astype(np.float32))
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
