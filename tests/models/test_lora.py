"""Adapters: their equation and gradients, what they leave alone and what is never computed, and their merging."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.models import huggingface, lora, pretrained
from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.export import export
from rl_jax.models.loading import load
from rl_jax.models.model import Model, merge
from rl_jax.training import mesh
from tests.models import tiny

SIZES = dict(width=8, layers=1, heads=2, key_value_heads=1, head_width=4, feed_forward=12)
TOKENS = np.array([[3, 1, 4, 1, 2], [2, 0, 2, 3, 4]])
ARGS = (TOKENS, np.arange(5) * np.ones((2, 1), int), np.ones((2, 5), bool))


def make(kind: str = "language", **fields) -> Model:
  fields = SIZES | {"lora_rank": 3, "lora_alpha": 6.0} | fields
  names = {"language": ("logprobs", "entropies"), "value": ("values",)}[kind]
  return Model(TransformerConfig(5, 5 if kind == "language" else 1, **fields), names)


@functools.cache
def start(model: Model, b: float = 0.0):
  """Parameters as they are drawn; with `b`, both matrices of an adapter are away from their start."""
  params = jax.jit(lambda key: nn.unbox(model.init(key)))(jax.random.key(3))
  leaves = jax.tree_util.tree_leaves_with_path(params)
  noise = {path: b * np.random.default_rng(i).normal(size=x.shape) for i, (path, x) in enumerate(leaves)}
  is_adapter = lambda path: "_lora_" in path[-1].key
  return jax.tree_util.tree_map_with_path(lambda path, x: x + noise[path] * is_adapter(path), params)


def loss(model: Model, part, params):
  return jnp.sin(model.run(merge(part, params), *ARGS)[0]).sum()


@functools.partial(jax.jit, static_argnums=0)
def run(model: Model, params):
  return model.run(params, *ARGS)[0]


@functools.partial(jax.jit, static_argnums=0)
def gradient(model: Model, params):
  """Of `loss` by the trained parameters."""
  return jax.grad(functools.partial(loss, model))(model.trained(params), params)


def flat(tree) -> dict[str, np.ndarray]:
  """Leaves by path, without those that are None."""
  return {"/".join(key.key for key in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def test_by_hand():
  x, weight = jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 2.0], [0.0, 1.0]])
  a, b = jnp.array([[1.0], [1.0]]), jnp.array([[3.0, -4.0]])
  # x W = [1, 4]; x A = 3; 2 * 3 * [3, -4] = [18, -24]
  np.testing.assert_array_equal(lora.adapted(x, weight, a, b, 2.0), [[19.0, -20.0]])
  np.testing.assert_array_equal(lora.merged_matrix(weight, a, b, 2.0), [[7.0, -6.0], [6.0, -7.0]])


def test_gradients_of_one_product_are_those_of_float64_algebra():
  rng = np.random.default_rng(0)
  x, weight, a, b, dy = (rng.normal(size=s) for s in ((2, 3, 4), (4, 6), (4, 2), (2, 6), (2, 3, 6)))
  small = lambda arrays: [jnp.asarray(array, jnp.float32) for array in arrays]
  _, pull = jax.vjp(lambda *args: lora.adapted(*args, 0.5), *small((x, weight, a, b)))
  dx, dweight, da, db = pull(*small([dy]))
  rows, out = x.reshape(-1, 4), dy.reshape(-1, 6)
  np.testing.assert_allclose(dx, dy @ (weight + 0.5 * a @ b).T, atol=1e-5)
  np.testing.assert_allclose(da, 0.5 * rows.T @ out @ b.T, atol=1e-5)
  np.testing.assert_allclose(db, 0.5 * (rows @ a).T @ out, atol=1e-5)
  assert not np.any(dweight)


@pytest.mark.parametrize("remat", [pytest.param("none", marks=pytest.mark.slow), "block"])
def test_gradients_of_a_model_are_those_of_the_merged_matrices(remat):
  """By the chain rule, with G the gradient of W + s A B: s G B^T for A, s A^T G for B, to 1e-5."""
  model = make(remat=remat, layers=2)
  params = start(model, 0.1)
  found = flat(gradient(model, params))
  of_merged = flat(gradient(model.base, model.merged(params)))
  matrices = flat(params)
  names = [name for name in matrices if name + lora.A in matrices]
  assert len(names) == 2 * 7 and len(found) == 2 * 14
  for name in names:
    whole, a, b = of_merged[name], matrices[name + lora.A], matrices[name + lora.B]
    np.testing.assert_allclose(found[name + lora.A], 2 * whole @ b.T, rtol=1e-5, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(found[name + lora.B], 2 * a.T @ whole, rtol=1e-5, atol=1e-5, err_msg=name)


def test_training_starts_at_the_base_and_the_base_does_not_depend_on_adapters():
  model = make(qkv_bias=True, qk_norm=True)
  params = start(model)
  jax.tree.map(np.testing.assert_array_equal, lora.without(params), start(model.base))
  np.testing.assert_array_equal(run(model, params), run(model.base, lora.without(params)))
  moved = start(model, 0.3)
  assert np.abs(run(model, moved) - run(model, params)).max() > 0.1
  np.testing.assert_array_equal(run(model.base, lora.without(moved)), run(model, params))


def test_a_starts_with_deviation_one_over_the_root_of_its_inputs_and_b_with_zeros():
  params = flat(start(make(lora_rank=64)))
  for name, inputs in (("query", 8), ("output", 8), ("key", 8)):
    a = params[f"layer_0/attention/{name}_lora_a"]
    assert a.shape == (inputs, 64)
    np.testing.assert_allclose(a.std(), inputs**-0.5, rtol=0.15)
  assert params["layer_0/feed_forward/down_lora_a"].shape == (12, 64)
  np.testing.assert_allclose(params["layer_0/feed_forward/down_lora_a"].std(), 12**-0.5, rtol=0.15)
  assert not any(np.any(leaf) for name, leaf in params.items() if name.endswith(lora.B))


def test_merged_parameters_are_those_of_the_base_with_the_same_outputs_for_every_seed():
  model = make()
  one, two = start(model, 0.3), start(model, 0.1)
  merged = model.merged(one)
  assert jax.tree.structure(merged) == jax.tree.structure(start(model.base))
  np.testing.assert_allclose(run(model.base, merged), run(model, one), atol=1e-5)
  stacked = model.merged(jax.tree.map(lambda *leaves: jnp.stack(leaves), one, two))
  for i, params in enumerate((one, two)):
    jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, atol=1e-6), stacked, model.merged(params))


@pytest.mark.parametrize("kind", ["language", "value"])
def test_only_adapters_of_the_targets_are_trained_and_the_head_of_a_value_model(kind):
  model = make(kind, lora_targets=("query", "down"))
  params = start(model)
  trained = flat(model.trained(params))
  adapters = {
    f"layer_0/{matrix}{part}" for matrix in ("attention/query", "feed_forward/down") for part in (lora.A, lora.B)
  }
  assert set(trained) == adapters | ({"output"} if kind == "value" else set())
  assert set(flat(params)) == adapters | set(flat(start(model.base)))
  assert set(flat(gradient(model, params))) == set(trained)
  assert model.base.trained(params) is params


@pytest.mark.parametrize(
  ("remat", "targets"),
  [
    ("block", lora.TARGETS),
    pytest.param("none", lora.TARGETS, marks=pytest.mark.slow),
    pytest.param("block", ("query",), marks=pytest.mark.slow),
  ],
)
def test_no_gradient_of_a_frozen_matrix_is_computed(remat, targets):
  """Operations of the compiled gradient: those of the whole model's less 2 per token and frozen entry of a matrix."""
  sizes = dict(layers=2, width=64, heads=4, key_value_heads=4, head_width=16, feed_forward=128)
  model = make(**sizes, lora_rank=1, lora_targets=targets, remat=remat)
  shapes = lambda m: jax.eval_shape(lambda: nn.unbox(m.init(jax.random.key(0))))
  before = jax.config.read("jax_disable_most_optimizations")
  jax.config.update("jax_disable_most_optimizations", False)
  try:
    flops = lambda m: gradient.lower(m, shapes(m)).compile().cost_analysis()["flops"]
    adapters, whole = flops(model), flops(model.base)
  finally:
    jax.config.update("jax_disable_most_optimizations", before)
  matrices = sum(x.size for name, x in flat(shapes(model.base)).items() if x.ndim == 2 and "layer" in name)
  saved = 2 * TOKENS.size * matrices
  rank_one = 3 * 2 * TOKENS.size * sum(x.size for x in jax.tree.leaves(model.trained(shapes(model))))
  assert whole - adapters > saved - 2 * rank_one > 0.7 * saved


def test_every_adapter_is_laid_over_the_mesh_as_its_matrix_is():
  boxed = jax.eval_shape(make().init, jax.random.key(0))
  specs = nn.logical_to_mesh(nn.get_partition_spec(boxed), mesh.RULES)
  layer = specs["layer_0"]["attention"] | specs["layer_0"]["feed_forward"]
  for name in lora.TARGETS:
    assert layer[name + lora.A] == jax.sharding.PartitionSpec(layer[name][0], None)
    assert layer[name + lora.B] == jax.sharding.PartitionSpec(None, layer[name][1])
  assert layer["query"] == jax.sharding.PartitionSpec("fsdp", "tensor")


@pytest.mark.parametrize("name", ["qwen2", pytest.param("smollm2", marks=pytest.mark.slow)])
def test_an_adapted_checkpoint_is_exported_as_its_merged_self(tmp_path, name):
  """Read back without adapters it gives the logits of the adapted model, to 1e-5; before, it is the checkpoint."""
  folder = tiny.GOLDENS / "tiny" / name
  section = pretrained.get_config() | {"checkpoint": str(folder), "lora_rank": 2}
  model = pretrained.build(section, vocabulary=4)
  golden = tiny.golden(folder)
  params = lora.onto(pretrained.start(section, model), start(model, 0.05))
  export(model, params, tmp_path / "out", context=64, shard_bytes=10_000)
  source = huggingface.open_folder(tmp_path / "out")
  read = Model(source.config)
  found, want = tiny.logits(read, load(source, read), golden), tiny.logits(model, params, golden)
  np.testing.assert_allclose(found, want, atol=1e-5)
  assert np.abs(want - golden["logits"]).max() > 1e-2
  np.testing.assert_allclose(tiny.logits(model.base, lora.without(params), golden), golden["logits"], atol=1e-5)


def test_bf16_parameters_are_merged_in_float32():
  weight = jnp.full((2, 2), 256.0, jnp.bfloat16)
  a, b = jnp.full((2, 1), 1.5, jnp.bfloat16), jnp.full((1, 2), 1.0, jnp.bfloat16)
  merged = lora.merged_matrix(weight, a, b, 1.0)
  assert merged.dtype == jnp.bfloat16 and np.all(merged == 258.0)  # 257.5 rounded once


@pytest.mark.parametrize(
  ("fields", "said"),
  [
    ({"lora_rank": -1}, "model.lora_rank is at least 0 .* and model.lora_alpha above 0, got -1 and 6.0"),
    ({"lora_alpha": 0.0}, "model.lora_alpha above 0, got 3 and 0.0"),
    ({"lora_alpha": float("nan")}, "model.lora_alpha above 0, got 3 and nan"),
    ({"lora_targets": ("query", "embedding")}, "model.lora_targets are names out of query, key, .* got 'embedding'"),
    ({"lora_targets": ()}, "model.lora_rank=3 but model.lora_targets is empty"),
  ],
)
def test_what_makes_no_sense_is_one_line(fields, said):
  with pytest.raises(ValueError, match=said) as error:
    make(**fields)
  assert "\n" not in str(error.value)


def test_a_start_of_another_model_is_refused():
  params = start(make())
  deeper = lora.without(params) | {"layer_1": lora.without(params)["layer_0"]}
  with pytest.raises(ValueError):
    lora.onto(deeper, params)
