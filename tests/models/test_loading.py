"""What of a checkpoint is read, by whom, and in which type."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys

import flax.linen as nn
import jax
import numpy as np
import pytest

from rl_jax.models import huggingface
from rl_jax.models.errors import ModelFileError
from rl_jax.models.loading import load
from rl_jax.models.model import Model
from tests import commands, compilation
from tests.models import gguf_files, tiny

QWEN3 = huggingface.open_folder(tiny.GOLDENS / "tiny" / "qwen3")


@pytest.mark.parametrize("form", ["folder", "gguf"])
def test_devices_hold_their_share_and_each_part_is_read_once(tmp_path, tmp_path_factory, form):
  path = QWEN3.path
  if form == "gguf":
    path = tmp_path / "m.gguf"
    gguf_files.write(path, huggingface.open_folder(tiny.GOLDENS / "tiny" / "llama3"))
  cache = commands.shared_cache(tmp_path_factory)
  environment = commands.environment(cache, XLA_FLAGS=compilation.devices(8))
  command = [sys.executable, "-m", "tests.models.load_on_eight_devices", str(path)]
  done = subprocess.run(command, cwd=commands.ROOT, env=environment, capture_output=True, text=True, timeout=120)
  assert done.returncode == 0, done.stderr
  out = json.loads(done.stdout)
  assert out["devices"] == 8
  for name, seen in out["sharded"].items():
    parts = 4 if "scale" not in name else 1
    assert seen["on_a_device"] * parts == seen["size"], name
    assert seen["reads"] == [seen["on_a_device"]] * parts, name
    assert seen["equal"], name
  # One tensor is done before the next is begun.
  assert len([tensor for tensor, _ in itertools.groupby(out["order"])]) == len(out["sharded"])


def test_parameters_look_like_those_of_init_in_the_type_asked_for():
  model = Model(dataclasses.replace(QWEN3.config, param_dtype="bfloat16"))
  fresh = nn.unbox(model.init(jax.random.key(0)))
  for params, dtype in ((load(QWEN3, model), "bfloat16"), (load(QWEN3, model, dtype="float32"), "float32")):
    assert jax.tree.structure(params) == jax.tree.structure(fresh)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a.shape, b.shape), params, fresh)
    assert {str(x.dtype) for x in jax.tree.leaves(params)} == {dtype}


@pytest.mark.parametrize(
  ("fields", "said"),
  [
    ({"qkv_bias": True}, "has no tensor 'model.layers.0.self_attn.k_proj.bias', for 'layer_0/attention/key_bias'"),
    ({"outputs": 1}, r"output has shape \(16, 40\), that of the model is \(16, 1\)"),
    ({"layers": 3}, "has no tensor 'model.layers.2"),
  ],
)
def test_a_model_of_another_shape_is_refused(fields, said):
  with pytest.raises(ModelFileError, match=said):
    load(QWEN3, Model(dataclasses.replace(QWEN3.config, **fields)))
