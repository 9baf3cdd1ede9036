"""Known sizes give the published numbers of parameters; a bare name in a config."""

from __future__ import annotations

import flax.linen as nn
import jax
import pytest

from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.models import sizes
from rl_jax.models.model import param_count

VISION = {width: 416_866_032 + 1152 + 1152 * width for width in (2560, 3840, 5376)}
"""Elements of Gemma 3's model of images, of the norm after it, and of the matrix into the text model's width."""

PUBLISHED = {
  "smollm2-135m": 134_515_008,
  "qwen2.5-0.5b": 494_032_768,
  "qwen2.5-1.5b": 1_543_714_304,
  "qwen2.5-7b": 7_615_616_512,
  "qwen3-0.6b": 596_049_920,
  "qwen3-1.7b": 1_720_574_976,
  "qwen3-4b": 4_022_468_096,
  "qwen3-8b": 8_190_735_360,
  "qwen3-32b": 32_762_123_264,
  "gemma3-270m": 268_098_176,
  "gemma3-1b": 999_885_952,
  "gemma3-4b": 4_300_079_472 - VISION[2560],
  "gemma3-12b": 12_187_325_040 - VISION[3840],
  "gemma3-27b": 27_432_406_640 - VISION[5376],
  "llama3.2-1b": 1_235_814_400,
  "llama3.1-8b": 8_030_261_248,
  "llama3.1-70b": 70_553_706_496,
}
"""Elements of all tensors of the safetensors files."""


def build(name, names=("logprobs", "entropies"), vocabulary=40, **fields):
  return sizes.build(sizes.get_config() | {"architecture": name} | fields, vocabulary, names=names)


def count(model):
  return param_count(jax.eval_shape(lambda: nn.unbox(model.init(jax.random.key(0)))))


def published(name):
  """Counted from two models of few layers, as all layers are alike."""
  layers = sizes.ARCHITECTURES[name]["layers"]
  one, two = (count(build(name, layers=n)) for n in (1, 2))
  return one + (two - one) * (layers - 1)


@pytest.mark.parametrize("name", sizes.ARCHITECTURES)
def test_the_parameters_are_as_many_as_published(name):
  assert published(name) == PUBLISHED[name]


def test_types_come_from_the_config_and_a_critic_has_one_output():
  model = build("qwen3-8b", ("values",), dtype="bfloat16", remat="block", layers=3)
  c = model.config
  assert (c.dtype, c.remat, c.layers, c.outputs) == ("bfloat16", "block", 3, 1)
  assert build("qwen3-8b").logprobs == "recomputed"


def test_mistakes_are_one_line():
  with pytest.raises(ValueError, match="model.architecture='qwen3-9b' is not known: use qwen3-8b"):
    build("qwen3-9b")
  with pytest.raises(ValueError, match="smollm2-135m knows 49152 tokens, the task's vocabulary has 49153"):
    build("smollm2-135m", vocabulary=49153)


def test_a_bare_name_stands_in_a_file_and_on_a_command_line():
  """On the command line it takes the place of the file's model, whose sizes and checkpoint go; types stay."""
  config = configs.resolve_config({"model": {"name": "qwen3-8b", "remat": "block"}}).model
  assert (config.name, config.architecture, config.remat) == ("rl_jax.models.sizes", "qwen3-8b", "block")
  for given in ({"name": "rl_jax.models.model", "width": 8, "layers": 2}, {"name": "rl_jax.models.pretrained"}):
    file = {"model": given | {"dtype": "bfloat16"}}
    config = configs.resolve_config(file, {"model.name": "qwen3-8b", "model.lora_rank": "4"}).model
    assert (config.architecture, config.dtype, config.lora_rank, config.layers) == ("qwen3-8b", "bfloat16", 4, None)
  with pytest.raises(UserError, match="unknown config key 'model.checkpoint' in the file"):
    configs.resolve_config({"model": {"name": "qwen3-8b", "checkpoint": "x"}})
