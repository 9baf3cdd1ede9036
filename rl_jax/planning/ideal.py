"""Lower bounds of an iteration's cost on each chip of a mesh, for comparison with its compiled programs.

With d, f and t chips along data, fsdp and tensor, rows are split over d f chips and matrices over f t. With W bytes of
matrices (in the dtype of the activations) and y bytes of activations [rows of a chip, D], a chip then sends

  weights      W / t (f - 1) / f                 each time that a pass reads them, and once for the gradient
  gradients    W / (t f) 2 (d - 1) / d           once per micro-batch
  activations  4 y (t - 1) / t                   per layer and pass (forward, backward, and again with remat): a
                                                 sum after attention and one after the feed-forward

where a pass of the sampler is one token long. Weights that are replicated during generation are read once. All rows
count as long as the longest, even with length buckets, and a tree's rows count as separate responses.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rl_jax.benchmarks.roofline import forward_flops
from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.model import Model
from rl_jax.training import mesh
from rl_jax.training.experiment import Experiment
from rl_jax.training.sizes import sizes_of


class Sizes(NamedTuple):
  """Sizes of one iteration."""

  prompts: int
  rows: int
  prompt_tokens: int
  response_tokens: int

  @property
  def length(self) -> int:
    """Slots of a row."""
    return self.prompt_tokens + self.response_tokens

  def passed(self, model: Model) -> int:
    """Tokens of a forward pass over all rows."""
    responses = self.rows * self.response_tokens
    return responses + (self.prompts if model.shared_prompts else self.rows) * self.prompt_tokens

  def blocks(self, model: Model) -> float:
    """Operations of the transformer blocks in such a pass."""
    prompts = self.passed(model) - self.rows * self.response_tokens
    of_prompts = forward_flops(model.config, prompts, (self.prompt_tokens + 1) / 2, 0)
    context = self.prompt_tokens + (self.response_tokens + 1) / 2
    return of_prompts + forward_flops(model.config, self.rows * self.response_tokens, context, 0)


class Ideal(NamedTuple):
  """Operations and traffic of one chip."""

  flops: float
  sent: float
  """Bytes sent."""


def sizes(experiment: Experiment) -> Sizes:
  """Rows and tokens of an iteration, according to the plan of its curriculum."""
  curriculum, task, key = experiment.method.curriculum, experiment.task, jax.random.key(0)
  plan, _ = jax.eval_shape(lambda: curriculum.next(curriculum.init(key), task, key))
  return Sizes(
    plan.prompt_ids.shape[0],
    plan.row_mask.shape[0],
    experiment.method.rollout.prompt_width or task.prompt_tokens,
    task.response_tokens,
  )


def rollout(experiment: Experiment, device_mesh: jax.sharding.Mesh) -> Ideal:
  """Prompts once, then every response a token at a time."""
  s, config, seeds = sizes(experiment), experiment.models["policy"].config, experiment.config.num_seeds
  prefill = forward_flops(config, s.prompts * s.prompt_tokens, (s.prompt_tokens + 1) / 2, s.prompts)
  decode = forward_flops(config, s.rows * s.response_tokens, s.prompt_tokens + s.response_tokens / 2)
  tokens = s.prompts * s.prompt_tokens + s.rows * s.response_tokens
  gathered = 1 + s.response_tokens if "fsdp" in (dict(experiment.rollout_rules)["width"] or ()) else 1
  sent = gathered * _weights(config, device_mesh) + _activations(experiment, config, device_mesh, tokens, 1)
  return Ideal(seeds * (prefill + decode) / device_mesh.size, seeds * sent)


def update(experiment: Experiment, device_mesh: jax.sharding.Mesh) -> Ideal:
  """Forward and backward passes of every trained model in each epoch, and a forward pass of each scored model; prompts
  count once for all their rows, and outputs only at responses."""
  config, s = experiment.config, sizes(experiment)
  minibatches = config.epochs * config.minibatches_per_epoch
  minibatch = s.rows // config.minibatches_per_epoch
  microbatches = minibatches * (minibatch // sizes_of(config).part(s.rows))
  flops, sent = 0.0, 0.0
  for name, role in experiment.method.models.items():
    model: Any = experiment.models[name].config
    blocks, tokens_passed = s.blocks(experiment.models[name]), s.passed(experiment.models[name])
    readout = 2.0 * s.rows * s.response_tokens * model.width * model.outputs
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


def cache_bytes(experiment: Experiment, device_mesh: jax.sharding.Mesh) -> float:
  """Keys and values of all rows and slots, on one chip."""
  s, c, t = sizes(experiment), experiment.models["policy"].config, device_mesh.shape["tensor"]
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
