"""Fast Sparse ConvNets: masks of blocks, their storage and product, and the pruning schedule."""

from __future__ import annotations

from rl_jax.kernels.layers.block_sparse import block_csr, block_mask, block_sparse_matmul, pruning_sparsity
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  return schedule(**inputs) if case == "schedule" else layer(**inputs)


def layer(weight, x, bias, block, sparsity, relu):
  options = {"sparsity": sparsity, "block": block}

  @quick_jit
  def outputs(weight, x, bias):
    mask, stored = block_mask(weight, **options), block_csr(weight, **options)
    return {
      "mask": mask,
      "cols": stored.columns,
      "row_ptr": stored.starts,
      "y": block_sparse_matmul(stored, x, bias, relu=relu),
      "achieved_sparsity": 1 - mask.astype(weight.dtype).mean(),
    }

  return outputs(weight, x, bias)


def schedule(begin, end, final, frequency, steps):
  found = pruning_sparsity(steps, begin=begin, end=end, final=final, frequency=frequency)
  return {"sparsity": found}
