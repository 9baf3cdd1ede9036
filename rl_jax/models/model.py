"""A model as the rest of the house sees it: pure functions of parameters, by the name of what comes out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from kernels.logprobs import align, linear_logprobs, token_logprobs
from rl_jax.models import layout, lora
from rl_jax.models.cache import Cache
from rl_jax.models.transformer import Transformer, TransformerConfig

Params = Any
"""A tree of parameter arrays."""


class Sequences(NamedTuple):
  """The part of a batch that a transformer reads."""

  tokens: Int[Array, "B T"]
  positions: Int[Array, "B T"]
  attention_mask: Bool[Array, "B T"]


@dataclasses.dataclass(frozen=True)
class Model:
  """A transformer and its output.

  Attributes:
    kind: "language" (logits over the vocabulary) or "value" (one number per position).
    temperature: of the softmax, the sampler's and the trainer's alike; so every logprob is that of the policy sampled.
    logprobs: how teacher-forced logprobs and entropies are made, one of `LOGPROBS`.
  """

  config: TransformerConfig
  kind: str = "language"
  temperature: float = 1.0
  logprobs: str = "logits"

  def __post_init__(self):
    if self.logprobs not in LOGPROBS:
      raise ValueError(f"model.logprobs={self.logprobs!r} is not known: use one of {', '.join(LOGPROBS)}")
    if not self.temperature > 0:
      raise ValueError(f"sampling.temperature={self.temperature}: it is above 0 (greedy is a field of its own)")

  @functools.cached_property
  def module(self) -> Transformer:
    """The Flax module of the config."""
    return Transformer(self.config)

  def init(self, key: PRNGKeyArray) -> Params:
    """New parameters, boxed with their logical axes."""
    one = jnp.zeros((1, 1), jnp.int32)
    return self.module.init(key, one, one, one.astype(bool))["params"]

  @functools.cached_property
  def described(self) -> Params:
    """Shapes of the parameters, boxed like those of `init`. Nothing is made, the key neither: devices may be described
    as well."""
    return jax.eval_shape(lambda: self.init(jax.random.key(0)))

  @functools.cached_property
  def base(self) -> Model:
    """The model without its adapters; `lora.without` gives its parameters."""
    return dataclasses.replace(self, config=dataclasses.replace(self.config, lora_rank=0))

  def trained(self, params: Params) -> Params:
    """The parameters that training moves, with None in place of the others.

    All; with adapters those, and of a value model its output layer, which starts from a draw.
    """
    if not self.config.lora_rank:
      return params
    return lora.only(params, [("output",)] if self.kind == "value" else [])

  def merged(self, params: Params) -> Params:
    """Parameters of `base` with the same outputs: every adapter added to its matrix."""
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
  ) -> tuple[Array, Cache]:
    """Outputs [B, T, O] and the cache; see `Transformer.__call__`."""
    outputs: Any = self.module.apply({"params": params}, tokens, positions, mask, cache, slot, last)
    return outputs

  def outputs(self, params: Params, batch: Any) -> dict[str, Array]:
    """Teacher-forced outputs by name, each [B, T] and aligned with the token that it speaks of.

    Args:
      batch: has the fields of `Sequences`, as Trajectories do.

    A language model gives `logprobs` (log pi of the token) and `entropies` (of the distribution it was drawn from); a
    value model gives `values` (of the state before the token).
    """
    return _OUTPUTS[self.kind](self, params, batch.tokens, batch.positions, batch.attention_mask)


def merge(part: Params, whole: Params) -> Params:
  """`whole` with the entries of `part` that are not None."""
  return jax.tree.map(lambda new, old: old if new is None else new, part, whole, is_leaf=lambda x: x is None)


LOGPROBS = ("logits", "recomputed", "chunked", "pallas")
"""How logprobs are made: from logits [B, T, V], or without them by `kernels.logprobs.linear_logprobs`, whose
implementation is chosen by the platform ("recomputed") or named. Without them is for large vocabularies."""


def _language(model, params, tokens, positions, mask):
  if model.logprobs == "logits":
    logits, _ = model.run(params, tokens, positions, mask)
    return token_logprobs(logits, tokens, temperature=model.temperature)._asdict()
  hidden, _ = model.module.apply({"params": params}, tokens, positions, mask, readout=False)
  matrix = params["embedding" if model.config.output_is_embedding else "output"].astype(hidden.dtype)
  found = linear_logprobs(
    hidden[:, :-1],
    matrix,
    tokens[:, 1:],
    mask[:, 1:],
    layout="DV",
    temperature=model.temperature,
    placement=layout.of_output(matrix.shape[1]),
    implementation=None if model.logprobs == "recomputed" else model.logprobs,
  )
  return {"logprobs": align(found.logprobs), "entropies": align(found.entropies)}


def _value(model, params, tokens, positions, mask):
  values, _ = model.run(params, tokens, positions, mask)
  return {"values": align(values[:, :-1, 0])}


_OUTPUTS: dict[str, Callable[..., dict[str, Array]]] = {"language": _language, "value": _value}

OUTPUTS = {"language": ("logprobs", "entropies"), "value": ("values",)}
"""Names of the outputs of each kind."""


def param_count(params: Params) -> int:
  """Number of parameters."""
  return sum(x.size for x in jax.tree.leaves(params))


def get_config() -> dict:
  """Defaults of the section `model` of a config."""
  fields = {f.name: f.default for f in dataclasses.fields(TransformerConfig)}
  del fields["vocabulary"], fields["outputs"]
  return fields | {"logprobs": Model.logprobs}


def build(config, vocabulary: int, kind: str = "language", temperature: float = 1.0) -> Model:
  """The model that a config's section `model` describes, for a task's vocabulary."""
  fields = {name: config[name] for name in get_config() if name != "logprobs"}
  outputs = {"language": vocabulary, "value": 1}[kind]
  transformer = TransformerConfig(vocabulary=vocabulary, outputs=outputs, **fields)
  return Model(transformer, kind, temperature, config["logprobs"])
