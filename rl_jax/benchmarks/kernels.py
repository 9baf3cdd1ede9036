"""Benchmark `kernels`: gates, structured layers, number formats and retrieval, against plain operations and bounds.

Rows are tokens or documents, in float32. A kernel's bound is the larger of two times: to stream its arguments and
results once, at the rate of a plain array sum of this shape, and to do the multiply-adds of its equation, at the rate
of the best matrix product. The plain operation is what one would use without the kernel: the dense layer, a gate
without temperature, rounding to bfloat16. Both rates and all times are from one run.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rl_jax.benchmarks.roofline import matmul_rate
from rl_jax.kernels import activations, layers, retrieval
from rl_jax.kernels.benchmarks.timing import seconds, stream_rate

EXPERTS, CHOSEN = 64, 8
"""Number of experts, and number of experts that a token goes to."""
BLOCK, SPARSITY, RANK = 4, 0.9, 32
"""Outputs of a block, share of pruned blocks, and rank of a low-rank change."""
QUERIES, BEST, TOKENS = 16, 100, 32
"""Queries of a search, documents that it returns, and token vectors of a document."""


class Work(NamedTuple):
  """A kernel with its arguments, and the plain operation that it is compared with."""

  name: str
  function: Callable[..., Any]
  arguments: tuple[Any, ...]
  plain_name: str
  plain: Callable[..., Any]
  plain_arguments: tuple[Any, ...]
  multiply_adds: float = 0.0
  """Multiply-adds of the equation, in matrix products."""


def _normal(seed: int, *shape: int) -> jax.Array:
  return jax.random.normal(jax.random.key(seed), shape)


def _dense(x: jax.Array, weight: jax.Array) -> jax.Array:
  return x @ weight.T


def gates(rows: int, width: int) -> Iterator[Work]:
  """Gates, statistics of their choices, and mixtures of their experts."""
  x, weight, bias, mask = _normal(0, rows, width), _normal(1, EXPERTS, width), jnp.zeros(EXPERTS), jnp.ones(rows)
  logits = _dense(x, weight)
  top = jax.jit(lambda logits: jax.lax.top_k(logits, CHOSEN)[1])
  ids, softmax = top(logits), lambda x, weight: jax.nn.softmax(_dense(x, weight))
  gate = x, weight, bias, jnp.ones(()), mask
  for name in ("identity", "sigmoid", "gelu"):
    function = partial(layers.activation_gate, activation=name)
    yield Work(f"activation_gate, {name}", function, gate, "softmax", softmax, (x, weight), rows * EXPERTS * width)
  yield Work("router", layers.router, (x, weight, bias, mask), "softmax", softmax, (x, weight), rows * EXPERTS * width)
  loads = partial(layers.expert_loads, num_experts=EXPERTS)
  yield Work("expert_loads", loads, (ids, mask), "top-k", top, (logits,))
  for name in ("log_probability", "probability_when_selected"):
    quality = partial(layers.expert_quality, estimator=name)
    yield Work(f"expert_quality, {name}", quality, (logits, ids, mask), "softmax", jax.nn.softmax, (logits,))
  logprobs, prior = -jnp.abs(logits).reshape(1, EXPERTS, rows), jnp.full(EXPERTS, 1 / EXPERTS)
  mixture = logprobs, prior, mask[None]
  fixed = lambda logprobs, prior, _: jax.nn.logsumexp(logprobs + jnp.log(prior)[:, None], axis=1)
  yield Work("domain_mixture", layers.domain_mixture, mixture, "fixed mixture", fixed, mixture)


def structured(rows: int, width: int) -> Iterator[Work]:
  """Linear layers [width, width] with structure or masks, and the kernels that find the masks."""
  x, weight = _normal(0, rows, width), _normal(1, width, width) * width**-0.5
  dense = "dense", _dense, (x, weight)
  shapes = layers.monarch_shapes(width, width)
  factors = [_normal(seed, *shape) for seed, shape in enumerate(shapes)]
  layer = partial(layers.monarch, width=width)
  yield Work("monarch, 4 blocks", layer, (x, *factors), *dense, rows * shapes.parameters)
  low = _normal(2, RANK, width), _normal(3, width, RANK)
  yield Work(f"lora, rank {RANK}", layers.lora, (x, weight, *low), *dense, rows * width * (width + 2 * RANK))
  of_mask = jax.jit(partial(layers.block_mask, sparsity=0.75))
  masks = lambda weights: jnp.stack([of_mask(w) for w in weights])
  for family in ("parallel", "factorized", "doped"):
    shape = layers.sparse_shape(family, width, width, 0.75)
    if family == "parallel":
      weights = _normal(4, shape.inner, width, width)
      arguments: tuple[Any, ...] = weights, masks(weights)
    elif family == "factorized":
      first, second = _normal(4, shape.inner, width), _normal(5, width, shape.inner)
      arguments = first, of_mask(first), second, of_mask(second)
    else:
      arguments = weight, of_mask(weight), _normal(4, shape.inner, width), _normal(5, width, shape.inner)
    function = getattr(layers, f"{family}_layer")
    yield Work(f"{family}_layer, 75 %", function, (x, *arguments), *dense, rows * shape.flops)
  blocks = jax.jit(partial(layers.block_csr, sparsity=SPARSITY, block=BLOCK))(weight)
  sparse = blocks, x.T, jnp.zeros(width)
  yield Work("block_sparse_matmul, 90 %", layers.block_sparse_matmul, sparse, *dense, rows * blocks.values.size)
  sort = "sort", lambda w: jnp.sort(jnp.abs(w).ravel()), (weight,)
  pruned = partial(layers.block_mask, sparsity=SPARSITY, block=BLOCK)
  yield Work("block_mask, 90 %", pruned, (weight,), *sort)
  update = weight, _normal(6, width, width), of_mask(weight), jnp.array(0.3)
  yield Work("rigl_update", partial(layers.rigl_update, sparsity=0.75), update, *sort)
  codes = x, _normal(7, width, 4 * width), jnp.zeros(4 * width), jnp.ones(rows)
  wide = "relu layer", activations.top_k_codes, codes
  function = partial(activations.top_k_codes, k=TOKENS)
  yield Work(f"top_k_codes, k {TOKENS}", function, codes, *wide, 4 * rows * width**2)


def formats(rows: int, width: int) -> Iterator[Work]:
  """Four-bit formats and the transforms before them."""
  x, weight, signs = _normal(0, rows, width), _normal(1, width, width), jnp.where(_normal(2, 64) > 0, 1, -1)
  bfloat16 = "bfloat16", lambda x: jax.lax.reduce_precision(x, 8, 7), (x,)
  codes = jax.jit(layers.hifloat4_encode)(x)
  yield Work("hifloat4_encode", layers.hifloat4_encode, (x,), *bfloat16)
  yield Work("hifloat4_decode", partial(layers.hifloat4_decode, width=width), (codes,), *bfloat16)
  yield Work("hifloat4", layers.hifloat4, (x,), *bfloat16)
  for scaling in ("floor", "truncation_free"):
    yield Work(f"mxfp4, {scaling}", partial(layers.mxfp4, scaling=scaling), (x,), *bfloat16)
  yield Work("nvfp4", layers.nvfp4, (x,), *bfloat16)
  yield Work("nvfp4, per tensor", partial(layers.nvfp4, per_tensor=True), (x,), *bfloat16)
  hadamard = jax.jit(layers.hadamard_transform)
  matrix = hadamard(jnp.eye(64))
  product = "dense, 64", lambda x: (x.reshape(-1, 64) @ matrix).reshape(x.shape), (x,)
  yield Work("random_hadamard, 64", layers.random_hadamard, (x, signs), *product)
  largest = 1 << (width.bit_length() - 1)
  head, square = x[:, :largest], hadamard(jnp.eye(largest))
  yield Work(f"hadamard_transform, {largest}", layers.hadamard_transform, (head,), "dense", _dense, (head, square))
  dense = "dense", _dense, (x, weight)
  linear = partial(layers.quantized_linear, quantize=layers.hifloat4)
  yield Work("quantized_linear", linear, (x, weight, signs), *dense, rows * width**2)
  backward = lambda layer: lambda g, x, w, *rest: jax.vjp(lambda x, w: layer(x, w, *rest), x, w)[1](g)
  gradients = "dense, gradients", backward(_dense), (x, x, weight)
  yield Work("quantized_linear, gradients", backward(linear), (x, x, weight, signs), *gradients, 2 * rows * width**2)


def search(rows: int, width: int) -> Iterator[Work]:
  """Scores of documents, selection of the best ones, and codes in place of vectors."""
  queries, documents = _normal(0, QUERIES, width), _normal(1, rows, width)
  parts = max(width // 16, 1)
  codebooks = _normal(2, parts, 256, width // parts)
  scores, best = queries @ documents.T, min(BEST, rows)
  products, dense = QUERIES * rows * width, ("dense", _dense, (queries, documents))
  cosine = partial(retrieval.similarity, cosine=True)
  yield Work("similarity", retrieval.similarity, (queries, documents), *dense, products)
  yield Work("similarity, cosine", cosine, (queries, documents), *dense, products)
  few = max(rows // TOKENS, 1)
  tokens = _normal(3, QUERIES, TOKENS, width), _normal(4, few, TOKENS, width)
  late = *tokens, jnp.ones((QUERIES, TOKENS)), jnp.ones((few, TOKENS))
  flat = tuple(x.reshape(-1, width) for x in tokens)
  yield Work("max_similarity", retrieval.max_similarity, late, "dense", _dense, flat, TOKENS**2 * QUERIES * few * width)
  top = "top-k", lambda scores: jax.lax.top_k(scores, best), (scores,)
  function = partial(retrieval.top_documents, k=best)
  yield Work(f"top_documents, k {best}", function, (scores, jnp.ones_like(scores)), *top)
  lists, centroids = jnp.arange(rows) % 256, documents[:256]
  probed = partial(retrieval.inverted_candidates, probes=8)
  yield Work("inverted_candidates", probed, (queries, centroids, lists), *dense, QUERIES * len(centroids) * width)
  one = "dense, 256", lambda x: x @ centroids.T, (documents,)
  yield Work("product_codes", retrieval.product_codes, (documents, codebooks), *one, 256 * rows * width)
  codes = jax.jit(retrieval.product_codes)(documents, codebooks)
  tables = 256 * QUERIES * width
  yield Work("product_scores", retrieval.product_scores, (queries, codebooks, codes), *dense, tables)
  signs = "sign", jnp.sign, (documents,)
  yield Work("hash_codes", retrieval.hash_codes, (documents,), *signs)
  yield Work("pack_codes", retrieval.pack_codes, (documents,), *signs)
  found = "dense and top-k", lambda q, d: jax.lax.top_k(q @ d.T, best), (queries, documents)
  hashed = partial(retrieval.bpr_search, k=best, num_candidates=min(1000, rows))
  yield Work("bpr_search", hashed, (queries, retrieval.pack_codes(documents)), *found)


FAMILIES: dict[str, Callable[[int, int], Iterator[Work]]] = {
  "gates": gates,
  "structured": structured,
  "formats": formats,
  "search": search,
}


def kernels_benchmark(families: Sequence[str], rows: Sequence[int], widths: Sequence[int], repeats: int) -> None:
  """Print a table for each size, with a line for each kernel of the families."""
  product_rate = matmul_rate()
  for count, width in itertools.product(rows, widths):
    rate = stream_rate((count, width), repeats)
    print(
      f"{count} rows of width {width}, float32, {jax.default_backend()}, medians of {repeats}; "
      f"streaming {rate / 1e9:.1f} GB/s, matrix products {product_rate / 1e9:.0f} GFLOP/s",
      flush=True,
    )
    columns = f"{'ms':>9} {'bound ms':>9} {'by':>8} {'x bound':>8} {'plain ms':>9} {'x plain':>8}  plain"
    print(f"{'kernel':41} {columns}")
    for work in itertools.chain.from_iterable(FAMILIES[name](count, width) for name in families):
      _measure(work, rate, product_rate, repeats)


def _measure(work: Work, stream: float, product: float, repeats: int) -> None:
  kernel, plain = jax.jit(work.function), jax.jit(work.plain)
  moved = sum(x.nbytes for x in jax.tree.leaves((work.arguments, kernel(*work.arguments))))
  elapsed = seconds(partial(kernel, *work.arguments), repeats)
  plain_elapsed = seconds(partial(plain, *work.plain_arguments), repeats)
  bound, by = max((moved / stream, "memory"), (2 * work.multiply_adds / product, "products"))
  print(
    f"{work.name:41} {1e3 * elapsed:9.2f} {1e3 * bound:9.3f} {by:>8} {elapsed / bound:8.1f} "
    f"{1e3 * plain_elapsed:9.2f} {elapsed / plain_elapsed:8.2f}  {work.plain_name}",
    flush=True,
  )
