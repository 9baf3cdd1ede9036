from __future__ import annotations

from collections import defaultdict

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages.graph import salt
from tests.kernels.kernel import Kernel


def walks(rows, steps, *, prompts=3):
  """Random walks over few states, so that edges repeat within and between rows, with ids of any sign and size."""
  rng = np.random.default_rng(0)
  states = rng.choice([-7, 0, 2**30], (rows, steps + 1))
  actions = rng.choice([-1, 0], (rows, steps))
  mask = np.arange(steps) < rng.integers(0, steps + 1, rows)[:, None]
  group_ids = rng.integers(0, prompts, rows) * 100
  return rng.normal(size=rows), group_ids, states[:, :-1], actions, states[:, 1:], mask


@pytest.mark.parametrize("history", [0, 1, 2])
def test_means_by_key(history):
  advantages, group_ids, states, actions, next_states, mask = args = walks(30, 12)
  pairs = lambda i, t: (int(states[i, t]), int(actions[i, t])) if t >= 0 else None
  key = lambda i, t: (
    int(group_ids[i]),
    *pairs(i, t),
    int(next_states[i, t]),
    *(pairs(i, t - k) for k in range(1, history + 1)),
  )
  found = defaultdict(list)
  for i, t in np.argwhere(mask):
    found[key(i, t)].append(advantages[i])
  expected, counts = np.zeros(mask.shape), np.zeros(mask.shape)
  for i, t in np.argwhere(mask):
    expected[i, t], counts[i, t] = np.mean(found[key(i, t)]), len(found[key(i, t)])
  actual = salt(*map(jnp.array, args), history=history)
  np.testing.assert_array_equal(actual.counts, counts)
  np.testing.assert_allclose(actual.advantages, expected, atol=1e-6)
  # Averaging keeps the sum.
  total = (advantages * mask.sum(axis=1)).sum()
  assert actual.advantages.sum() == pytest.approx(total, abs=1e-4)


def test_distinct_edges_keep_the_advantage_of_their_rollout():
  advantages = jnp.array([0.3, -0.3, 0.1])
  states = jnp.arange(6).reshape(3, 2)
  zeros, mask = jnp.zeros((3, 2), jnp.int32), jnp.ones((3, 2))
  steps = salt(advantages, jnp.zeros(3, jnp.int32), states, zeros, states + 1, mask).advantages
  np.testing.assert_array_equal(steps, jnp.broadcast_to(advantages[:, None], (3, 2)))
  # The same edges under different prompts do not merge either.
  prompts = jnp.array([5, -5, 0])
  np.testing.assert_array_equal(salt(advantages, prompts, zeros, zeros, zeros, mask).advantages, steps)


def test_no_step_before_differs_from_a_step_with_zero_ids():
  # Row 0 begins with the edge that row 1 takes second, after state 0 and action 0.
  states, next_states = jnp.array([[1, 2], [0, 1]]), jnp.array([[2, 3], [1, 2]])
  args = jnp.array([1.0, -1.0]), jnp.zeros(2, jnp.int32), states, jnp.zeros((2, 2), jnp.int32), next_states
  np.testing.assert_array_equal(salt(*args, jnp.ones((2, 2))).counts, [[2, 1], [1, 2]])
  np.testing.assert_array_equal(salt(*args, jnp.ones((2, 2)), history=1).counts, [[1, 1], [1, 1]])


def test_errors():
  zeros = jnp.zeros((2, 2), jnp.int32)
  args = jnp.zeros(2), jnp.zeros(2, jnp.int32), zeros, zeros, zeros, zeros
  with pytest.raises(ValueError, match="history must be a number of steps, 0 or more, got -1"):
    salt(*args, history=-1)
  with pytest.raises(ValueError, match=r"salt: expected arrays of one shape \[B S\]"):
    salt(*args[:2], jnp.zeros((2, 3), jnp.int32), *args[3:])


def _ids(rng, shape):
  return rng.integers(0, 2, shape).astype("int32")


EDGES = {"advantages": "B", "group_ids": "B", "states": "BS", "actions": "BS", "next_states": "BS", "mask": "BS"}
DRAWS = {"states": _ids, "actions": _ids, "next_states": _ids}

KERNELS = [
  Kernel(salt, EDGES, scope="group", draws=DRAWS),
  Kernel(salt, EDGES, {"history": 2}, scope="group", draws=DRAWS),
]
