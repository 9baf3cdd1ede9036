from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.layers.hadamard import hadamard_transform, random_hadamard
from tests.kernels.kernel import Kernel

X = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)


def test_against_the_matrix():
  matrix = np.array([[(-1) ** bin(i & j).count("1") for j in range(8)] for i in range(8)])
  np.testing.assert_allclose(hadamard_transform(X), X @ matrix / np.sqrt(8), rtol=1e-5, atol=1e-6)


def test_orthogonal_and_its_own_inverse():
  y = hadamard_transform(X)
  np.testing.assert_allclose((y**2).sum(axis=1), (X**2).sum(axis=1), rtol=1e-5)
  np.testing.assert_allclose(hadamard_transform(y), X, atol=1e-6)


def test_random_signs_cancel_in_a_product():
  signs = jnp.array([1, -1, -1, 1])
  left, right = random_hadamard(X, signs), random_hadamard(X[:2] + 1, signs)
  np.testing.assert_allclose(left @ right.T, X @ (X[:2] + 1).T, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(random_hadamard(left, signs, inverse=True), X, atol=1e-6)


def test_an_outlier_is_spread_over_its_block_alone():
  y = random_hadamard(jnp.zeros(8).at[5].set(6.0), jnp.ones(4))
  np.testing.assert_allclose(jnp.abs(y), [0] * 4 + [3] * 4, atol=1e-6)


def test_wrong_sizes_say_what_to_do():
  with pytest.raises(ValueError, match=r"a power of two, got \(6,\)"):
    hadamard_transform(jnp.ones(6))
  with pytest.raises(ValueError, match=r"in blocks of 4 \(signs\), got \(6,\) and \(4,\)"):
    random_hadamard(jnp.ones(6), jnp.ones(4))
  with pytest.raises(ValueError, match=r"in blocks of 0 \(signs\), got \(4,\) and \(2, 2\)"):
    random_hadamard(jnp.ones(4), jnp.ones((2, 2)))


SIZES = {"D": 4, "P": 2}

KERNELS = [
  Kernel(hadamard_transform, {"x": "BD"}, mask=None, gradients=("x",), sizes=SIZES),
  Kernel(random_hadamard, {"x": "BD", "signs": "P"}, mask=None, gradients=("x",), sizes=SIZES),
]
