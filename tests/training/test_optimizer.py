"""Schedules at hand-computed steps, the weight-decay mask, clipping."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.training.errors import TrainingError
from rl_jax.training.optimizer import decay_mask, make_optimizer, schedule
from tests.training import small


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
  with pytest.raises(TrainingError, match="one of constant, linear, cosine, got 'step'"):
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
  with pytest.raises(TrainingError, match="optimizer.state_dtype is one of float32, bfloat16, float64, got 'int8'"):
    make_optimizer(section(state_dtype="int8"), lambda step: 0.1)
