"""Interface of a model: pure functions of parameters, with outputs by name."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from rl_jax.models import lora, outputs
from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.cache import Cache
from rl_jax.models.outputs import Sequences
from rl_jax.models.transformer import Transformer

Params = Any
"""A tree of parameter arrays."""


@dataclasses.dataclass(frozen=True)
class Model:
  """A transformer and its outputs.

  Attributes:
    names: names of its outputs, see models/outputs.py.
    temperature: temperature of the softmax, the same in sampler and trainer, so that every logprob is that of the
      sampled policy.
    logprobs: computation of teacher-forced logprobs and entropies, one of `LOGPROBS`.
    shared_prompts: True to compute shared text once, if a batch has `trees`; equal up to rounding.
    trainable: path of a parameter -> whether it is trained; None: see `trained`.
  """

  config: TransformerConfig
  names: tuple[str, ...] = outputs.OF_VOCABULARY
  temperature: float = 1.0
  logprobs: str = "logits"
  trainable: Callable[[tuple[str, ...]], bool] | None = None
  shared_prompts: bool = True

  def __post_init__(self):
    outputs.check(self.names)
    if self.logprobs not in LOGPROBS:
      raise ValueError(f"model.logprobs={self.logprobs!r} is not known: use one of {', '.join(LOGPROBS)}")
    if not self.temperature > 0:
      raise ValueError(f"sampling.temperature={self.temperature}: must be above 0 (greedy is a separate option)")

  @property
  def of_heads(self) -> bool:
    """True if the output layer consists of scalar heads instead of the vocabulary."""
    return outputs.of_heads(self.names)

  @functools.cached_property
  def module(self) -> Transformer:
    """The Flax module of the config."""
    return Transformer(self.config)

  def init(self, key: PRNGKeyArray) -> Params:
    """New parameters, boxed with their logical axes."""
    token = jnp.zeros((1, 1), jnp.int32)
    return self.module.init(key, token, token, token.astype(bool))["params"]

  @functools.cached_property
  def abstract(self) -> Params:
    """Shapes of the parameters, boxed like those of `init`. Nothing is allocated, not even the key, so devices may be
    abstract too."""
    return jax.eval_shape(lambda: self.init(jax.random.key(0)))

  @functools.cached_property
  def base(self) -> Model:
    """The model without its adapters; `lora.without` gives its parameters."""
    return dataclasses.replace(self, config=dataclasses.replace(self.config, lora_rank=0))

  def trained(self, params: Params) -> Params:
    """Trained parameters, with None for the others.

    These are the `trainable` ones, or all if that is None; with adapters, the adapters and freshly initialised heads.
    """
    if self.trainable is not None:
      flat = flatten_dict(params)
      return unflatten_dict({path: x if self.trainable(path) else None for path, x in flat.items()})
    if not self.config.lora_rank:
      return params
    return lora.only(params, [("output",)] if self.of_heads else [])

  def merged(self, params: Params) -> Params:
    """Parameters of `base` with the same outputs: every adapter is merged into its matrix."""
    return lora.merged(params, self.config.lora_scale)

  def run(
    self,
    params: Params,
    tokens: Int[Array, "B T"],
    positions: Int[Array, "B T"],
    mask: Bool[Array, "B T"],
    cache: Cache | None = None,
    slot: Int[Array, ""] | int = 0,
    last: bool = False,
    prefixes: Sequence[Cache] = (),
  ) -> tuple[Array, Cache]:
    """Outputs [B, T, O] and the cache; see `Transformer.__call__`."""
    inputs = tokens, positions, mask, cache, slot, last
    result: Any = self.module.apply({"params": params}, *inputs, prefixes=prefixes)
    return result

  def outputs(self, params: Params, batch: Any) -> dict[str, Array]:
    """Teacher-forced outputs by name.

    Args:
      batch: has the fields of `Sequences`, as Trajectories do.
    """
    return outputs.outputs(self, params, batch)

  def outputs_after(
    self, params: Params, stems: Any, visible: Bool[Array, "B S"], tails: Sequences
  ) -> dict[str, Array]:
    """Outputs of texts that continue others from some slot; see `outputs.outputs_after`."""
    return outputs.outputs_after(self, params, stems, visible, tails)


def merge(part: Params, params: Params) -> Params:
  """`params` with the entries of `part` that are not None."""
  return jax.tree.map(lambda new, old: old if new is None else new, part, params, is_leaf=lambda x: x is None)


LOGPROBS = ("logits", "recomputed", "chunked", "pallas")
"""Ways to compute logprobs: from logits [B, T, V], or without them by `rl_jax.kernels.logprobs.linear_logprobs`, for
large vocabularies, with an implementation chosen by platform ("recomputed") or by name."""


def param_count(params: Params) -> int:
  """Number of parameters."""
  return sum(x.size for x in jax.tree.leaves(params))


def get_config() -> dict[str, Any]:
  """Defaults of the section `model` of a config."""
  fields = {f.name: f.default for f in dataclasses.fields(TransformerConfig)}
  del fields["vocabulary"], fields["outputs"]
  return fields | {"logprobs": Model.logprobs, "shared_prompts": Model.shared_prompts}


def build(
  config: Any,
  vocabulary: int,
  *,
  names: tuple[str, ...] = outputs.OF_VOCABULARY,
  heads: int = 1,
  temperature: float = 1.0,
) -> Model:
  """Build the model of a config's section `model`, for a task's vocabulary.

  Args:
    names: names of its outputs.
    heads: number of scalars in `values` and `rewards`.
  """
  own = ("logprobs", "shared_prompts")
  fields = {name: config[name] for name in get_config() if name not in own}
  width = outputs.width(names, heads, vocabulary)
  return Model(
    TransformerConfig(vocabulary=vocabulary, outputs=width, **fields),
    names,
    temperature,
    **{name: config[name] for name in own},
  )
