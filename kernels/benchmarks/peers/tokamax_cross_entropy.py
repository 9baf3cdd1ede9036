"""tokamax's linear softmax cross-entropy: `python tokamax_cross_entropy.py ROWS WIDTH VOCABULARY REPEATS TYPE KIND`.

With the kind "chunked" it is refused on a CPU, where tokamax holds the logits. Prints as JSON seconds and MiB of
temporaries, forward plus backward, by the name of the work.
"""

import json
import statistics
import sys
import time

import jax
import tokamax

rows, width, vocabulary, repeats = map(int, sys.argv[1:5])
dtype, kind = sys.argv[5:7]
if kind == "chunked" and jax.default_backend() == "cpu":
  sys.exit("on a CPU it holds the logits")
hidden = jax.random.normal(jax.random.key(0), (rows, width), dtype)
matrix = jax.random.normal(jax.random.key(1), (width, vocabulary), dtype) * width**-0.5
targets = jax.random.randint(jax.random.key(2), (rows,), 0, vocabulary)


def loss(hidden, matrix):
  """Sum over rows."""
  return tokamax.linear_softmax_cross_entropy_loss(hidden, targets, matrix)


compiled = jax.jit(jax.value_and_grad(loss, argnums=(0, 1))).lower(hidden, matrix).compile()
jax.block_until_ready(compiled(hidden, matrix))
times = []
for _ in range(repeats):
  started = time.perf_counter()
  jax.block_until_ready(compiled(hidden, matrix))
  times.append(time.perf_counter() - started)
memory = compiled.memory_analysis()
mebibytes = memory.temp_size_in_bytes / 2**20 if memory else float("nan")
print(json.dumps({"tokamax": [statistics.median(times), mebibytes]}))
