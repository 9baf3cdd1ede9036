from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.flow.preference import dense_dpo, flow_dpo, frame_scores, guided_samples, majority_labels
from tests.kernels.kernel import Kernel, quick_jit
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
FIRST, SECOND = 0.05 * RNG.normal(size=(2, 2, 4))
LABELS, LENGTHS, EVERY = np.array([[1, -1, 0, 1], [0, 0, 0, 0]]), np.array([[2, 2, 2, 1]] * 2), np.ones((2, 4))
NORMALIZATIONS = ("mean", "sum", "per_segment")


def dense(first, second, labels=LABELS, **options):
  return dense_dpo(
    *(jnp.asarray(x) for x in (first, second, labels, LENGTHS)), jnp.asarray(EVERY), beta=20.0, **options
  )


def test_worked_example():
  args = jnp.array([[-0.02, 0.01, 0.03]]), jnp.array([[0.01, 0.02, -0.02]]), jnp.array([[1, 0, -1]])
  one = jnp.ones((1, 3))
  found = [dense_dpo(*args, one, one, beta=20.0, normalization=name).losses[0] for name in NORMALIZATIONS]
  np.testing.assert_allclose(found, [0.371100666, 0.183900741, 0.375374819], rtol=1e-5)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_gradient_from_velocities_against_loops(normalization):
  """One pair of clips of 3 frames, in segments of 2 and 1."""
  v, ref, x0, noise = RNG.normal(size=(4, 1, 3, 2))
  second, labels = np.array([[0.4, -0.3]]), np.array([[1, -1]])

  def reference(v):
    frames = (np.square(noise - x0 - v) - np.square(noise - x0 - ref)).mean(axis=-1)[0]
    apart = np.array([frames[:2].sum(), frames[2]]) - second[0]
    z = {"mean": (apart[0] - apart[1]) / 3, "sum": apart[0] - apart[1]}
    if normalization == "per_segment":
      return (np.log1p(np.exp(apart[0] / 2)) + np.log1p(np.exp(-apart[1]))) / 2
    return np.log1p(np.exp(z[normalization]))

  def loss(v):
    frames = frame_scores(v, jnp.asarray(ref), jnp.asarray(x0), jnp.asarray(noise), jnp.ones((1, 3)))
    first = jnp.stack([frames[:, :2].sum(axis=1), frames[:, 2]], axis=1)
    args = first, jnp.asarray(second), jnp.asarray(labels), jnp.array([[2, 1]]), jnp.ones((1, 2))
    return dense_dpo(*args, beta=1.0, normalization=normalization).losses.sum()

  with jax.enable_x64(True):
    value, gradient = quick_jit(jax.value_and_grad(loss))(v)
  np.testing.assert_allclose(value, reference(v), rtol=1e-12)
  np.testing.assert_allclose(gradient, finite_difference(reference, v), atol=1e-8)


def test_ties_add_nothing():
  """A segment without a winner has no gradient, a pair of ties alone no weight."""

  def loss(first):
    found = [dense(first, SECOND, normalization=name) for name in NORMALIZATIONS]
    return sum(x.losses.sum() for x in found), [x.weights for x in found]

  gradient, weights = quick_jit(jax.grad(loss, has_aux=True))(FIRST)
  np.testing.assert_array_equal(gradient == 0, LABELS == 0)
  np.testing.assert_array_equal(weights, [[1, 0]] * 3)


def test_at_the_reference_the_loss_is_log_2():
  for name in NORMALIZATIONS:
    np.testing.assert_allclose(dense(0 * FIRST, 0 * SECOND, normalization=name).losses, [np.log(2), 0], rtol=1e-6)


def test_clips_in_either_place_and_segments_in_any_order():
  order = np.array([2, 0, 3, 1])
  both = quick_jit(lambda a, b: (dense(a, b).losses, dense(b, a, -LABELS).losses))(FIRST, SECOND)
  np.testing.assert_allclose(*both, rtol=1e-6)
  args = (jnp.asarray(x[:, order]) for x in (FIRST, SECOND, LABELS, LENGTHS, EVERY))
  np.testing.assert_allclose(dense_dpo(*args, beta=20.0).losses, both[0], rtol=1e-5)


def test_one_segment_is_a_label_of_the_clip():
  first, second, label = jnp.array([[0.3]]), jnp.array([[-0.1]]), jnp.array([[-1]])
  one, three = jnp.ones((1, 1)), jnp.full((1, 1), 3)
  for name, divisor in (("mean", 3), ("sum", 1), ("per_segment", 3)):
    found = dense_dpo(first, second, label, three, one, beta=2.0, normalization=name).losses
    whole = flow_dpo(first[0] / divisor, second[0] / divisor, label[0], jnp.ones(1), beta=2.0).losses
    np.testing.assert_allclose(found, whole, rtol=1e-6)


def test_majority_of_labels():
  labels = jnp.array([[1, 1, -1], [1, -1, 0], [0, -1, 1]])
  mask = jnp.array([[1, 1, 1], [1, 1, 1], [1, 1, 0]])
  np.testing.assert_array_equal(majority_labels(labels, mask), [1, 0, -1])


def test_the_exact_velocity_leads_back():
  x0, noise = RNG.normal(size=(2, 3, 2, 2)).astype(np.float32)
  strength = jnp.array([0.0, 0.5, 1.0])
  run = quick_jit(lambda: guided_samples(lambda x, t: noise - x0, x0, noise, strength, steps=8))
  found = run()
  np.testing.assert_allclose(found.samples, x0, atol=1e-5)
  np.testing.assert_allclose(found.starts[2], noise[2], rtol=1e-6)
  np.testing.assert_array_equal(found.steps, [0, 4, 8])
  # Times run down to 1 / N, and rows that start late are not moved before.
  run = quick_jit(
    lambda: guided_samples(lambda x, t: t[:, None], jnp.zeros((3, 1)), jnp.zeros((3, 1)), strength, steps=4)
  )
  np.testing.assert_allclose(run().samples[:, 0], [0, -(0.5 + 0.25) / 4, -(1 + 0.75 + 0.5 + 0.25) / 4], rtol=1e-6)


def test_wrong_calls_say_what_to_do():
  with pytest.raises(ValueError, match="unknown normalization 'max'; known: mean, sum, per_segment"):
    dense(FIRST, SECOND, normalization="max")
  with pytest.raises(ValueError, match=r"expected x0 and noise \[B ...\] and strength \[B\]"):
    guided_samples(lambda x, t: x, jnp.ones((2, 3)), jnp.ones((2, 3)), jnp.ones(3))


SIZES = {"D": 2}
DRAWS = {
  "labels": lambda rng, shape: rng.integers(-1, 2, shape).astype(np.int32),
  "lengths": lambda rng, shape: rng.integers(1, 4, shape).astype(np.int32),
  "strength": lambda rng, shape: rng.uniform(0.5, 1, shape).astype(np.float32),
}
SCORES = {"first_scores": "B", "second_scores": "B", "labels": "B", "mask": "B"}


def _guided(x0, noise, strength):
  return guided_samples(lambda x, t: x * t[:, None], x0, noise, strength, steps=3)


KERNELS = [
  Kernel(
    frame_scores,
    {name: "BTD" for name in ("velocities", "ref_velocities", "x0", "noise")} | {"mask": "BT"},
    gradients=("velocities",),
    sizes=SIZES,
  ),
  Kernel(flow_dpo, SCORES, {"beta": 1.0}, gradients=("first_scores", "second_scores"), draws=DRAWS),
  *(
    Kernel(
      dense_dpo,
      {name: "BS" for name in (*SCORES, "lengths")},
      {"beta": 1.0, "normalization": normalization},
      gradients=("first_scores", "second_scores"),
      draws=DRAWS,
    )
    for normalization in ("mean", "per_segment")
  ),
  Kernel(majority_labels, {"labels": "BS", "mask": "BS"}, draws=DRAWS),
  Kernel(
    _guided, {"x0": "BD", "noise": "BD", "strength": "B"}, mask=None, public=guided_samples, draws=DRAWS, sizes=SIZES
  ),
]
