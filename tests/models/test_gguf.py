"""GGUF files: the logits of the folder they were made of, quantised blocks, and what is refused."""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import numpy as np
import pytest
from gguf import GGMLQuantizationType

from rl_jax.models import gguf, huggingface
from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.errors import ModelFileError
from rl_jax.models.export import export
from rl_jax.models.loading import load
from rl_jax.models.model import Model
from tests.models import gguf_files, tiny

SMOLLM2 = huggingface.open_folder(tiny.GOLDENS / "tiny" / "smollm2")


@pytest.mark.parametrize(("name", "architecture"), [("smollm2", "llama"), ("qwen2", "qwen2"), ("qwen3", "qwen3")])
def test_logits_are_those_of_the_folder(tmp_path, name, architecture):
  folder = tiny.GOLDENS / "tiny" / name
  original = huggingface.open_folder(folder)
  gguf_files.write(tmp_path / "m.gguf", original, name=architecture)
  source, golden = gguf.open_file(tmp_path / "m.gguf"), tiny.golden(folder)
  close = dataclasses.replace(source.config, norm_epsilon=original.config.norm_epsilon)  # the format keeps float32
  assert (close, source.context) == (original.config, original.context)
  model = Model(source.config)
  np.testing.assert_allclose(tiny.logits(model, load(source, model), golden), golden["logits"], atol=1e-5)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
  """A random model whose rows are as long as the blocks of quantised types, in both forms."""
  folder = tmp_path_factory.mktemp("wide") / "folder"
  sizes = {"width": 64, "layers": 1, "heads": 4, "key_value_heads": 2, "head_width": 16, "feed_forward": 96}
  config = TransformerConfig(vocabulary=14, outputs=14, **sizes)
  model = Model(config)
  params = nn.unbox(model.init(jax.random.key(0)))
  export(model, params, folder, context=64)
  return huggingface.open_folder(folder)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1", "F16", "BF16"])
def test_parts_of_quantised_tensors_are_those_of_the_whole(tmp_path, wide, kind):
  gguf_files.write(tmp_path / "m.gguf", wide, kind=GGMLQuantizationType[kind])
  source = gguf.open_file(tmp_path / "m.gguf")
  tolerance = {"Q8_0": 0.01, "Q4_1": 0.1, "F16": 1e-3, "BF16": 1e-2}[kind]
  for name in ("embedding", "layer_0/attention/query", "layer_0/attention/key", "layer_0/feed_forward/down"):
    rows, columns = source.shape(name)
    whole = source.read(name, (slice(0, rows), slice(0, columns)))
    exact = wide.read(name, (slice(0, rows), slice(0, columns)))
    assert 0 < np.abs(whole - exact).max() < tolerance * np.abs(exact).max() * 2, name
    part = source.read(name, (slice(3, 9), slice(5, 14)))
    np.testing.assert_array_equal(part, whole[3:9, 5:14])


def test_the_scaling_of_a_llama_3_is_found_in_its_factors(tmp_path, wide):
  scaled = dataclasses.replace(wide.config, rope_base=500_000.0, rope_scaling="llama3", rope_factor=32.0)
  plain = dataclasses.replace(scaled, rope_scaling="none")
  source = dataclasses.replace(wide, config=plain)
  factors = np.asarray(plain.rope_frequencies()) / np.asarray(scaled.rope_frequencies())
  assert len(set(factors.round(3))) > 2
  gguf_files.write(tmp_path / "m.gguf", source, rope_factors=factors)
  found = gguf.open_file(tmp_path / "m.gguf").config
  assert found == dataclasses.replace(scaled, norm_epsilon=found.norm_epsilon)
  gguf_files.write(tmp_path / "other.gguf", source, rope_factors=np.linspace(1, 8, 8))
  with pytest.raises(ModelFileError, match="rope_freqs.weight is not the scaling of a Llama 3"):
    gguf.open_file(tmp_path / "other.gguf")


@pytest.mark.parametrize(
  "metadata",
  [
    {"llama.rope.scaling.factor": 1.0},
    {"llama.rope.scaling.type": "linear"},
    {"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 4.0},
    {"llama.rope.scale_linear": 4.0, "llama.rope.scaling.factor": 1.0},
    {"llama.rope.dimension_count": 4, "llama.attention.value_length": 4, "llama.attention.scale": 0.5},
  ],
)
def test_what_llama_cpp_runs_unscaled_is_loaded(tmp_path, metadata):
  gguf_files.write(tmp_path / "m.gguf", SMOLLM2, metadata=metadata)
  assert gguf.open_file(tmp_path / "m.gguf").config.rope_scaling == "none"


@pytest.mark.parametrize(
  ("written", "said"),
  [
    ({"name": "gemma"}, "architecture 'gemma': known are llama, qwen2, qwen3"),
    ({"metadata": {"llama.block_count": None}}, "has no 'llama.block_count'"),
    ({"metadata": {"llama.context_length": None}}, "has no 'llama.context_length'"),
    ({"metadata": {"llama.rope.scaling.type": "yarn"}}, "llama.rope.scaling.type='yarn'"),
    ({"metadata": {"llama.rope.scaling.factor": 4.0}}, "type='linear' with llama.rope.scaling.factor=4: only 1 can"),
    ({"metadata": {"llama.rope.scale_linear": 4.0}}, "type='linear' with llama.rope.scaling.factor=4: only 1"),
    ({"metadata": {"llama.rope.dimension_count": 2}}, "dimension_count=2: want the width of a head, 4"),
    ({"metadata": {"llama.attention.value_length": 8}}, "value_length=8: want the width of a head, 4"),
    ({"metadata": {"llama.attention.scale": 0.25}}, "attention.scale=0.25: want 0.5, the root of 1 / 4"),
    ({"metadata": {"llama.attention.causal": False}}, "attention.causal=False: want true"),
    ({"metadata": {"llama.block_count": 1}}, "the architecture has no tensor 'blk.1.attn_k.weight'"),
    ({"metadata": {"llama.feed_forward_length": 7}}, r"'blk.0.ffn_down.weight' has shape \(16, 24\), .* \(16, 7\)"),
  ],
)
def test_a_file_that_can_not_be_run_is_one_line(tmp_path, written, said):
  path = tmp_path / "m.gguf"
  gguf_files.write(path, SMOLLM2, **written)
  with pytest.raises(ModelFileError, match=said) as error:
    gguf.open_file(path)
  assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_missing_or_damaged_file_is_named(tmp_path):
  path = tmp_path / "m.gguf"
  with pytest.raises(ModelFileError, match=f"cannot read {path}: No such file"):
    gguf.open_file(path)
  gguf_files.write(path, SMOLLM2)
  content = path.read_bytes()
  for kept in (0, 10, 700, len(content) - 500):
    path.write_bytes(content[:kept])
    with pytest.raises(ModelFileError, match=f"{path} is damaged or no GGUF file"):
      gguf.open_file(path)
  path.write_bytes(b"PK" + content[2:])
  with pytest.raises(ModelFileError, match=f"{path} is damaged or no GGUF file"):
    gguf.open_file(path)
