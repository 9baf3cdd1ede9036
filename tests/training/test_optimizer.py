"""Schedules at hand-computed steps, the weight-decay mask, clipping, master weights."""

from __future__ import annotations

from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from rl_jax.errors import UserError
from rl_jax.training import mesh, state
from rl_jax.training.optimizer import (
  MasterState,
  decay_mask,
  make_optimizer,
  scale_of,
  schedule,
  wide_params,
  with_master_weights,
  with_scale,
)
from tests.training import small

GIVEN = optax.GradientTransformation(lambda params: (), lambda gradients, state, params: (gradients, state))
"""An optimiser whose updates are the gradients."""


def section(**changes):
  return SimpleNamespace(
    **{
      "schedule": "constant",
      "final_share": 0.1,
      "warmup_updates": 0,
      "beta1": 0.9,
      "beta2": 0.99,
      "epsilon": 1e-8,
      "weight_decay": 0.0,
      "no_weight_decay": ("scale", "embedding"),
      "max_gradient_norm": 0.0,
      "state_dtype": "float32",
      "gradient_dtype": "float32",
      **changes,
    }
  )


@pytest.mark.parametrize(
  "kind, warmup, expected",
  [
    ("constant", 0, {0: 1.0, 5: 1.0, 50: 1.0}),
    ("constant", 4, {0: 0.25, 1: 0.5, 2: 0.75, 3: 1.0, 4: 1.0, 9: 1.0}),
    ("constant", 1, {0: 1.0, 1: 1.0}),
    ("linear", 0, {0: 1.0, 5: 0.55, 10: 0.1, 12: 0.1}),
    ("linear", 2, {0: 0.5, 1: 1.0, 2: 1.0, 6: 0.55, 10: 0.1}),
    ("cosine", 0, {0: 1.0, 5: 0.55, 10: 0.1, 11: 0.1}),
    ("cosine", 2, {0: 0.5, 1: 1.0, 2: 1.0, 4: 0.1 + 0.9 * (1 + 0.5**0.5) / 2, 6: 0.55, 10: 0.1}),
  ],
)
def test_learning_rate_by_update(kind, warmup, expected):
  rate = schedule(section(schedule=kind, warmup_updates=warmup), 3e-4, 10)
  for step, share in expected.items():
    np.testing.assert_allclose(float(rate(step)), 3e-4 * share, rtol=1e-5, err_msg=f"update {step}")


def test_an_unknown_schedule_lists_the_known_ones():
  with pytest.raises(UserError, match="one of constant, linear, cosine, got 'step'"):
    schedule(section(schedule="step"), 1.0, 10)


def test_norms_and_embedding_are_not_decayed():
  experiment = small.make_experiment()
  params = small.make_seed(experiment).models["policy"].params
  mask = small.leaves(decay_mask(params, ("scale", "embedding")))
  assert {name for name, decayed in mask.items() if not decayed} == {
    name for name in mask if name.endswith("['scale']") or name.endswith("['embedding']")
  }
  assert sum(not decayed for decayed in mask.values()) == 4 and sum(map(bool, mask.values())) == 8


def test_decay_shrinks_what_the_mask_leaves_and_nothing_else():
  optimizer = make_optimizer(section(weight_decay=0.5), lambda step: 0.1)
  params = {"norm": {"scale": jnp.ones(2)}, "embedding": jnp.ones(2), "gate": jnp.full(2, 4.0)}
  updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
  np.testing.assert_allclose(updates["gate"], -0.1 * 0.5 * 4.0, rtol=1e-6)
  assert not updates["norm"]["scale"].any() and not updates["embedding"].any()


def test_gradients_are_clipped_to_their_global_norm():
  """First moments hold (1 - beta1) times the clipped gradient: of norm 5 down to 1; of norm 0.5 as it is."""
  optimizer = make_optimizer(section(max_gradient_norm=1.0), lambda step: 0.1)
  params = {"a": jnp.zeros(1), "b": jnp.zeros(1)}
  for scale, expected in ((1.0, 0.2), (0.1, 0.1)):
    grads = {"a": jnp.asarray([3.0 * scale]), "b": jnp.asarray([4.0 * scale])}
    _, state = optimizer.update(grads, optimizer.init(params), params)
    moments = state[1].mu
    np.testing.assert_allclose([moments["a"][0], moments["b"][0]], [0.3 * expected, 0.4 * expected], rtol=1e-5)


def test_clipping_can_be_off():
  optimizer = make_optimizer(section(max_gradient_norm=0.0), lambda step: 0.1)
  params = {"a": jnp.zeros(1)}
  _, state = optimizer.update({"a": jnp.asarray([30.0])}, optimizer.init(params), params)
  np.testing.assert_allclose(state[1].mu["a"], 3.0, rtol=1e-6)


def test_moments_are_kept_in_the_type_asked_for():
  params = {"w": jnp.array([1.0, 2.0])}
  gradients = {"w": jnp.array([0.5, -0.25], jnp.bfloat16)}
  states, updates = {}, {}
  for dtype in ("float32", "bfloat16"):
    optimizer = make_optimizer(section(state_dtype=dtype), lambda step: 0.1)
    state = optimizer.init(params)
    for _ in range(3):
      updates[dtype], state = optimizer.update(gradients, state, params)
    states[dtype] = {x.dtype for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)}
  assert states == {"float32": {jnp.dtype("float32")}, "bfloat16": {jnp.dtype("bfloat16")}}
  assert updates["bfloat16"]["w"].dtype == jnp.float32
  np.testing.assert_allclose(updates["bfloat16"]["w"], updates["float32"]["w"], rtol=2e-2)
  with pytest.raises(UserError, match="optimizer.state_dtype is one of float32, bfloat16, float64, got 'int8'"):
    make_optimizer(section(state_dtype="int8"), lambda step: 0.1)


def stepped(optimizer, gradients, optimizer_state, params):
  """Parameters and state after one step."""
  updates, optimizer_state = optimizer.update(gradients, optimizer_state, params)
  return optax.apply_updates(params, updates), optimizer_state


def test_master_weights_by_hand():
  """From 1 on, bfloat16 has steps of 2^-7: four updates of 2^-9 make one, the third already rounds up."""
  optimizer, params = with_master_weights(GIVEN), {"w": jnp.ones(1, jnp.bfloat16)}
  optimizer_state, alone = optimizer.init(params), params
  for count, expected in ((1, 1.0), (2, 1.0), (3, 1 + 2**-7), (4, 1 + 2**-7), (5, 1 + 2**-7), (7, 1 + 2**-6)):
    while float(optimizer_state.master["w"][0]) < 1 + count * 2**-9:
      params, optimizer_state = stepped(optimizer, {"w": jnp.full(1, 2**-9)}, optimizer_state, params)
      alone, _ = stepped(GIVEN, {"w": jnp.full(1, 2**-9)}, (), alone)
    assert params["w"].dtype == jnp.bfloat16 and params["w"].item() == expected, count
  assert alone["w"].item() == 1.0
  assert (
    optimizer_state.master["w"].dtype == jnp.float32 and wide_params(optimizer_state, params)["w"].item() == 1 + 7 / 512
  )


def test_where_float32_cannot_hold_the_update_the_master_weight_gives_way():
  """m = 1 - 2^-24 is stored as 1. Less 1, it is -2^-24, but -1 - 2^-24 has 25 bits: the stored parameter becomes 0."""
  optimizer, params = with_master_weights(GIVEN), {"w": jnp.ones(1, jnp.bfloat16)}
  before = MasterState({"w": jnp.full(1, 1 - 2**-24, jnp.float32)}, ())
  params, after = stepped(optimizer, {"w": -jnp.ones(1)}, before, params)
  assert params["w"].item() == 0 == after.master["w"].item()
  params, after = stepped(optimizer, {"w": jnp.full(1, -(2**-24))}, after, params)
  assert params["w"].item() == -(2**-24) == after.master["w"].item()


def test_the_update_goes_to_the_rounded_master_weight():
  """m = 15.90625 + 2^-20 is above the middle of 15.875 and 15.9375, but m - p = 16.90625 + 2^-20 loses its last bit."""
  optimizer, params = with_master_weights(GIVEN), {"w": -jnp.ones(1, jnp.bfloat16)}
  before = MasterState({"w": jnp.full(1, 2**-20 - 1, jnp.float32)}, ())
  params, after = stepped(optimizer, {"w": jnp.full(1, 16.90625)}, before, params)
  assert params["w"].item() == 15.9375 and after.master["w"].item() == 15.90625 + 2**-20


def random_floats(rng, dtype, count):
  """Numbers of all sizes that a type has, up to its largest."""
  info = jnp.finfo(dtype)
  exponents = rng.uniform(info.minexp - (info.nexp < 8) * info.nmant, info.maxexp - 1, count)
  return (rng.choice([-1, 1], count) * 2.0**exponents).astype(np.float32)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_a_stored_parameter_is_its_master_weight_rounded_bit_for_bit(dtype, compiled):
  """Whatever the step: to a number of any other size, a small or tiny share, or nearly to zero. By NumPy's rounding."""
  rng, count = np.random.default_rng(0), 100_000
  params = {"w": jnp.asarray(random_floats(rng, dtype, count), dtype)}
  wide = np.asarray(params["w"], np.float32)
  steps = {
    "anywhere": random_floats(rng, dtype, count) - wide,
    "a share": wide * rng.uniform(-0.01, 0.01, count),
    "any share": wide * rng.choice([-1, 1], count) * 2.0 ** rng.uniform(-30, 0, count),
    "nearly to zero": wide * (2.0 ** rng.uniform(-40, -1, count) - 1),
  }
  optimizer = with_master_weights(GIVEN)
  run = (jax.jit if compiled else lambda f: f)(lambda g, s, p: stepped(optimizer, g, s, p))
  for name, step in steps.items():
    new, after = run({"w": jnp.asarray(step, jnp.float32)}, optimizer.init(params), params)
    master = np.asarray(after.master["w"])
    with np.errstate(over="ignore"):
      rounded = master.astype(dtype)
      wanted = wide + step.astype(np.float32)
    zero = rounded.astype(np.float32) == 0  # of either sign
    assert (np.asarray(new["w"]).view(np.uint16) == rounded.view(np.uint16))[~zero].all(), name
    assert not np.asarray(new["w"], np.float32)[zero].any(), name
    # A master weight gives way by no more than a float32 number of the parameter's size rounds. CPUs flush subnormals.
    finite = np.isfinite(np.asarray(new["w"], np.float32))
    far = np.abs(master - wanted)[finite] > 2.0**-24 * np.abs(wide)[finite] + jnp.finfo(jnp.float32).tiny
    assert finite.mean() > 0.95 and not far.any(), name


RATE, STEPS = 1e-6, 100
TREE = {"query": (64, 64), "norm": {"scale": (64,)}}


def trained(dtype, gradients, scale=None, **options):
  """Weights after 100 steps at a usual rate of RL, from weights that bfloat16 holds."""
  rng = np.random.default_rng(0)
  first = jax.tree.map(lambda shape: rng.normal(0, 0.02, shape), TREE, is_leaf=lambda x: isinstance(x, tuple))
  first = params = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16).astype(dtype), first)
  optimizer = make_optimizer(section(**options), lambda step: RATE, per_member=scale is not None)
  optimizer_state = optimizer.init(params)
  optimizer_state = optimizer_state if scale is None else with_scale(optimizer_state, scale)
  step = jax.jit(lambda g, s, p: stepped(optimizer, g, s, p))
  for gradient in gradients:
    params, optimizer_state = step(gradient, optimizer_state, params)
  if scale is not None:
    assert scale_of(optimizer_state) == scale
  return first, params, optimizer_state


def moved(first, last):
  return np.mean(np.concatenate([np.ravel(a != b) for a, b in zip(*map(jax.tree.leaves, (first, last)), strict=True)]))


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1, "max_gradient_norm": 1.0}, {"scale": 3.0}])
def test_bfloat16_weights_are_those_of_a_float32_run_rounded(options):
  """After 100 random gradients. The same steps without master weights move nearly nothing."""
  rng = np.random.default_rng(1)
  draw = lambda: jax.tree.map(
    lambda shape: jnp.asarray(0.01 + rng.normal(0, 0.01, shape), jnp.bfloat16),
    TREE,
    is_leaf=lambda x: isinstance(x, tuple),
  )
  gradients = [draw() for _ in range(STEPS)]
  first, wide, _ = trained(jnp.float32, gradients, **options)
  _, with_masters, after = trained(jnp.bfloat16, gradients, master_weights="float32", **options)
  _, without, _ = trained(jnp.bfloat16, gradients, master_weights="none", **options)
  small.assert_same(after.master, wide)
  small.assert_same(with_masters, jax.tree.map(lambda x: x.astype(jnp.bfloat16), wide))
  assert moved(first, wide) == 1.0 and moved(first, with_masters) > 0.6 and moved(first, without) < 0.1


def test_float32_parameters_have_no_master_weights_and_the_same_numbers():
  gradients = [jax.tree.map(jnp.ones, TREE, is_leaf=lambda x: isinstance(x, tuple))] * 3
  runs = [
    trained(jnp.float32, gradients, weight_decay=0.1, **options)[1:]
    for options in ({}, {"master_weights": "none"}, {"master_weights": "float32"})
  ]
  for other in runs[1:]:
    assert jax.tree.structure(other) == jax.tree.structure(runs[0])
    small.assert_same(other, runs[0])


def test_only_trained_parameters_in_few_bits_have_master_weights():
  """Others have None, also where parameters are boxed with their logical axes; a copy keeps the axes."""
  box = lambda x: nn.Partitioned(x, ("width", "heads"))
  half, whole = jnp.ones((4, 2), jnp.bfloat16), jnp.ones((4, 2))
  optimizer = make_optimizer(section(master_weights="float32"), lambda step: 0.1)
  for wrap in (lambda x: x, box):
    params = {"query": wrap(half), "gate": wrap(whole), "frozen": None}
    after = optimizer.init(params)
    assert after.master["gate"] is None and after.master["frozen"] is None
    small.assert_same(nn.unbox(after.master["query"]), whole)
    small.assert_same(nn.unbox(wide_params(after, params)), {"query": whole, "gate": whole, "frozen": None})
  laid = mesh.specs(AbstractMesh((2, 2), ("fsdp", "tensor")), after, mesh.rules())
  assert laid.master["query"] == PartitionSpec("fsdp", "tensor") == laid.inner[1].mu["query"]
  unboxed = nn.unbox(params)
  new, _ = stepped(optimizer, unboxed, nn.unbox(after), unboxed)
  assert new["query"].dtype == jnp.bfloat16 and new["gate"].dtype == jnp.float32 and new["frozen"] is None
  np.testing.assert_allclose(new["gate"], 0.9, rtol=1e-6)
  np.testing.assert_allclose(new["query"], 0.9, rtol=2**-8)


def test_seeds_side_by_side_are_those_alone():
  optimizer = make_optimizer(section(master_weights="float32"), lambda step: 0.1)
  params = {"w": jnp.asarray([[1.0, -2.0], [0.5, 3.0]], jnp.bfloat16)}
  gradients = {"w": jnp.asarray([[1.0, 2.0], [-1.0, 0.5]])}
  one = lambda g, p: stepped(optimizer, g, optimizer.init(p), p)
  together = jax.jit(jax.vmap(one))(gradients, params)
  for seed in range(2):
    member = lambda tree, seed=seed: jax.tree.map(lambda x: x[seed], tree)
    small.assert_close(member(together), one(member(gradients), member(params)), 1e-6)


def test_master_weights_stay_float32_under_wider_moments():
  optimizer = make_optimizer(section(master_weights="float32", state_dtype="float64"), lambda step: 0.1)
  params = {"w": jnp.ones(2, jnp.bfloat16)}
  with jax.enable_x64(True):
    before = optimizer.init(params)
    new, after = stepped(optimizer, {"w": jnp.ones(2)}, before, params)
    assert after.inner[1].mu["w"].dtype == jnp.float64 and new["w"].dtype == jnp.bfloat16
    assert jax.tree.map(lambda x: x.dtype, after) == jax.tree.map(lambda x: x.dtype, before)


@pytest.mark.parametrize("options", [(), ("model.lora_rank=2",)])
def test_master_weights_of_a_model_are_laid_over_the_mesh_as_its_parameters(options):
  experiment = small.make_experiment("model.param_dtype=bfloat16", *options)
  boxed = jax.eval_shape(lambda: state.init_seed(experiment, 0, None)).models["policy"]
  laid = mesh.specs(AbstractMesh((2, 2), ("fsdp", "tensor")), boxed, mesh.rules())
  assert isinstance(laid.optimizer, MasterState)
  is_spec = lambda x: isinstance(x, PartitionSpec)
  specs = lambda tree: {
    jax.tree_util.keystr(k): x for k, x in jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_spec)
  }
  master, parameters = specs(laid.optimizer.master), specs(experiment.models["policy"].trained(laid.params))
  assert master == parameters and any("fsdp" in spec for spec in master.values())


def test_master_weights_are_float32_or_none():
  assert small.make_config().optimizer.master_weights == "float32"
  with pytest.raises(UserError, match="optimizer.master_weights is one of float32, none, got 'bfloat16'"):
    make_optimizer(section(master_weights="bfloat16"), lambda step: 0.1)


def test_a_config_older_than_the_field_has_no_master_weights():
  params = {"w": jnp.ones(2, jnp.bfloat16)}
  assert not isinstance(make_optimizer(section(), lambda step: 0.1).init(params), MasterState)
