"""Layer lottery: y <- y + V tanh(U y) in each block, a linear head, half the squared error."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.layers import block_pruning
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  kinds = {"U": residual, "X": alike, "xi": tickets}
  return next(kind for name, kind in kinds.items() if name in inputs)(**inputs)


def network(blocks, head, x):
  for up, down in zip(blocks["U"], blocks["V"], strict=True):
    x = x + jnp.tanh(x @ up.T) @ down.T
  return x @ head.T


@quick_jit
def _scores(U, V, head, x, y):
  loss = lambda blocks, head: jnp.square(network(blocks, head, x) - y).sum(axis=1).mean() / 2
  blocks = {"U": U, "V": V}
  scores = {name: block_pruning.block_importance(loss, blocks, head, criterion=name) for name in block_pruning.CRITERIA}
  return {"loss": loss(blocks, head)} | scores


def residual(U, V, head, x, y, removable, density_p):
  outputs = _scores(U, V, head, x, y)
  victims = partial(block_pruning.lowest_blocks, removable=removable, count=density_p)
  return outputs | {f"{name}_victims": np.flatnonzero(victims(outputs[name])) for name in block_pruning.CRITERIA}


def alike(X, Y):
  every = jnp.ones(X.shape[0])
  pairs = {"cka": Y, "self": X, "constant": jnp.ones_like(Y)}
  found = quick_jit(lambda x, ys: {name: block_pruning.linear_cka(x, y, every) for name, y in ys.items()})
  return found(X, pairs)


def tickets(acc_dense, acc_sub, xi):
  wins = [block_pruning.winning_ticket(acc_sub, jnp.asarray(acc_dense), tolerance=x) for x in xi.tolist()]
  return {"wins": jnp.stack(wins)}
