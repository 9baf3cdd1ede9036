"""Folders as `transformers` writes them: its logits, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

from rl_jax.models import huggingface
from rl_jax.models.errors import ModelFileError
from rl_jax.models.loading import load
from rl_jax.models.model import Model
from tests.models import tiny

SWITCHES = {
  "llama3": {"rope_scaling": "llama3", "tied_embeddings": False, "head_width": 8, "rope_context": 32},
  "smollm2": {"rope_scaling": "none", "tied_embeddings": True, "head_width": 4, "norm_epsilon": 1e-5},
  "qwen2": {"qkv_bias": True, "tied_embeddings": True},
  "qwen3": {"qk_norm": True, "tied_embeddings": False, "head_width": 8},
}


@pytest.fixture
def copy(tmp_path):
  """A copy of a tiny checkpoint, to be spoiled; `change` alters its config."""

  def make(name="smollm2", change=None):
    folder = shutil.copytree(tiny.GOLDENS / "tiny" / name, tmp_path / name)
    if change:
      path = folder / "config.json"
      values = json.loads(path.read_text()) | change
      path.write_text(json.dumps({key: value for key, value in values.items() if value is not ...}))
    return folder

  return make


@pytest.mark.parametrize("folder", tiny.FOLDERS, ids=lambda folder: folder.name)
def test_logits_are_those_of_transformers(folder):
  source, golden = huggingface.open_folder(folder), tiny.golden(folder)
  assert dataclasses.asdict(source.config).items() >= SWITCHES[folder.name].items()
  model = Model(source.config)
  params = load(source, model)
  np.testing.assert_allclose(tiny.logits(model, params, golden), golden["logits"], atol=1e-5)
  # The golden sees every switch: without one the logits are others.
  for name in ("qkv_bias", "qk_norm"):
    if getattr(source.config, name):
      without = Model(dataclasses.replace(source.config, **{name: False}))
      assert np.abs(tiny.logits(without, params, golden) - golden["logits"]).max() > 1e-2
  if source.config.rope_scaling != "none":
    without = Model(dataclasses.replace(source.config, rope_scaling="none"))
    assert np.abs(tiny.logits(without, params, golden) - golden["logits"]).max() > 1e-2


def test_rope_is_read_in_the_form_of_older_versions_too(copy):
  new = huggingface.open_folder(tiny.GOLDENS / "tiny" / "llama3").config
  values = json.loads((tiny.GOLDENS / "tiny" / "llama3" / "config.json").read_text())["rope_parameters"]
  base = values.pop("rope_theta")
  old = copy("llama3", {"rope_parameters": ..., "rope_theta": base, "rope_scaling": values})
  assert huggingface.open_folder(old).config == new
  both = copy("smollm2", {"rope_scaling": {"rope_type": "default"}})
  assert huggingface.open_folder(both).config.rope_scaling == "none"


YARN = {"rope_type": "yarn", "factor": 4.0}


@pytest.mark.parametrize(
  ("change", "said"),
  [
    ({"architectures": ["GemmaForCausalLM"]}, "architecture GemmaForCausalLM: known are LlamaForCausalLM, "),
    ({"hidden_act": "gelu"}, "hidden_act='gelu': only 'silu'"),
    ({"attention_bias": True}, "attention_bias=True: only False"),
    ({"use_sliding_window": True}, "use_sliding_window=True"),
    ({"quantization_config": {"bits": 4}}, "quantization_config="),
    ({"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5: only 1.0"),
    ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types has 'sliding_attention': only 'full_att"),
    ({"rope_parameters": {"rope_type": "yarn"}}, "rope scaling 'yarn'"),
    ({"rope_parameters": ..., "rope_scaling": YARN}, "rope scaling 'yarn'"),
    ({"rope_scaling": YARN}, r"rope_parameters and rope_scaling={'factor': 4.0, .*} differ: leave one of them out"),
    ({"rope_scaling": {"type": "linear", "factor": 4.0}}, "rope_parameters and rope_scaling=.* differ"),
    ({"rope_parameters": ..., "rope_scaling": {"factor": 4.0}}, "rope scaling has no rope_type, but 'factor'"),
    ({"rope_parameters": {"full_attention": {"rope_theta": 1e6}}}, "has no rope_type, but 'full_attention'"),
    ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "rope scaling: partial_rotary_factor=0.5: want 1.0"),
    ({"rope_parameters": {"rope_type": "llama3"}}, "'llama3' has no field 'factor'"),
    ({"hidden_size": ...}, "has no field 'hidden_size'"),
    ({"num_attention_heads": 3}, "not a multiple"),
    ({"num_attention_heads": 0}, "model.heads=0"),
    ({"vocab_size": 41}, r"'model.embed_tokens.weight' has shape \(40, 16\), the config there says \(41, 16\)"),
    ({"num_hidden_layers": 3}, r"has no tensor 'model.layers.2.*' \(9 of 29 are missing\)"),
    ({"num_hidden_layers": 1}, r"the architecture has no tensor 'model.layers.1.*' \(9 such tensors\)"),
  ],
)
def test_a_config_that_can_not_be_run_is_one_line(copy, change, said):
  folder = copy(change=change)
  with pytest.raises(ModelFileError, match=said) as error:
    huggingface.open_folder(folder)
  assert str(folder) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("name", "spoil", "said"),
  [
    ("smollm2", lambda f: (f / "config.json").unlink(), "cannot read .*config.json: No such file"),
    ("smollm2", lambda f: (f / "config.json").write_text("{"), "config.json is no JSON"),
    ("smollm2", lambda f: (f / "config.json").write_text("[]"), "config.json holds no JSON object"),
    ("smollm2", lambda f: (f / "model.safetensors").unlink(), "neither model.safetensors.index.json nor model.safe"),
    (
      "smollm2",
      lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-1]),
      "model.safetensors is damaged or no safetensors file",
    ),
    ("qwen3", lambda f: (f / "model-00002-of-00003.safetensors").unlink(), "cannot read .*00002-of-00003.safetensors"),
    ("qwen3", lambda f: (f / "model.safetensors.index.json").write_text("{}"), "has no field 'weight_map'"),
    (
      "qwen3",
      lambda f: shutil.copy(f / "model-00001-of-00003.safetensors", f / "model-00002-of-00003.safetensors"),
      "00002-of-00003.safetensors has no tensor .* which model.safetensors.index.json puts there",
    ),
  ],
)
def test_a_missing_or_damaged_file_is_named(copy, name, spoil, said):
  folder = copy(name)
  spoil(folder)
  with pytest.raises(ModelFileError, match=said) as error:
    huggingface.open_folder(folder)
  assert str(folder) in str(error.value) and "\n" not in str(error.value)
