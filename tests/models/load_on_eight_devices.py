"""Run by test_loading.py in a process with eight devices: what is read and held of each parameter, as JSON."""

from __future__ import annotations

import json
import sys

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from rl_jax.models import pretrained_files
from rl_jax.models.loading import load
from rl_jax.models.model import Model
from rl_jax.training import mesh


class Counting:
  """Tensors that note how much of them is read."""

  def __init__(self, tensors):
    self.tensors, self.shapes, self.reads = tensors, tensors.shapes, []

  def read(self, tensor, index):
    part = self.tensors.read(tensor, index)
    self.reads.append((tensor, part.size))
    return part


def main(path: str) -> None:
  """Load the model over data 2, fsdp 2 and tensor 2."""
  source = pretrained_files.open_source(path)
  counting = Counting(source.tensors)
  object.__setattr__(source, "tensors", counting)
  model = Model(source.config)
  over = mesh.make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
  boxed = jax.eval_shape(model.init, jax.random.key(0))
  lead = lambda sharding: NamedSharding(over, PartitionSpec(*sharding.spec[1:]))  # mesh's have an axis of seeds
  params = load(source, model, jax.tree.map(lead, mesh.shardings(over, boxed, mesh.RULES)))
  sharded, reads = {}, list(counting.reads)
  whole = load(source, model)
  for (keys, leaf), other in zip(jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(whole), strict=True):
    name = "/".join(key.key for key in keys)
    tensor = source.names.tensor(name)
    sharded[name] = {
      "size": leaf.size,
      "on_a_device": max(shard.data.size for shard in leaf.addressable_shards),
      "reads": [size for read, size in reads if read == tensor],
      "equal": bool(np.array_equal(leaf, other)),
    }
  json.dump({"devices": len(jax.devices()), "order": [tensor for tensor, _ in reads], "sharded": sharded}, sys.stdout)


if __name__ == "__main__":
  main(sys.argv[1])
