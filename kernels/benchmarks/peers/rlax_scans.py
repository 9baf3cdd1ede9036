"""rlax's vmapped scans: `python rlax_scans.py ROWS TOKENS REPEATS` prints seconds as JSON, by the name of the work."""

import json
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import rlax

rows, tokens, repeats = map(int, sys.argv[1:])
rewards = jax.random.normal(jax.random.key(0), (rows, tokens))
values = jax.random.normal(jax.random.key(1), (rows, tokens + 1))
discounts = jnp.full((rows, tokens), 0.99)
gae = jax.vmap(lambda r, d, v: rlax.truncated_generalized_advantage_estimation(r, d, 0.95, v))
sums = jax.vmap(lambda r, d: rlax.discounted_returns(r, d, 0.0))
work = {"gae": (jax.jit(gae), (rewards, discounts, values)), "discounted_sums": (jax.jit(sums), (rewards, discounts))}
taken = {}
for name, (function, arguments) in work.items():
  jax.block_until_ready(function(*arguments))
  times = []
  for _ in range(repeats):
    started = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    times.append(time.perf_counter() - started)
  taken[name] = statistics.median(times)
print(json.dumps(taken))
