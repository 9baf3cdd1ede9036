"""Lower bounds of an iteration's cost on each chip of a mesh, for comparison with its compiled programs.

With d, f and t chips along data, fsdp and tensor, rows are split over d f chips and matrices over f t. With W bytes of
matrices (in the dtype of the activations) and y bytes of activations [rows of a chip, D], a chip then sends

  weights      W / t (f - 1) / f                 each time that a pass reads them, and once for the gradient
  gradients    W / (t f) 2 (d - 1) / d           once per micro-batch
  activations  4 y (t - 1) / t                   per layer and pass (forward, backward, and again with remat): a
                                                 sum after attention and one after the feed-forward

where a pass of the sampler is one token long. Weights that are replicated during generation are read once. Text that
rows share, as the prompt of a group or the nodes of a tree, is run once. All rows count as long as the longest, even
with length buckets.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rl_jax.benchmarks.roofline import forward_flops
from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.model import Model
from rl_jax.training import iteration, mesh, state
from rl_jax.training.experiment import Experiment
from rl_jax.training.seeds import over_seeds
from rl_jax.training.sizes import sizes_of
from rl_jax.trajectories import PrefixTrees


class Segment(NamedTuple):
  """Slots of some rows that are run once."""

  rows: int
  start: int
  stop: int
  read: bool
  """Outputs are read there."""

  @property
  def tokens(self) -> int:
    """Number of tokens."""
    return self.rows * (self.stop - self.start)

  def flops(self, config: TransformerConfig) -> float:
    """Operations of the transformer blocks."""
    return forward_flops(config, self.tokens, self.start + (self.stop - self.start + 1) / 2, 0)


class Sizes(NamedTuple):
  """Sizes of one iteration."""

  prompts: int
  rows: int
  prompt_tokens: int
  response_tokens: int
  trees: tuple[PrefixTrees, ...] = ()
  """Rows that share text; (): none are known to."""

  @property
  def length(self) -> int:
    """Slots of a row."""
    return self.prompt_tokens + self.response_tokens

  def segments(self, *, shared: bool) -> list[Segment]:
    """Segments of a pass over all rows.

    Args:
      shared: shared text is run once.
    """
    found = []
    for tree in self.trees if shared and self.trees else (PrefixTrees.alone(self.rows),):
      starts, nodes = tree.starts or (self.prompt_tokens,), tree.nodes or (1,)
      prompts, stops = tree.rows // tree.size, (*starts[1:], self.length)
      found.append(Segment(prompts, 0, starts[0], read=False))
      levels = zip(nodes, starts, stops, strict=True)
      found += [Segment(prompts * count, start, stop, read=True) for count, start, stop in levels]
    return found


class Ideal(NamedTuple):
  """Operations and traffic of one chip."""

  flops: float
  sent: float
  """Bytes sent."""


def sizes(experiment: Experiment) -> Sizes:
  """Rows and tokens of an iteration, according to the plan of its curriculum; what rows share is not known."""
  curriculum, task, key = experiment.method.curriculum, experiment.task, jax.random.key(0)
  plan, _ = jax.eval_shape(lambda: curriculum.next(curriculum.init(key), task, key))
  width = experiment.method.rollout.prompt_width or task.prompt_tokens
  return Sizes(plan.prompt_ids.shape[0], plan.row_mask.shape[0], width, task.response_tokens)


def with_trees(experiment: Experiment, s: Sizes) -> Sizes:
  """Sizes with the trees of the rollout's rows, which is traced for that. With a task in Python it can't be: its rows
  are groups that share their prompts."""
  if not experiment.task.on_device:
    return s._replace(trees=(PrefixTrees.groups(s.rows, s.rows // s.prompts, s.prompt_tokens),))
  make = over_seeds(lambda seed: iteration.make_batch(experiment, seed, 0), experiment.config.num_seeds)
  _, batch = jax.eval_shape(make, jax.eval_shape(lambda: state.init(experiment)).seeds)
  return s._replace(trees=batch.trajectories.trees)


def rollout(experiment: Experiment, s: Sizes, device_mesh: jax.sharding.Mesh) -> Ideal:
  """Shared text once, then every response a token at a time."""
  config, seeds = experiment.models["policy"].config, experiment.config.num_seeds
  before = [Segment(s.prompts, 0, s.prompt_tokens, read=False), Segment(s.rows, s.prompt_tokens, s.length, read=True)]
  flops, tokens = 0.0, 0
  for rows, start, stop, read in s.segments(shared=True) if s.trees else before:
    count, context = rows * (stop - start), start + (stop - start + (not read)) / 2
    flops += forward_flops(config, count, context, count if read else rows)
    tokens += count
  gathered = 1 + s.response_tokens if "fsdp" in (dict(experiment.rollout_rules)["width"] or ()) else 1
  sent = gathered * _weights(config, device_mesh) + _activations(experiment, config, device_mesh, tokens, 1)
  return Ideal(seeds * flops / device_mesh.size, seeds * sent)


def update(experiment: Experiment, s: Sizes, device_mesh: jax.sharding.Mesh) -> Ideal:
  """Forward and backward passes of every trained model in each epoch, and a forward pass of each scored model; outputs
  count only where they are read."""
  config = experiment.config
  minibatches = config.epochs * config.minibatches_per_epoch
  minibatch = s.rows // config.minibatches_per_epoch
  microbatches = minibatches * (minibatch // sizes_of(config).part(s.rows))
  flops, sent = 0.0, 0.0
  for name, role in experiment.method.models.items():
    model: Any = experiment.models[name].config
    segments = s.segments(shared=experiment.models[name].shared_prompts)
    blocks, tokens_passed = sum(one.flops(model) for one in segments), sum(one.tokens for one in segments)
    readout = 2.0 * sum(one.tokens for one in segments if one.read) * model.width * model.outputs
    again = model.remat == "block"
    if role.trained:
      tokens = config.epochs * tokens_passed
      training_flops = 3 * (blocks + readout) + _recomputed(experiment.models[name], tokens_passed, blocks, readout)
      flops += config.epochs * training_flops
      sent += microbatches * ((3 + again) * _weights(model, device_mesh) + _gradients(model, device_mesh))
      sent += _activations(experiment, model, device_mesh, tokens, 2 + again)
    if any(scorer == name for scorer, _ in experiment.method.scoring.values()):
      flops += blocks + readout
      sent += _weights(model, device_mesh) + _activations(experiment, model, device_mesh, tokens_passed, 1)
  return Ideal(config.num_seeds * flops / device_mesh.size, config.num_seeds * sent)


def _recomputed(model: Model, tokens: int, blocks: float, readout: float) -> float:
  """Operations that a backward pass repeats: with remat, those of each block except its last product, which no gradient
  reads; if logits are not kept, also those of the output layer."""
  c = model.config
  again = blocks - 2.0 * tokens * c.layers * c.width * c.feed_forward if c.remat == "block" else 0.0
  return again + (readout if not model.of_heads and model.logprobs != "logits" else 0.0)


def cache_bytes(experiment: Experiment, s: Sizes, device_mesh: jax.sharding.Mesh) -> float:
  """Keys and values of all rows and slots, on one chip."""
  c, t = experiment.models["policy"].config, device_mesh.shape["tensor"]
  heads = c.key_value_heads / (1 if c.key_value_heads % t else t)
  rows = experiment.config.num_seeds * s.rows / mesh.batch_shards(device_mesh, experiment.rules)
  return 2 * c.layers * rows * s.length * heads * c.head_width * jnp.dtype(c.dtype).itemsize


def _matrices(config: TransformerConfig, device_mesh: jax.sharding.Mesh) -> float:
  """Bytes of the matrices on the chips along tensor that share them."""
  return forward_flops(config, 1, 0.0) / 2 * jnp.dtype(config.dtype).itemsize / device_mesh.shape["tensor"]


def _weights(config: TransformerConfig, device_mesh: jax.sharding.Mesh) -> float:
  f = device_mesh.shape["fsdp"]
  return _matrices(config, device_mesh) * (f - 1) / f


def _gradients(config: TransformerConfig, device_mesh: jax.sharding.Mesh) -> float:
  d, f = device_mesh.shape["data"], device_mesh.shape["fsdp"]
  return _matrices(config, device_mesh) / f * 2 * (d - 1) / d


def _activations(
  experiment: Experiment, config: TransformerConfig, device_mesh: jax.sharding.Mesh, tokens: int, passes: int
) -> float:
  t, tokens_per_shard = device_mesh.shape["tensor"], tokens / mesh.batch_shards(device_mesh, experiment.rules)
  y = tokens_per_shard * config.width * jnp.dtype(config.dtype).itemsize
  return passes * config.layers * 4 * y * (t - 1) / t
