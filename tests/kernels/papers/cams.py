"""CAMS: splits, path trees, envelopes, the dual game and Hexner's."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp

from rl_jax.kernels.games import beliefs, convexity, dual, hexner, path_tree
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  kinds = {"A_logits": node, "K": tree, "grid": convexify, "tau": race, "p_hat": dual_game}
  return next((kind for name, kind in kinds.items() if name in inputs), split)(**inputs)


def _split(p, A):
  return dict(zip(("lambda", "posteriors"), beliefs.split_belief(p, A), strict=True))


split = quick_jit(_split)


@quick_jit
def node(p, A_logits, stage_cost, next_value):
  signals = jax.nn.softmax(A_logits)
  found = _split(p, signals)
  return found | {"A": signals, "value": beliefs.split_value(found["lambda"], stage_cost, next_value)}


def tree(prior, K, A, running, terminal):
  names = ["".join(path) for path in itertools.product("01", repeat=K)]
  prefixes = [["".join(path) for path in itertools.product("01", repeat=k)] for k in range(K)]
  signals = [jnp.array([A[prefix or "root"] for prefix in level], prior.dtype) for level in prefixes]
  stacked = [jnp.array([costs[name] for name in names], prior.dtype) for costs in (running, terminal)]

  @quick_jit
  def whole(prior, signals, running, terminal):
    paths = path_tree.public_paths(prior, signals)
    return paths, path_tree.path_cost(paths.probabilities, prior, running, terminal)

  paths, cost = whole(prior, signals, *stacked)
  by_name = lambda x: dict(zip(names, x, strict=True))
  return {"path_probs": by_name(paths.probabilities.T), "final_belief": by_name(paths.beliefs), "loss": cost}


def convexify(grid, W):
  found = quick_jit(convexity.convex_envelope)(W, grid)
  return {"vex": found.values, "split": jnp.stack([found.left, found.right, found.weight], axis=1)}


def race(x, p, tau, dt):
  belief, tau = (jnp.asarray(value, x.dtype) for value in (p, tau))

  @quick_jit
  def step(x, belief, tau):
    controls = hexner.hexner_controls(x, belief, tau)
    after = hexner.hexner_step(x, *controls, dt=dt)
    terminal = hexner.hexner_terminal_costs(after)
    halves = beliefs.split_belief(jnp.array([0.5, 0.5]), jnp.array([[0.8, 0.2], [0.3, 0.7]]))
    return {
      "u": controls.first,
      "v": controls.second,
      "x_next": after,
      "running": hexner.hexner_running_cost(*controls),
      "terminal_p0.5": terminal.mean(),
      "terminal_p1": terminal[0],
      "binary_split": jnp.concatenate([halves.weights, halves.posteriors[:, 0]]),
    }

  return step(x, belief, tau)


@quick_jit
def dual_game(p_hat, lam, p_hat_j, stage_cost, g_next):
  next_values = dual.dual_terminal(p_hat_j - stage_cost[:, None], g_next)
  return {"value": dual.dual_backup(p_hat, lam, p_hat_j, next_values)}
