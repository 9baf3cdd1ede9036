"""Memory of distillation over the vocabulary and with logits: python -m rl_jax.kernels.benchmarks.distillation.

Forward plus backward of the sum of N divergences, by the student's hidden states [N, D] and matrix [D, V], from a
teacher's hidden states [N, E] and matrix [E, V], in float32 or bfloat16 (`--size=N,D,E,V`). Memory is that of the
compiled program beyond inputs and outputs, and as a share of both models' logits; it needs no run. `--repeats` times
calls too, of the path with logits where these are below `--limit` GiB.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from rl_jax.kernels.benchmarks.timing import seconds
from rl_jax.kernels.logprobs import linear_generalized_jsd
from rl_jax.kernels.losses.distillation import generalized_jsd

Size = tuple[int, int, int, int]
CELLS: tuple[Size, ...] = ((1024, 576, 960, 49152), (1024, 576, 960, 151936), (4096, 2048, 4096, 151936))


def with_logits(
  student: jax.Array, student_matrix: jax.Array, teacher: jax.Array, teacher_matrix: jax.Array, *, beta: float
) -> jax.Array:
  """The divergences of N rows as they are usually written.

  >>> print(with_logits(jnp.zeros((1, 2)), jnp.ones((2, 4)), jnp.ones((1, 3)), jnp.ones((3, 4)), beta=1.0))
  [0.]
  """
  student_logits, teacher_logits = (student @ student_matrix)[None], (teacher @ teacher_matrix)[None]
  return generalized_jsd(student_logits, teacher_logits, jnp.ones((1, len(student))), beta=beta)[0]


def without_logits(
  student: jax.Array, student_matrix: jax.Array, teacher: jax.Array, teacher_matrix: jax.Array, *, beta: float
) -> jax.Array:
  """The divergences of N rows by `linear_generalized_jsd`.

  >>> print(without_logits(jnp.zeros((1, 2)), jnp.ones((2, 4)), jnp.ones((1, 3)), jnp.ones((3, 4)), beta=1.0))
  [0.]
  """
  pairs = student, student_matrix, teacher, teacher_matrix
  return linear_generalized_jsd(*pairs, jnp.ones(len(student)), layout="DV", beta=beta)


def compiled(function: Callable[..., jax.Array], size: Size, dtype: str, beta: float) -> Any:
  """The program of the sum of divergences and its gradients by what is the student's.

  >>> compiled(without_logits, (8, 4, 6, 16), "float32", 1.0).memory_analysis().temp_size_in_bytes > 0
  True
  """
  rows, width, teacher_width, vocabulary = size
  shapes = ((rows, width), (width, vocabulary), (rows, teacher_width), (teacher_width, vocabulary))
  total = lambda *arrays: function(*arrays, beta=beta).sum()
  return (
    jax.jit(jax.value_and_grad(total, argnums=(0, 1)))
    .lower(*(jax.ShapeDtypeStruct(s, dtype) for s in shapes))
    .compile()
  )


def measure(size: Size, dtype: str, beta: float, repeats: int, limit: float) -> None:
  """Print the lines of one size.

  >>> measure((8, 4, 6, 16), "float32", 1.0, 0, 1.0)  # doctest: +ELLIPSIS
  <BLANKLINE>
  N 8, D 4, E 6, V 16, float32, beta 1; logits of both 0.0 MiB
  with logits ...
  without ...
  """
  rows, width, teacher_width, vocabulary = size
  logits = 2 * rows * vocabulary * jnp.dtype(dtype).itemsize / 2**20
  sizes = f"N {rows}, D {width}, E {teacher_width}, V {vocabulary}"
  print(f"\n{sizes}, {dtype}, beta {beta:g}; logits of both {logits:.1f} MiB")
  for name, function in (("with logits", with_logits), ("without", without_logits)):
    program = compiled(function, size, dtype, beta)
    memory = program.memory_analysis().temp_size_in_bytes / 2**20
    line = f"{name:12} {memory:9.1f} MiB {100 * memory / logits:8.2f} % of the logits"
    if repeats and (name == "without" or logits <= 1024 * limit):
      shapes = ((rows, width), (width, vocabulary), (rows, teacher_width), (teacher_width, vocabulary))
      arrays = [jax.random.normal(jax.random.key(i), s, dtype) * s[0] ** -0.5 for i, s in enumerate(shapes)]
      line += f" {seconds(partial(program, *arrays), repeats):8.3f} s"
    print(line, flush=True)


def size_of(text: str) -> Size:
  """N, D, E and V of a command line.

  >>> size_of("1024,576,960,49152")
  (1024, 576, 960, 49152)

  Raises:
    ValueError: it is not four numbers above 0.
  """
  rows, width, teacher_width, vocabulary = map(int, text.split(","))
  if min(rows, width, teacher_width, vocabulary) < 1:
    raise ValueError(text)
  return rows, width, teacher_width, vocabulary


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status.

  >>> main(["--beta=2"])
  --beta is from 0 to 1, got 2
  2
  """
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("--size", type=size_of, action="append", metavar="N,D,E,V", help="may be given again")
  parser.add_argument("--type", default="float32", choices=("float32", "bfloat16"), help="of all four arrays")
  parser.add_argument("--beta", type=float, default=1.0, help="0: forward KL; 1: reverse KL; else Jensen-Shannon")
  parser.add_argument("--repeats", type=int, default=0, help="calls of each that are timed; the median counts")
  parser.add_argument("--limit", type=float, default=2.0, help="GiB of logits that a call may hold")
  options = parser.parse_args(argv)
  if not 0 <= options.beta <= 1:
    print(f"--beta is from 0 to 1, got {options.beta:g}")
    return 2
  for size in options.size or CELLS:
    measure(size, options.type, options.beta, max(options.repeats, 0), options.limit)
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
