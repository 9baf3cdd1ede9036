"""Logprobs from hidden states, timed: python -m rl_jax.kernels.benchmarks.logprobs [--peers=PYTHON] [--size=N,D,V].

Forward plus backward of the sum of N token logprobs, by the hidden states [N, D] and the matrix [D, V], in float32 or
bfloat16; ours give the entropies too. Memory is that of the compiled program beyond inputs and outputs. `bound` is the
time of the four products at the rate of one plain product of these widths in the same run. Implementations that hold
the logits are left out where these are above --limit GiB. Peers do the same work in processes of their own, outside of
the repository, with `--peers` in another Python that has tokamax and torch (and on a GPU liger-kernel) installed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from rl_jax.kernels.benchmarks import peer_process
from rl_jax.kernels.benchmarks.timing import seconds
from rl_jax.kernels.logprobs import linear_logprobs

QUICK = ((256, 64, 4096),)
CELLS = ((1024, 576, 49152), (4096, 576, 49152), (1024, 576, 151936))
ALL = tuple(itertools.product((1024, 4096, 32768), (576, 2048, 4096), (49152, 151936)))
PEERS = {"tokamax": "tokamax_cross_entropy.py", "torch": "torch_cross_entropy.py"}


def plain(hidden: jax.Array, matrix: jax.Array, targets: jax.Array) -> jax.Array:
  """The logprobs as they are usually written.

  >>> print(plain(jnp.zeros((1, 2)), jnp.ones((2, 4)), jnp.zeros(1, int)).round(4))
  [-1.3863]
  """
  logprobs = jax.nn.log_softmax((hidden @ matrix).astype(jnp.float32))
  return jnp.take_along_axis(logprobs, targets[:, None], axis=1)[:, 0]


def ours(hidden: jax.Array, matrix: jax.Array, targets: jax.Array, *, implementation: str) -> jax.Array:
  """The logprobs by `linear_logprobs`.

  >>> print(ours(jnp.zeros((1, 2)), jnp.ones((2, 4)), jnp.zeros(1, int), implementation="chunked").round(4))
  [-1.3863]
  """
  mask = jnp.ones(targets.shape, bool)
  return linear_logprobs(hidden, matrix, targets, mask, layout="DV", implementation=implementation).logprobs


def own_results(sizes: tuple[int, int, int], repeats: int, dtype: str, with_plain: bool) -> dict[str, list[float]]:
  """Seconds and MiB of temporaries of the implementations of this platform, by name.

  >>> sorted(own_results((8, 4, 16), 1, "float32", True))
  ['chunked', 'plain', 'reference']
  """
  rows, width, vocabulary = sizes
  hidden = jax.random.normal(jax.random.key(0), (rows, width), dtype)
  matrix = jax.random.normal(jax.random.key(1), (width, vocabulary), dtype) * width**-0.5
  targets = jax.random.randint(jax.random.key(2), (rows,), 0, vocabulary)
  works: dict[str, Callable[..., jax.Array]] = {"chunked": partial(ours, implementation="chunked")}
  if jax.default_backend() in ("gpu", "tpu"):
    works["pallas"] = partial(ours, implementation="pallas")
  if with_plain:
    works |= {"plain": plain, "reference": partial(ours, implementation="reference")}
  results = {}
  for name, work in works.items():
    total = lambda h, m, t, work=work: work(h, m, t).sum()
    compiled = jax.jit(jax.value_and_grad(total, argnums=(0, 1))).lower(hidden, matrix, targets).compile()
    memory = compiled.memory_analysis()
    elapsed = seconds(partial(compiled, hidden, matrix, targets), repeats)
    results[name] = [elapsed, memory.temp_size_in_bytes / 2**20 if memory else float("nan")]
  return results


def product_rate(sizes: tuple[int, int, int], repeats: int, dtype: str) -> float:
  """Floating point operations per second of hidden @ matrix, with at most 8192 columns.

  >>> product_rate((8, 8, 8), 1, "float32") > 0
  True
  """
  rows, width, columns = *sizes[:2], min(sizes[2], 8192)
  a, b = jnp.ones((rows, width), dtype), jnp.ones((width, columns), dtype)
  product = jax.jit(jnp.matmul)
  return 2 * rows * width * columns / seconds(lambda: product(a, b), repeats)


def size(text: str) -> tuple[int, int, int]:
  """N, D and V of a command line.

  >>> size("1024,576,49152")
  (1024, 576, 49152)

  Raises:
    ValueError: it is not three numbers above 0.
  """
  rows, width, vocabulary = map(int, text.split(","))
  if min(rows, width, vocabulary) < 1:
    raise ValueError(text)
  return rows, width, vocabulary


def measure(sizes: tuple[int, int, int], repeats: int, dtype: str, python: str, limit: float) -> None:
  """Print the table of one size.

  >>> measure((8, 4, 16), 1, "float32", "/nowhere/python", 1.0)  # doctest: +ELLIPSIS
  tokamax is left out: /nowhere/python does not run
  torch is left out: /nowhere/python does not run
  <BLANKLINE>
  N 8, D 4, V 16, float32, cpu, medians of 1; logits 0.0 MiB; bound ... s
  ...
  """
  rows, width, vocabulary = sizes
  logits = 4 * rows * vocabulary / 2**20
  small = logits <= 1024 * limit
  results = own_results(sizes, repeats, dtype, small)
  for name, script in PEERS.items():
    results |= peer_process.results(name, script, python, *sizes, repeats, dtype, "all" if small else "chunked")
  bound = 8 * rows * width * vocabulary / product_rate(sizes, repeats, dtype)
  platform = jax.default_backend()
  print(
    f"\nN {rows}, D {width}, V {vocabulary}, {dtype}, {platform}, medians of {repeats}; logits {logits:.1f} MiB; "
    f"bound {bound:.3f} s"
  )
  if not small:
    print(f"what holds the logits is left out above --limit={limit:g} GiB")
  print(f"{'':18} {'s':>8} {'/ chunked':>9} {'x bound':>8} {'MiB':>9} {'% logits':>9}")
  for name, (elapsed, memory) in results.items():
    ratio = elapsed / results["chunked"][0]
    print(f"{name:18} {elapsed:8.3f} {ratio:9.2f} {elapsed / bound:8.2f} {memory:9.1f} {100 * memory / logits:9.2f}")


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status.

  >>> main(["--repeats=0"])
  --repeats is at least 1, got 0
  2
  """
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("--repeats", type=int, default=3, help="calls of each; the median counts")
  parser.add_argument("--peers", default=sys.executable, help="the Python that tokamax and torch are installed in")
  parser.add_argument("--type", default="float32", choices=("float32", "bfloat16"), help="of hidden states and matrix")
  parser.add_argument("--limit", type=float, default=2.0, help="GiB of logits that plain implementations may hold")
  size_flags = parser.add_mutually_exclusive_group()
  size_flags.add_argument("--quick", action="store_true", help="one small size")
  size_flags.add_argument("--all", action="store_true", help="N to 32768, D to 4096, V to 151936: hours on a CPU")
  size_flags.add_argument("--size", type=size, action="append", metavar="N,D,V", help="this one; may be given again")
  options = parser.parse_args(argv)
  if options.repeats < 1:
    print(f"--repeats is at least 1, got {options.repeats}")
    return 2
  for sizes in options.size or (QUICK if options.quick else ALL if options.all else CELLS):
    measure(sizes, options.repeats, options.type, options.peers, options.limit)
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
