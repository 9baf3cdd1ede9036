"""The update on batches that are no trajectories: a score model on noised samples, a dual encoder on pairs."""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array, Float, Int

from rl_jax.errors import UserError
from rl_jax.kernels.advantages import group
from rl_jax.kernels.reductions import masked_mean
from rl_jax.methods.method import Loss, Stream, Term
from rl_jax.training.sizes import Sizes
from rl_jax.training.state import ModelState
from rl_jax.training.update import Objective, Watch, make_update
from tests.training import small

ROWS, WIDTH = 32, 3


class Samples(NamedTuple):
  """Rows of a diffusion model, several of one prompt."""

  x0: Float[Array, "B D"]
  noise: Float[Array, "B D"]
  reward: Float[Array, " B"]
  group: Int[Array, " B"]


@dataclasses.dataclass(frozen=True)
class Score:
  """A linear guess of the noise in a sample; its scale is not trained."""

  def init(self, key):
    return {"matrix": 0.1 * jax.random.normal(key, (WIDTH, WIDTH)), "scale": jnp.float32(0.5)}

  def outputs(self, params, batch):
    return {"noise": (batch.x0 + params["scale"] * batch.noise) @ params["matrix"]}

  def trained(self, params):
    return params | {"scale": None}


@flax.struct.dataclass
class Pairs:
  """Row i of both sides belongs together."""

  images: Float[Array, "B D"]
  texts: Float[Array, "B D"]


@dataclasses.dataclass(frozen=True)
class Encoder:
  """A linear map of one side into a common space."""

  side: str

  def init(self, key):
    return {"matrix": 0.1 * jax.random.normal(key, (WIDTH, 2))}

  def outputs(self, params, batch):
    return {"embedding": getattr(batch, self.side) @ params["matrix"]}

  def trained(self, params):
    return params


def samples():
  keys = jax.random.split(jax.random.key(1), 3)
  x0, noise = 0.1 * jax.random.normal(keys[0], (ROWS, WIDTH)), jax.random.normal(keys[1], (ROWS, WIDTH))
  return Samples(x0, noise, jax.random.uniform(keys[2], (ROWS,)), jnp.repeat(jnp.array([7, -3, 40, 2]), ROWS // 4))


def denoise(outputs, batch, streams):
  """Error of the guess, more of it where the reward is above the group's mean (advantage-weighted regression)."""
  stream, errors = streams["score"], jnp.square(outputs["score"]["noise"] - batch.noise).mean(axis=1)
  plain = masked_mean(errors, jnp.ones(errors.shape, bool))
  return Loss({"score": Term(masked_mean(jnp.exp(stream.targets) * errors, stream.weights > 0))}, {"plain": plain})


def score_streams(batch):
  scored = jnp.ones(ROWS, bool)
  return {"score": Stream(group.dr_grpo(batch.reward, batch.group, scored), jnp.ones(ROWS))}


def pairs():
  base = jax.random.normal(jax.random.key(2), (ROWS, WIDTH))
  return Pairs(base, base[:, ::-1] + 0.1 * jax.random.normal(jax.random.key(3), (ROWS, WIDTH)))


def agree(outputs, batch, streams):
  """Both embeddings of a pair are alike, and long: a loss that is a sum over rows."""
  one, other = outputs["images"]["embedding"], outputs["texts"]["embedding"]
  every = jnp.ones(one.shape[0], bool)
  terms = {
    "apart": Term(masked_mean(jnp.square(one - other).sum(axis=1), every)),
    "short": Term(masked_mean(jnp.square(1 - jnp.square(one).sum(axis=1)), every), 0.5),
  }
  return Loss(terms, {})


CASES = {
  "samples": (samples, {"score": Score()}, denoise, score_streams),
  "pairs": (pairs, {"images": Encoder("images"), "texts": Encoder("texts")}, agree, lambda batch: {}),
}


@functools.cache
def parts(case, watch=None, **sizes):
  """(update, models, batch, streams), with plain gradient descent."""
  make, models, loss, streams_of = CASES[case]
  optimizers = {name: optax.sgd(0.1) for name in models}
  update = make_update(
    Objective(models, optimizers, loss, watch),
    Sizes(**{"epochs": 1, "minibatches_per_epoch": 1} | sizes),
    group_ids=lambda batch: batch.group,
  )
  state = {}
  for i, (name, model) in enumerate(models.items()):
    params = model.init(jax.random.key(i))
    state[name] = ModelState(params, optimizers[name].init(model.trained(params)))
  batch = make()
  return jax.jit(update), state, batch, streams_of(batch)


def updated(case, iterations=1, **options):
  """Models before and after, and the results of all iterations."""
  update, before, batch, streams = parts(case, **options)
  models, skipped, results = before, jnp.int32(0), []
  for number in range(iterations):
    results.append(update(models, skipped, batch, streams, jax.random.key(number)))
    models, skipped = results[-1].models, results[-1].skipped_in_a_row
  return before, models, results


@pytest.mark.parametrize("case", CASES)
def test_the_loss_falls_and_what_is_trained_moves(case):
  before, after, results = updated(case, 30, epochs=2, minibatches_per_epoch=4)
  terms = [{name: float(m.value) for name, m in r.metrics.items() if name.startswith("loss/")} for r in results]
  assert all(terms[-1][name] < 0.5 * terms[0][name] for name in terms[0])
  for name, model in CASES[case][1].items():
    moved = jax.tree.map(lambda a, b: np.array_equal(a, b), before[name].params, after[name].params)
    assert moved == {leaf: model.trained(before[name].params)[leaf] is None for leaf in moved}
    assert results[0].metrics[f"{name}/gradient_norm"].value > 0
  assert not any(result.metrics["skipped_updates"].sum for result in results)


def test_one_step_is_gradient_descent_by_hand():
  before, after, (result,) = updated("samples")
  batch, old = parts("samples")[2], np.asarray(before["score"].params["matrix"], np.float64)
  noisy = np.asarray(batch.x0 + 0.5 * batch.noise, np.float64)
  rewards = np.asarray(batch.reward, np.float64).reshape(4, -1)
  weights = np.exp(rewards - rewards.mean(axis=1, keepdims=True)).reshape(-1, 1)
  error = noisy @ old - np.asarray(batch.noise)
  gradient = noisy.T @ (weights * error) * 2 / (ROWS * WIDTH)
  np.testing.assert_allclose(after["score"].params["matrix"], old - 0.1 * gradient, atol=1e-6)
  np.testing.assert_allclose(result.metrics["loss/score"].value, (weights * error**2).mean(), rtol=1e-5)
  np.testing.assert_allclose(result.metrics["plain"].value, (error**2).mean(), rtol=1e-5)
  assert result.watched is None


@pytest.mark.parametrize("case", CASES)
def test_micro_batches_are_the_whole_batch(case):
  one, other = (updated(case, rows_per_microbatch=rows) for rows in (None, 8))
  small.assert_close(one[1], other[1], 1e-6)
  small.assert_close(one[2][0].metrics, other[2][0].metrics, 1e-6)


def largest_error(outputs, batch):
  return jnp.abs(outputs["score"]["noise"] - batch.noise).max(), batch.group


WATCH = Watch(largest_error, lambda parts: (parts[0].max(), parts[1].reshape(-1)))


def test_what_is_watched_is_of_the_first_minibatch_before_anything_moves():
  before, _, (result,) = updated("samples", watch=WATCH, epochs=2, minibatches_per_epoch=2, rows_per_microbatch=4)
  batch = parts("samples")[2]
  found, rows = result.watched
  errors = jnp.abs(Score().outputs(before["score"].params, batch)["noise"] - batch.noise).max(axis=1)
  assert rows.shape == (ROWS // 2,) and jnp.isclose(errors, found, rtol=1e-6).any()


def test_minibatches_of_whole_groups_read_the_batchs_own_ids():
  *_, (result,) = updated("samples", watch=WATCH, minibatches_per_epoch=2, rows_per_microbatch=8, group=ROWS // 4)
  _, counts = np.unique(result.watched[1], return_counts=True)
  np.testing.assert_array_equal(counts, [ROWS // 4] * 2)


def test_averages_follow_what_is_trained():
  update, models, batch, streams = parts("samples", parameter_average=0.75)
  start = Score().trained(models["score"].params)
  with_average = {"score": models["score"].replace(average=start)}
  after = update(with_average, jnp.int32(0), batch, streams, jax.random.key(0)).models["score"]
  want = 0.75 * start["matrix"] + 0.25 * after.params["matrix"]
  np.testing.assert_allclose(after.average["matrix"], want, atol=1e-6)
  assert after.average["scale"] is None


def test_a_batch_with_a_fault_moves_nothing():
  update, models, batch, streams = parts("samples")
  result = update(models, jnp.int32(2), batch._replace(x0=batch.x0.at[5].set(jnp.nan)), streams, jax.random.key(0))
  small.assert_same(result.models, models)
  assert result.skipped_in_a_row == 3 and result.metrics["skipped_updates"].value == 1


def test_rows_that_do_not_divide_are_refused_when_it_is_traced():
  update, models, batch, streams = parts("pairs", minibatches_per_epoch=5)
  with pytest.raises(UserError, match=r"rows of an iteration \(32\) is not a multiple of minibatches_per_epoch"):
    update(models, jnp.int32(0), batch, streams, jax.random.key(0))
