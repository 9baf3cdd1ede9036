"""Folders as `transformers` writes them: its logits, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
import safetensors.numpy

from rl_jax.models import huggingface
from rl_jax.models import sizes as sizes_of_models
from rl_jax.models.errors import ModelFileError
from rl_jax.models.loading import load
from rl_jax.models.model import Model
from tests.models import tiny

SWITCHES = {
  "gemma3": {"attention_pattern": ("window", "full"), "window": 5, "window_rope_base": 50.0, "query_scalar": 12},
  "llama3": {"rope_scaling": "llama3", "tied_embeddings": False, "head_width": 8, "rope_context": 32},
  "smollm2": {"rope_scaling": "none", "tied_embeddings": True, "head_width": 4, "norm_epsilon": 1e-5},
  "qwen2": {"qkv_bias": True, "tied_embeddings": True},
  "qwen3": {"qk_norm": True, "tied_embeddings": False, "head_width": 8},
}

GEMMA3 = tiny.GOLDENS / "tiny" / "gemma3"


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
      assert distance(source.config, params, golden, **{name: False}) > 1e-2
  if source.config.rope_scaling != "none":
    assert distance(source.config, params, golden, rope_scaling="none") > 1e-2


def distance(config, params, golden, **fields) -> float:
  """Largest difference from a golden's logits when some fields of the config are others."""
  logits = tiny.logits(Model(dataclasses.replace(config, **fields)), params, golden)
  return np.abs(logits - golden["logits"]).max()


def test_the_golden_of_gemma_3_sees_each_of_its_fields():
  source = huggingface.open_folder(GEMMA3)
  golden, params = tiny.golden(GEMMA3), load(source, Model(source.config))
  others = {
    "attention_pattern": ("full", "window"),
    "window": 6,
    "window_rope_base": 60.0,
    "query_scalar": 0,
    "activation": "silu",
    "output_norms": False,
    "offset_norms": False,
    "scaled_embeddings": False,
    "rope_factor": 3.0,
  }
  for name, value in others.items():
    assert distance(source.config, params, golden, **{name: value}) > 1e-3, name


def test_rope_is_read_in_the_form_of_older_versions_too(copy):
  new = huggingface.open_folder(tiny.GOLDENS / "tiny" / "llama3").config
  values = json.loads((tiny.GOLDENS / "tiny" / "llama3" / "config.json").read_text())["rope_parameters"]
  base = values.pop("rope_theta")
  old = copy("llama3", {"rope_parameters": ..., "rope_theta": base, "rope_scaling": values})
  assert huggingface.open_folder(old).config == new
  both = copy("smollm2", {"rope_scaling": {"rope_type": "default"}})
  assert huggingface.open_folder(both).config.rope_scaling == "none"


def test_what_gemma_3_leaves_out_and_how_older_versions_write_it(copy):
  """Defaults are those of `transformers`; the hub's files are in the older form."""
  new = huggingface.open_folder(GEMMA3).config
  left_out = dict.fromkeys(("layer_types", "rope_parameters", "tie_word_embeddings", "rms_norm_eps"), ...)
  linear = {"rope_type": "linear", "factor": 4.0}
  old = {"rope_theta": 1000.0, "rope_scaling": linear, "rope_local_base_freq": 50.0, "sliding_window_pattern": 2}
  assert huggingface.open_folder(copy("gemma3", left_out | old)).config == new
  values = json.loads((GEMMA3 / "config.json").read_text())
  sizes = {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "rope_scaling": {"factor": 8.0}}
  short = {"architectures": values["architectures"], **sizes, "sliding_window": 1024}
  short["rope_scaling"]["rope_type"] = "linear"
  found = huggingface.transformer_config(short, GEMMA3)
  fields = {name: value for name, value in dataclasses.asdict(found).items() if name != "outputs"}
  assert fields.items() >= sizes_of_models.ARCHITECTURES["gemma3-4b"].items()


def test_the_text_model_of_one_of_text_and_images(copy):
  folder = copy("gemma3")
  values = json.loads((folder / "config.json").read_text())
  text = {name: value for name, value in values.items() if name != "architectures"}
  whole = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": text, "vision_config": {}}
  (folder / "config.json").write_text(json.dumps(whole))
  weights = folder / "model.safetensors"
  tensors = {f"language_model.{name}": x for name, x in safetensors.numpy.load_file(weights).items()}
  vision = {"vision_tower.embeddings.weight": np.ones((2, 3)), "multi_modal_projector.norm.weight": np.ones(2)}
  safetensors.numpy.save_file(tensors | vision, weights)
  source, alone = huggingface.open_folder(folder), huggingface.open_folder(GEMMA3)
  assert (source.config, source.context) == (alone.config, alone.context)
  assert (source.left_out, alone.left_out) == ("vision_tower, multi_modal_projector", "")
  assert "model.norm.weight" in source.names.tensor("final_norm/scale")
  params, same = (load(one, Model(one.config)) for one in (source, alone))
  jax.tree.map(np.testing.assert_array_equal, params, same)
  safetensors.numpy.save_file(tensors | {"audio_tower.weight": np.ones(2)}, weights)
  with pytest.raises(ModelFileError, match="the architecture has no tensor 'audio_tower.weight'"):
    huggingface.open_folder(folder)


YARN = {"rope_type": "yarn", "factor": 4.0}


@pytest.mark.parametrize(
  ("change", "said"),
  [
    ({"architectures": ["Gemma2ForCausalLM"]}, "architecture Gemma2ForCausalLM: known are LlamaForCausalLM, "),
    ({"hidden_act": "gelu"}, "hidden_act='gelu': only 'silu'"),
    ({"attention_bias": True}, "attention_bias=True: only False"),
    ({"use_sliding_window": True}, "use_sliding_window=True"),
    ({"quantization_config": {"bits": 4}}, "quantization_config="),
    ({"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5: only 1.0"),
    ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types has 'sliding_attention': only 'full_att"),
    ({"rope_parameters": {"rope_type": "yarn"}}, "rope scaling 'yarn'"),
    ({"rope_parameters": ..., "rope_scaling": YARN}, "rope scaling 'yarn'"),
    ({"rope_scaling": YARN}, r"rope_parameters and rope_scaling={'factor': 4.0, .*} differ: leave one of them out"),
    ({"rope_parameters": ..., "rope_scaling": {"type": "linear"}}, "rope scaling 'linear' has no field 'factor'"),
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
  ("change", "said"),
  [
    ({"final_logit_softcapping": 30.0}, "final_logit_softcapping=30.0: only None can be run"),
    ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping=50.0: only None can be run"),
    ({"use_bidirectional_attention": True}, "use_bidirectional_attention=True: only False"),
    ({"hidden_activation": "gelu"}, "hidden_activation='gelu': only 'gelu_pytorch_tanh'"),
    (
      {"layer_types": ["full_attention"]},
      r"layer_types=\['full_attention'\]: want 3 of 'full_attention' and 'sli",
    ),
    ({"layer_types": ["chunked_attention"] * 3}, "layer_types=.*chunked.*: want 3 of "),
    ({"sliding_window": 0}, "sliding_window=0: want a whole number from 1"),
    ({"rope_parameters": {"sliding_attention": {"rope_type": "linear"}}}, "rope_type='linear': want 'default'"),
    ({"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "rope scaling 'yarn'"),
    ({"rope_parameters": {"sliding_attention": 3}}, "rope_parameters: sliding_attention=3: want an object"),
    ({"architectures": ["Gemma3ForConditionalGeneration"]}, "has no field 'text_config'"),
    ({"architectures": ["Gemma3ForConditionalGeneration"], "text_config": 1}, "text_config=1: want an object"),
  ],
)
def test_a_gemma_3_that_can_not_be_run_is_one_line(copy, change, said):
  folder = copy("gemma3", change)
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
