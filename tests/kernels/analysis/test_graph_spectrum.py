from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.analysis.graph_spectrum import laplacian_distance, laplacian_spectrum

PATH, CYCLE = jnp.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]), 1 - jnp.eye(3)
ALL = jnp.ones(3)


def test_path_and_cycle():
  np.testing.assert_allclose(laplacian_spectrum(PATH, ALL), [0, 1, 2], atol=1e-6)
  np.testing.assert_allclose(laplacian_spectrum(CYCLE, ALL), [0, 1.5, 1.5], atol=1e-6)
  np.testing.assert_allclose(laplacian_distance(PATH, CYCLE, ALL, ALL, k=3), np.sqrt(0.5), atol=1e-6)
  np.testing.assert_allclose(laplacian_distance(PATH, CYCLE, ALL, ALL, k=2), 0.5, atol=1e-6)


@pytest.mark.parametrize("isolated", [0.0, 1.0])
def test_a_node_without_edges(isolated):
  edges = jnp.array([[0, 0, 4], [0, 0, 0], [4, 0, 0]])
  np.testing.assert_allclose(laplacian_spectrum(edges, ALL, isolated=isolated), [0, isolated, 2], atol=1e-6)


def test_only_nodes_that_exist_count():
  # The edge to the middle node is gone with it: two isolated nodes are left.
  np.testing.assert_array_equal(laplacian_spectrum(PATH, jnp.array([1, 0, 1])), [0, 0, 0])
  pair = jnp.array([[0, jnp.nan, 2], [jnp.nan, jnp.nan, jnp.nan], [2, jnp.nan, 0]])
  np.testing.assert_allclose(laplacian_spectrum(pair, jnp.array([1, 0, 1])), [0, 2, 0], atol=1e-6)


def test_graphs_of_different_sizes():
  pair = jnp.array([[0, 1], [1, 0]])
  np.testing.assert_allclose(laplacian_distance(PATH, pair, ALL, jnp.ones(2), k=3), 1, atol=1e-6)
  assert laplacian_distance(PATH, pair, ALL, jnp.zeros(2), k=3) == 0
