"""A folder that was exported loads as what it was; that `transformers` loads it, too, was seen once by hand."""

from __future__ import annotations

import dataclasses
import json

import jax
import numpy as np
import pytest

from rl_jax.models import huggingface, tokenizer
from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.errors import ModelFileError
from rl_jax.models.export import export
from rl_jax.models.loading import load
from rl_jax.models.model import Model
from tests.models import gguf_files, tiny


def loaded(folder):
  source = huggingface.open_folder(folder)
  model = Model(source.config)
  return source, model, load(source, model)


@pytest.mark.parametrize("folder", tiny.FOLDERS, ids=lambda folder: folder.name)
@pytest.mark.parametrize("shard_bytes", [10_000, 2**30])
def test_round_trip(tmp_path, folder, shard_bytes):
  source, model, params = loaded(folder)
  export(model, params, tmp_path / "out", context=source.context, shard_bytes=shard_bytes)
  again, _, same = loaded(tmp_path / "out")
  assert (again.config, again.context) == (source.config, source.context)
  jax.tree.map(np.testing.assert_array_equal, params, same)
  assert again.tensors.shapes == source.tensors.shapes  # names and layout are those that transformers wrote
  files = list((tmp_path / "out").glob("*.safetensors"))
  assert (len(files) > 1) == (shard_bytes == 10_000)
  assert all(file.stat().st_size < shard_bytes + 4000 for file in files)
  assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_transformers_reads_of_the_config_is_what_it_wrote(tmp_path):
  source, model, params = loaded(tiny.GOLDENS / "tiny" / "qwen3")
  export(model, params, tmp_path / "out", context=128, dtype="bfloat16")
  theirs, ours = (json.loads((folder / "config.json").read_text()) for folder in (source.path, tmp_path / "out"))
  assert ours["torch_dtype"] == "bfloat16"
  for name in ours.keys() - {"torch_dtype", "rope_theta"}:
    assert ours[name] == theirs[name], name
  _, _, rounded = loaded(tmp_path / "out")
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a.astype("bfloat16"), b), params, rounded)


def test_the_tokenizer_goes_along(tmp_path):
  source, model, params = loaded(tiny.GOLDENS / "tiny" / "smollm2")
  gguf_files.write(tmp_path / "m.gguf", source)
  words = tokenizer.from_gguf(tmp_path / "m.gguf")
  export(model, params, tmp_path / "out", context=128, tokenizer=words)
  again = tokenizer.load(str(tmp_path / "out"))
  chat = again.apply_chat_template([{"role": "user", "content": "abc 12"}])
  assert chat == "<|start|>abc 12<|end|>"
  assert again.encode(chat) == words.encode(chat) == [1, 7, 8, 10, 11, 0]
  assert (again.end_id, again.pad_id, again.start_token, len(again)) == (0, 0, "<|start|>", 13)
  generation = json.loads((tmp_path / "out" / "generation_config.json").read_text())
  assert (generation["eos_token_id"], generation["pad_token_id"]) == (0, 0)
  two = dataclasses.replace(words, more_end_ids=(2,))
  export(model, params, tmp_path / "two", context=128, tokenizer=two)
  again = tokenizer.load(str(tmp_path / "two"))
  assert (again.end_id, again.more_end_ids) == (0, (2,))


def test_what_can_not_be_exported_leaves_nothing(tmp_path):
  _, model, params = loaded(tiny.GOLDENS / "tiny" / "smollm2")
  seeds = jax.tree.map(lambda x: x[None], params)
  critic = Model(TransformerConfig(4, 1), names=("values",))
  both = Model(TransformerConfig(4, 4, qkv_bias=True, qk_norm=True))
  windows = Model(TransformerConfig(4, 4, attention_pattern=("window", "full"), window=2))
  refused = {
    r"embedding has shape \(1, 16, 40\), that of the model is \(16, 40\)": (model, seeds),
    "only one of the two has 'layer_1/": (model, {k: v for k, v in params.items() if k != "layer_1"}),
    "a model of values has no Hugging Face form": (critic, params),
    "no known architecture has model.qkv_bias=True, model.qk_norm=True together": (both, params),
    "no known architecture has model.attention_pattern=.'window', 'full'. together": (windows, params),
  }
  for said, (wrong, tree) in refused.items():
    with pytest.raises(ModelFileError, match=said):
      export(wrong, tree, tmp_path / "out", context=1)
  assert not list(tmp_path.iterdir())
  with pytest.raises(ModelFileError, match=f"{tmp_path} exists"):
    export(model, params, tmp_path, context=1)
  (tmp_path / "file").touch()
  with pytest.raises(ModelFileError, match="cannot write .*file/out: "):
    export(model, params, tmp_path / "file" / "out", context=1)
