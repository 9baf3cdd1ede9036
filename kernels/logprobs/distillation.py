"""Distillation from two pairs of hidden states and output matrix: the divergences of `losses.distillation`.

Neither the student's nor the teacher's logits [N, V] exist. A first pass finds the logsumexp of each row under both, a
second adds up the divergence block by block of the vocabulary, and the backward pass computes both scores once more.
Widths may differ; vocabulary and tokens are the same. The teacher is a constant.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Num

from rl_jax.kernels import _divergences
from rl_jax.kernels._checks import known_option
from rl_jax.kernels.logprobs import _blocks
from rl_jax.kernels.logprobs._sharding import on_devices, over_shards, summed
from rl_jax.kernels.logprobs.chunked import Chunked
from rl_jax.kernels.logprobs.placement import Placement
from rl_jax.kernels.logprobs.readout import LAYOUTS, Readout
from rl_jax.kernels.logprobs.reference import linear_scores
from rl_jax.kernels.reductions import zero_masked

IMPLEMENTATIONS = ("reference", "chunked")


def linear_generalized_jsd(
  student_hidden: Float[Array, "*N D"],
  student_matrix: Float[Array, "..."],
  teacher_hidden: Float[Array, "*N E"],
  teacher_matrix: Float[Array, "..."],
  mask: Num[Array, "*N"],
  *,
  layout: str,
  beta: float = 0.5,
  temperature: float = 1.0,
  soft_cap: float | None = None,
  placement: Placement | None = None,
  implementation: str | None = None,
) -> Float[Array, "*N"]:
  """`generalized_jsd` of the logits hidden @ matrix, with the gradient by the student's hidden states and matrix.

  `layout`, "DV" or "VD", and `soft_cap` hold for both matrices. `implementation` "reference" holds the logits of both,
  "chunked" (what None means) blocks of them. `placement` is that of `linear_logprobs`, of both matrices. The logits are
  those of the tokens in the same rows: shifted already. 0 in masked rows, from which nothing reaches a gradient.

  >>> student, teacher = jnp.array([[1.0, 0.0, -1.0]]), jnp.array([[0.0, 0.5, 1.0]])
  >>> found = linear_generalized_jsd(student, jnp.eye(3), teacher, jnp.eye(3), jnp.ones(1), layout="DV")
  >>> print(f"{found.item():.4f}")
  0.1534
  """
  name = "linear_generalized_jsd"
  known_option(name, "layout", layout, LAYOUTS)
  known_option(name, "implementation", implementation or "chunked", IMPLEMENTATIONS)
  if not 0 <= beta <= 1:
    raise ValueError(f"{name}: expected 0 <= beta <= 1, got {beta}")
  pairs = ((student_hidden, student_matrix), tuple(map(jax.lax.stop_gradient, (teacher_hidden, teacher_matrix))))
  for hidden, matrix in pairs:
    if hidden.shape[:-1] != mask.shape or matrix.ndim != 2 or matrix.shape[layout.index("D")] != hidden.shape[-1]:
      got = f"{hidden.shape}, {matrix.shape} and {mask.shape}"
      raise ValueError(f"{name}: expected hidden [*N D], a matrix [{' '.join(layout)}] and mask [*N], got {got}")
  vocabularies = [matrix.shape[layout.index("V")] for _, matrix in pairs]
  if vocabularies[0] != vocabularies[1]:
    raise ValueError(f"{name}: student and teacher must have one vocabulary, got {vocabularies} tokens")
  flat = [jnp.where(mask[..., None] != 0, h, jnp.zeros((), h.dtype)).reshape(-1, h.shape[-1]) for h, _ in pairs]
  (student, student_matrix), (teacher, teacher_matrix) = zip(flat, [matrix for _, matrix in pairs], strict=True)
  if implementation == "reference":
    student_logprobs, teacher_logprobs = (
      jax.nn.log_softmax(linear_scores(h, m, layout=layout, soft_cap=soft_cap) / temperature)
      for h, m in ((student, student_matrix), (teacher, teacher_matrix))
    )
    divergence = _divergences.generalized_jsd(student_logprobs, teacher_logprobs, beta)
  else:
    if placement is not None:
      placement.check(name, len(student), vocabularies[0])
    chunks = Chunked.sized(max(student.shape[1], teacher.shape[1]))
    how = _Divergence(chunks, Readout(layout, temperature, soft_cap), beta, placement)
    divergence = _divergence(student, student_matrix, teacher, teacher_matrix, how)
  return zero_masked(divergence.reshape(mask.shape), mask)


def linear_forward_kl(
  student_hidden: Float[Array, "*N D"],
  student_matrix: Float[Array, "..."],
  teacher_hidden: Float[Array, "*N E"],
  teacher_matrix: Float[Array, "..."],
  mask: Num[Array, "*N"],
  *,
  layout: str,
  temperature: float = 1.0,
  soft_cap: float | None = None,
  placement: Placement | None = None,
  implementation: str | None = None,
) -> Float[Array, "*N"]:
  """KL(T || S): `linear_generalized_jsd` with beta 0.

  >>> student, teacher = jnp.array([[1.0, 0.0, -1.0]]), jnp.array([[0.0, 0.5, 1.0]])
  >>> found = linear_forward_kl(student, jnp.eye(3), teacher, jnp.eye(3), jnp.ones(1), layout="DV")
  >>> print(f"{found.item():.4f}")
  0.7076
  """
  return linear_generalized_jsd(
    student_hidden,
    student_matrix,
    teacher_hidden,
    teacher_matrix,
    mask,
    layout=layout,
    beta=0.0,
    temperature=temperature,
    soft_cap=soft_cap,
    placement=placement,
    implementation=implementation,
  )


def linear_reverse_kl(
  student_hidden: Float[Array, "*N D"],
  student_matrix: Float[Array, "..."],
  teacher_hidden: Float[Array, "*N E"],
  teacher_matrix: Float[Array, "..."],
  mask: Num[Array, "*N"],
  *,
  layout: str,
  temperature: float = 1.0,
  soft_cap: float | None = None,
  placement: Placement | None = None,
  implementation: str | None = None,
) -> Float[Array, "*N"]:
  """KL(S || T): `linear_generalized_jsd` with beta 1.

  >>> student, teacher = jnp.array([[1.0, 0.0, -1.0]]), jnp.array([[0.0, 0.5, 1.0]])
  >>> found = linear_reverse_kl(student, jnp.eye(3), teacher, jnp.eye(3), jnp.ones(1), layout="DV")
  >>> print(f"{found.item():.4f}")
  0.6355
  """
  return linear_generalized_jsd(
    student_hidden,
    student_matrix,
    teacher_hidden,
    teacher_matrix,
    mask,
    layout=layout,
    beta=1.0,
    temperature=temperature,
    soft_cap=soft_cap,
    placement=placement,
    implementation=implementation,
  )


class _Divergence(NamedTuple):
  chunks: Chunked
  readout: Readout
  beta: float
  placement: Placement | None

  def of_block(self, student_logprobs, teacher_logprobs):
    """The part of the divergence [n] that a block of both logprobs [n, C] gives, and its slope by the student's."""
    value = lambda log_s: _divergences.generalized_jsd(log_s, teacher_logprobs, self.beta)
    divergence, pull_back = jax.vjp(value, student_logprobs)
    return divergence, pull_back(jnp.ones_like(divergence))[0]

  def normalizers(self, hidden, matrix):
    statistics, top = self.chunks.statistics(hidden, matrix, jnp.zeros((len(hidden), 1), jnp.int32), self.readout)
    return over_shards(statistics, top, self.placement)[0].finish()[2][:, None]

  def logprobs(self, hidden, block, normalizers):
    return self.readout.scores(self.readout.products(hidden, block)) - normalizers

  def on_devices(self, local, *inputs, **options):
    return on_devices(local, inputs, self.readout, self.placement, matrices=(1, 3), **options)

  def over_vocabulary(self, sums):
    return sums if self.placement is None else lax.psum(sums, self.placement.vocabulary_axes)


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _divergence(student, student_matrix, teacher, teacher_matrix, how):
  return _forward(student, student_matrix, teacher, teacher_matrix, how)[0]


def _forward(student, student_matrix, teacher, teacher_matrix, how):
  readout, chunks = how.readout, how.chunks

  def local(student, student_matrix, teacher, teacher_matrix):
    normalizers = how.normalizers(student, student_matrix), how.normalizers(teacher, teacher_matrix)

    def of_rows(student, teacher, *normalizers):
      def with_columns(carry, start, width):
        blocks = (_blocks.columns_of(m, readout, start, width) for m in (student_matrix, teacher_matrix))
        logprobs = map(how.logprobs, (student, teacher), blocks, normalizers)
        divergence, slopes = how.of_block(*logprobs)
        return carry[0] + divergence, carry[1] + slopes.sum(axis=1)

      first = (jnp.zeros(len(student), normalizers[0].dtype),) * 2
      return _blocks.over_columns(with_columns, first, student_matrix.shape[readout.vocabulary_axis], chunks.columns)

    sums = how.over_vocabulary(_blocks.over_rows(of_rows, (student, teacher, *normalizers), chunks.rows))
    return (*sums, *normalizers)

  inputs = (student, student_matrix, teacher, teacher_matrix)
  divergence, slope, *normalizers = how.on_devices(local, *inputs)
  return divergence, (*inputs, *normalizers, slope)


def _backward(how, residuals, gradient):
  readout, chunks = how.readout, how.chunks

  def local(student, student_matrix, teacher, teacher_matrix, *per_row):
    def d_products(start, block, student, teacher, student_normalizers, teacher_normalizers, slope, gradient):
      products = readout.products(student, block)
      log_s = readout.scores(products) - student_normalizers
      teacher_block = _blocks.columns_of(teacher_matrix, readout, start, products.shape[1])
      log_t = how.logprobs(teacher, teacher_block, teacher_normalizers)
      # d D / dz_v = f'_v - p_v sum_u f'_u for D = sum_v f(log p_v), log p_v = z_v - logsumexp z.
      d_scores = gradient * (how.of_block(log_s, log_t)[1] - jnp.exp(log_s) * slope)
      return readout.pull_back(d_scores, products)

    rows = (student, teacher, *per_row)
    found = _blocks.gradients(d_products, rows, student_matrix, readout, chunks.rows, chunks.columns)
    d_hidden, d_matrix = summed(*found, how.placement)
    return d_hidden.astype(student.dtype), d_matrix

  *inputs, slope = residuals
  d_hidden, d_matrix = how.on_devices(local, *inputs, slope[:, None], gradient[:, None], matrix_out=True)
  return d_hidden, d_matrix, None, None


_divergence.defvjp(_forward, _backward)
