"""The section `model` of a config for a checkpoint."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.configuration import configs
from rl_jax.models import pretrained
from rl_jax.models.errors import ModelFileError
from rl_jax.models.outputs import OF_VOCABULARY
from tests.models import tiny

TINY = tiny.GOLDENS / "tiny" / "smollm2"


def section(**fields):
  config = configs.resolve_config({"model": {"name": "rl_jax.models.pretrained", "checkpoint": str(TINY)} | fields})
  return config.model


def test_sizes_come_from_the_checkpoint_and_types_from_the_config():
  model = pretrained.build(section(dtype="bfloat16", remat="block"), vocabulary=33, temperature=0.5)
  c = model.config
  assert (c.vocabulary, c.outputs, c.width, c.tied_embeddings) == (40, 40, 16, True)
  assert (c.dtype, c.param_dtype, c.remat, model.temperature) == ("bfloat16", "float32", "block", 0.5)


def test_start_gives_the_parameters_of_the_checkpoint():
  config, golden = section(), tiny.golden(TINY)
  model = pretrained.build(config, vocabulary=40)
  params = pretrained.start(config, model)
  np.testing.assert_allclose(tiny.logits(model, params, golden), golden["logits"], atol=1e-5)
  halves = section(param_dtype="bfloat16")
  params = pretrained.start(halves, pretrained.build(halves, vocabulary=40))
  assert {str(x.dtype) for x in jax.tree.leaves(params)} == {"bfloat16"}


def test_a_critic_has_the_trunk_of_the_policy():
  policy, critic = (pretrained.build(section(), 40, names=names) for names in (OF_VOCABULARY, ("values",)))
  fresh = {kind: nn.unbox(model.init(jax.random.key(0))) for kind, model in (("policy", policy), ("critic", critic))}
  shapes = {kind: jax.tree.map(jnp.shape, params) for kind, params in fresh.items()}
  assert shapes["critic"].pop("output") == (16, 1)
  assert shapes["policy"] == shapes["critic"]


def test_a_vocabulary_larger_than_the_checkpoint_is_refused():
  with pytest.raises(ModelFileError, match="smollm2 knows 40 tokens, the task's vocabulary has 41: use the tokenizer"):
    pretrained.build(section(), vocabulary=41)
