"""The update against a slow reference, and what must not change it: micro-batches, masked rows, faults."""

from __future__ import annotations

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.kernels.reductions import Mean
from rl_jax.methods.method import Term
from rl_jax.training import iteration
from rl_jax.training.describing import describe
from rl_jax.training.mismatch import mismatch
from rl_jax.training.objectives import method_objective, update_of_method
from rl_jax.training.sizes import sizes_of
from rl_jax.training.update import _models_with_weight, _order, _Rows, gradient
from rl_jax.trajectories import POLICY
from tests.methods import batches
from tests.training import small

WHOLE = ("optimizer.parameter_average=0.9", "method.kl_coefficient=0.5")
"""Overrides of PPO, so that policy, critic, a frozen reference and averages are all there."""


@functools.cache
def _learn(experiment_key):
  experiment = small.make_experiment(*experiment_key[1:], method=experiment_key[0])
  seed = small.make_seed(experiment)
  learn = jax.jit(functools.partial(small.learn, experiment))
  return experiment, seed, small.make_trajectories(experiment, seed), learn


def learned(*overrides: str, method: str = "grpo"):
  """Experiment, seed, fixed batch, and the learning step that many tests share."""
  return _learn((method, *overrides))


def streams_of(experiment, trajectories):
  """As one program: quicker to make than one for each operation."""
  return jax.jit(experiment.method.signal)(trajectories, 0).streams


def gradient_of(experiment, params, trajectories):
  """Of the method's loss, for the whole batch as one minibatch."""
  rows = _Rows(trajectories, streams_of(experiment, trajectories))
  run = lambda params: gradient(method_objective(experiment), sizes_of(experiment.config), params, rows)
  return jax.jit(run)(params)


def _numpy_grpo(logprobs, trajectories, clip=0.2) -> float:
  """Loss of GRPO in float64, row by row, from its equations; old logprobs are in the batch."""
  rewards, groups = np.asarray(trajectories.rewards, np.float64), np.asarray(trajectories.group_ids)
  mask, old = np.asarray(trajectories.loss_mask), np.asarray(trajectories.old_logprobs, np.float64)
  total = 0.0
  for row in range(len(rewards)):
    group = rewards[groups == groups[row]]
    advantage = (rewards[row] - group.mean()) / (group.std(ddof=1) + 1e-6)
    losses = []
    for t in np.flatnonzero(mask[row]):
      ratio = np.exp(logprobs[row, t] - old[row, t])
      losses.append(-min(ratio * advantage, np.clip(ratio, 1 - clip, 1 + clip) * advantage))
    total += np.mean(losses)
  return total / len(rewards)


def _numpy_logprobs(params, trajectories, config) -> np.ndarray:
  """The transformer of one layer and one head in float64, token by token."""
  p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
  width = config.model.width
  norm = lambda x, scale: x / np.sqrt((x * x).mean() + 1e-6) * scale
  layer = p["layer_0"]

  def turn(x, position):
    half = len(x) // 2
    angle = position * 10_000.0 ** (-np.arange(half) / half)
    a, b = x[:half], x[half:]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)])

  tokens, mask = np.asarray(trajectories.tokens), np.asarray(trajectories.attention_mask)
  found = np.zeros(tokens.shape)
  for row in range(len(tokens)):
    keys, values, logits = [], [], None
    for position, t in enumerate(np.flatnonzero(mask[row])):
      if logits is not None:
        found[row, t] = logits[tokens[row, t]] - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
      x = p["embedding"][tokens[row, t]]
      h, attention = norm(x, layer["attention_norm"]["scale"]), layer["attention"]
      keys.append(turn(h @ attention["key"], position))
      values.append(h @ attention["value"])
      scores = np.array([turn(h @ attention["query"], position) @ k for k in keys]) / np.sqrt(width)
      weights = np.exp(scores - scores.max())
      x = x + (weights / weights.sum()) @ np.array(values) @ attention["output"]
      h, forward = norm(x, layer["feed_forward_norm"]["scale"]), layer["feed_forward"]
      gate = h @ forward["gate"]
      x = x + (gate / (1 + np.exp(-gate)) * (h @ forward["up"])) @ forward["down"]
      logits = norm(x, p["final_norm"]["scale"]) @ p["output"]
  return found


def test_gradient_of_grpo_is_that_of_slow_float64_code():
  """Loss to 1e-6; the gradient along random directions to 1e-5, by central differences in float64."""
  experiment, seed, trajectories, _ = learned()
  params = seed.models["policy"].params
  trajectories = trajectories.replace(
    old_logprobs=trajectories.old_logprobs + 0.15 * jnp.cos(3.0 * trajectories.tokens)
  )
  (loss, _), grads = gradient_of(experiment, {"policy": params}, trajectories)
  value = lambda p: _numpy_grpo(_numpy_logprobs(p, trajectories, experiment.config), trajectories)
  assert abs(float(loss) - value(params)) < 1e-6
  rng = np.random.default_rng(1)
  for _ in range(2):
    direction = jax.tree.map(lambda x: rng.normal(size=x.shape), params)
    moved = lambda step, d=direction: jax.tree.map(lambda x, y: np.asarray(x, np.float64) + step * y, params, d)
    expected = (value(moved(1e-6)) - value(moved(-1e-6))) / 2e-6
    found = sum(np.vdot(g, d) for g, d in zip(jax.tree.leaves(grads), jax.tree.leaves(direction), strict=True))
    assert abs(found - expected) < 1e-5 * max(1, abs(expected))


def test_one_update_is_adamw_on_the_clipped_gradient():
  """Step, decay and moments of the first update by hand, parameters to 1e-6."""
  experiment, seed, trajectories, learn = learned(
    "optimizer.max_gradient_norm=0.01", "optimizer.weight_decay=0.1", "optimizer.warmup_updates=0"
  )
  new, metrics = learn(seed, trajectories, 0)
  before, after = seed.models["policy"].params, new.models["policy"].params
  _, grads = gradient_of(experiment, {"policy": before}, trajectories)
  grads, old, found = small.leaves(grads["policy"]), small.leaves(before), small.leaves(after)
  norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in grads.values()))
  assert norm > 0.01
  for name, g in grads.items():
    g = g * (0.01 / norm)
    decayed = 0.0 if "scale" in name or "embedding" in name else 0.1
    expected = old[name] - 1e-3 * (g / (np.abs(g) + 1e-8) + decayed * old[name])
    settled = np.abs(g) > 1e-6  # Adam's first step is the sign of the gradient: rounding rules where that is 0
    np.testing.assert_allclose(found[name][settled], expected[settled], atol=1e-6)
  np.testing.assert_allclose(metrics["gradient_norm"].value, norm, rtol=1e-5)


@pytest.mark.parametrize(
  "aggregation",
  ["sequence_mean_token_mean", *(pytest.param(x, marks=pytest.mark.slow) for x in ("sequence_mean_constant", "ppo"))],
)
def test_micro_batches_are_the_whole_batch(aggregation):
  """Losses and metrics to 1e-6, gradients to 2e-6 (float32 sums in another order)."""
  method = "ppo" if aggregation == "ppo" else "grpo"
  options = [] if method == "ppo" else [f"method.aggregation={aggregation}", "method.entropy_coefficient=0.01"]
  found = []
  for rows in (None, 2):
    experiment = small.make_experiment(*options, f"rows_per_microbatch={rows}", method=method)
    seed = small.make_seed(experiment)
    trajectories = small.make_trajectories(experiment, seed)
    trajectories = trajectories.replace(
      old_logprobs=trajectories.old_logprobs - 0.3 * jnp.sin(1.0 * trajectories.tokens)
    )
    trajectories = jax.jit(lambda s, t, e=experiment: iteration.score(e, s, t, e.models))(seed, trajectories)
    params = {name: seed.models[name].params for name in experiment.optimizers}
    (loss, parts), grads = gradient_of(experiment, params, trajectories)
    means = {name: mean.value for name, mean in (parts.terms | parts.metrics).items()}
    found.append(((loss, means, parts.watched.kl_to_behaviour.value, parts.watched.ratio_error), grads))
  (whole, whole_grads), (micro, micro_grads) = found
  assert float(whole[-1]) > 0.1
  small.assert_close(micro, whole, 1e-6)
  small.assert_close(micro_grads, whole_grads, 2e-6)


def test_every_row_is_seen_once_an_epoch_in_an_order_of_its_own():
  key = jax.random.key(3)
  order = np.asarray(_order(key, 8, 3, 2)).reshape(3, 8)
  for epoch in order:
    assert sorted(epoch) == list(range(8))
  assert len({tuple(epoch) for epoch in order}) == 3
  longer = np.asarray(_order(key, 8, 4, 4)).reshape(4, 8)
  np.testing.assert_array_equal(longer[:3], order)  # of the key and the epoch alone


def test_minibatches_of_all_epochs_are_taken():
  """With plain gradient steps of rows that stand alone, the sum of the losses shows each row as often as epochs."""
  experiment, seed, trajectories, learn = learned(
    "epochs=2",
    "minibatches_per_epoch=4",
    "minibatches_of=rows",
    "learning_rate=0.0",
    "method.aggregation=token_mean",
    "method.clip=none",
  )
  _, metrics = learn(seed, trajectories, 0)
  # learning rate 0: the weights of the policy's loss add up to all trained tokens of both epochs
  assert float(metrics["loss/policy"].weight) == 2 * float(trajectories.trained.sum())
  advantages = streams_of(experiment, trajectories)["policy"].targets
  np.testing.assert_allclose(metrics["loss/policy"].sum, -2 * advantages.sum(), atol=1e-4)


def test_clipping_begins_after_the_first_minibatch():
  _, seed, trajectories, learn = learned(
    "epochs=2", "minibatches_per_epoch=2", "learning_rate=0.05", "optimizer.warmup_updates=0"
  )
  _, metrics = learn(seed, trajectories, 0)
  assert float(metrics["ratio_error"].value) < 1e-5  # of the first minibatch alone
  assert float(metrics["clip_fraction"].value) > 0.02
  assert float(metrics["kl_to_behaviour"].value) < 1e-7


@pytest.mark.parametrize("fault", ["loss", "gradient"])
def test_nothing_moves_on_a_fault_and_it_is_counted(fault):
  """Parameters, optimisers and averages of all models stay as they are, bit for bit; then training goes on."""
  experiment, seed, trajectories, learn = learned(*WHOLE, method="ppo")
  if fault == "loss":
    broken = trajectories.replace(rewards=trajectories.rewards.at[3].set(jnp.nan))
  else:
    params = seed.models["critic"].params
    output = params["output"].at[0, 0].set(3e38)  # finite value, infinite gradient
    seed = seed.replace(
      models=seed.models | {"critic": seed.models["critic"].replace(params=params | {"output": output})}
    )
    broken = trajectories
  new, metrics = learn(seed, broken, 0)
  small.assert_same(new.models, seed.models)
  assert float(metrics["skipped_updates"].value) == 1 and int(new.skipped_in_a_row) == 1
  again, _ = learn(new, broken, 1)
  assert int(again.skipped_in_a_row) == 2
  if fault == "loss":
    after, metrics = learn(again, trajectories, 2)
    assert int(after.skipped_in_a_row) == 0 and float(metrics["skipped_updates"].value) == 0
    expected, _ = learn(seed, trajectories, 2)
    small.assert_same(after.models, expected.models)


def test_a_model_whose_terms_weigh_nothing_takes_no_step_of_its_momentum():
  """No answer has ended: the critic stays to the bit, with its moments, while the policy goes on; then it learns on."""
  overrides = ("method.critic_init_from=policy", "method.staggered=False", "learning_rate=0.01")
  _, seed, trajectories, learn = learned(*overrides, method="tppo")
  trajectories = trajectories.with_extras(response_mask=trajectories.loss_mask)
  none = jnp.zeros(len(trajectories.tokens), bool)
  open_ended = trajectories.replace(unfinished=~none, reward_mask=none, verified=none)
  warm, _ = learn(seed, trajectories, 0)
  assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(warm.models["critic"].optimizer)) > 0
  after, metrics = learn(warm, open_ended, 1)
  small.assert_same(after.models["critic"], warm.models["critic"])
  assert float(metrics["skipped_updates"].value) == 0 and float(metrics["loss/value"].weight) == 0
  moved = lambda new, old: max(
    float(jnp.abs(a - b).max()) for a, b in zip(jax.tree.leaves(new.params), jax.tree.leaves(old.params), strict=True)
  )
  assert moved(after.models["policy"], warm.models["policy"]) > 1e-6
  later, _ = learn(after, trajectories, 2)
  assert moved(later.models["critic"], after.models["critic"]) > 1e-6


def test_models_with_weight_by_hand():
  """A term weighs for the model that it names, or for all; a model without any term has none."""
  term = lambda weight, trains=None: Term(Mean(jnp.float32(1.0), jnp.float32(weight)), trains=trains)
  weighed = lambda **terms: _models_with_weight(types.SimpleNamespace(models=("policy", "critic")), terms)
  assert weighed(a=term(2, "policy"), b=term(0, "critic")) == {"policy": True, "critic": False}
  assert weighed(a=term(0, "policy"), b=term(3)) == {"policy": True, "critic": True}
  assert weighed(a=term(2, "policy")) == {"policy": True, "critic": False}


def test_averages_follow_the_parameters():
  """average <- decay average + (1 - decay) parameters, after each update."""
  _, seed, trajectories, learn = learned(*WHOLE, method="ppo")
  for number in range(2):
    new, _ = learn(seed, trajectories, number)
    for name in ("policy", "critic"):
      old, after = seed.models[name], new.models[name]
      expected = jax.tree.map(lambda a, p: 0.9 * a + 0.1 * p, old.average, after.params)
      small.assert_close(after.average, expected, 1e-6)
      moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), after.average, old.average)
      assert max(jax.tree.leaves(moved)) > 1e-6
    seed = new


def test_a_frozen_reference_has_no_optimiser_and_stays():
  experiment, seed, trajectories, learn = learned(*WHOLE, method="ppo")
  assert set(experiment.optimizers) == {"policy", "critic"}
  assert seed.models["reference"].optimizer is None and seed.models["reference"].average is None
  small.assert_same(seed.models["reference"].params, seed.models["policy"].params)
  new, metrics = learn(seed, trajectories, 0)
  assert abs(float(metrics["kl_to_reference"].value)) < 1e-7  # the same parameters still
  new, metrics = learn(new, trajectories, 1)
  small.assert_same(new.models["reference"], seed.models["reference"])
  assert float(metrics["kl_to_reference"].value) > 1e-8


def test_finding_3_updated_parameters_that_are_not_finite_are_left_out_with_moments_and_averages():
  """Loss and gradient are finite; the step is not, or it leads to where nothing can be computed any more."""
  _, seed, trajectories, learn = learned(*WHOLE, "learning_rate=1e38", "optimizer.warmup_updates=0", method="ppo")
  new, metrics = learn(seed, trajectories, 0)
  assert np.isfinite(metrics["gradient_norm"].value) and not np.isfinite(metrics["parameter_norm"].value)
  assert float(metrics["skipped_updates"].value) == 1 and int(new.skipped_in_a_row) == 1
  small.assert_same(new.models, seed.models)


@pytest.mark.parametrize("method", [pytest.param("grpo", marks=pytest.mark.slow), "ppo"])
def test_rows_that_only_fill_add_nothing_whatever_they_hold(method):
  """Eight rows, of which four hold NaN and garbage, train as the four others alone: parameters to 1e-6."""
  experiment, seed, trajectories, learn = learned(*(WHOLE if method == "ppo" else ()), method=method)
  filled = trajectories.replace(row_mask=jnp.arange(8) < 4, reward_mask=jnp.arange(8) < 4)
  bad = lambda x: x.at[4:].set(jnp.nan) if jnp.issubdtype(x.dtype, jnp.floating) else x
  filled = jax.tree.map(bad, filled)
  filled = filled.replace(tokens=filled.tokens.at[4:].set(2))
  one, metrics_one = learn(seed, filled, 0)
  alone, metrics_alone = learn(seed, trajectories.rows(jnp.arange(4)), 0)
  small.assert_close(one.models, alone.models, 1e-6)
  assert int(one.skipped_in_a_row) == 0
  for name, mean in metrics_one.items():
    # The ratio's error is itself a rounding error.
    tolerance = 1e-5 if name == "ratio_error" else 1e-6
    np.testing.assert_allclose(mean.value, metrics_alone[name].value, rtol=1e-5, atol=tolerance, err_msg=name)
  describe_rows = jax.jit(lambda t: describe(experiment.task, t))
  described = describe_rows(filled)
  for name, mean in describe_rows(trajectories.rows(jnp.arange(4))).items():
    np.testing.assert_allclose(described[name].value, mean.value, rtol=1e-6, err_msg=name)


def test_a_batch_that_does_not_divide_is_refused_when_it_is_traced():
  experiment = small.make_experiment("minibatches_per_epoch=4")
  seed = small.make_seed(experiment)
  trajectories = small.make_trajectories(experiment, seed).rows(jnp.arange(6))
  with pytest.raises(UserError, match=r"rows of an iteration \(6\) is not a multiple of minibatches_per_epoch \(4\)"):
    update = update_of_method(experiment)
    jax.eval_shape(lambda: update(seed.models, seed.skipped_in_a_row, trajectories, {}, jax.random.key(0)))


def test_the_mismatch_is_relative_to_a_large_logprob():
  every, sources = np.ones((1, 3), bool), np.full((1, 3), POLICY)
  batch = batches.empty(1, 3, 0).replace(loss_mask=every, row_mask=every[:, 0], source_ids=sources)
  old = np.array([[-0.5, -8.0, -2.0]], np.float32)
  batch, of = batch.replace(old_logprobs=old, behaviour_logprobs=old), jax.jit(mismatch)
  found = of(old + np.array([[1e-5, 4e-5, 0.0]], np.float32), batch)
  np.testing.assert_allclose(found.ratio_error, 1e-5, rtol=0.05)
  found = of(old + np.array([[0.0, 4e-4, 0.0]], np.float32), batch)
  np.testing.assert_allclose(found.ratio_error, 5e-5, rtol=0.05)
