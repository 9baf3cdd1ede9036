"""Reward model of two layers of experts (DMoERM, arXiv 2403.01197): members, and inside each of them fused experts.

A member is a transformer. Its reward is read at the last token of a text, by `readout`:

  head      w . z + b of its hidden state z                                                      (phase 1)
  experts   w_k . z_k + b_k of K experts, low-rank adapters of the member; their mean            (phase 2)
  fusion    W2 . PReLU(W1 concat(z_1 .. z_K) + b1) + b2                                          (phase 3)

Q members become one reward by `combine`: "routed" takes that of one member, top-1 by a router that reads the prompt
alone, and ties go to the lowest; "mean" and "worst" are ensembles of all members. One member is a single reward model,
and K = 0 is one without inner experts.

  outputs          shape       meaning
  task_logits      [B, Q]      of the router; 0 where nothing is routed
  members          [B, Q]      whether a member judges a text, as bool
  member_rewards   [B, Q, H]   the readout of every member; H = K for "experts", otherwise 1
  rewards          [B]         the reward

All members run on all texts, and a routed one is picked afterwards: exact, also in its gradient, which is 0 for the
others, and Q times the work of dispatching texts to members. Parameters have one entry per phase, of which each is
trained alone: `router`, `head`, `experts`, `fusion`. Adapters have names of their own, as those of lora.py are taken
off a model that is frozen; there is no dropout.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from rl_jax.kernels import layers
from rl_jax.models import lora, model
from rl_jax.models.model import Model, Params
from rl_jax.models.transformer import Transformer, TransformerConfig

NAMES = ("task_logits", "members", "member_rewards", "rewards")
COMBINATIONS = ("routed", "mean", "worst")
READOUTS = ("head", "experts", "fusion")
_SLOPE = 0.25
"""Start of the slope of the PReLU."""
_NAMES = {lora.A: "_first", lora.B: "_second"}
"""Suffixes of an adapter's matrices by those in the transformer."""


def get_config() -> dict[str, Any]:
  """Defaults of a section `model`: those of a transformer, and a single member without experts."""
  return model.get_config() | {
    "lora_rank": 8,  # of experts; 32 in the paper
    "lora_alpha": 8.0,  # equal to the rank: scale 1
    "lora_targets": ("query", "value"),
    "members": 1,  # Q
    "experts": 0,  # K, in each member
    "combine": "routed",
    "readout": "head",
  }


def build(
  config: Any, vocabulary: int, *, names: tuple[str, ...] = NAMES, heads: int = 1, temperature: float = 1.0
) -> RewardExperts:
  """Build the model of a config's section `model`. Raises ValueError for fields that do not fit together."""
  del heads
  own = ("logprobs", "shared_prompts", "members", "experts", "combine", "readout")
  sizes = {name: config[name] for name in get_config() if name not in own}
  fields = {name: config[name] for name in own}
  return RewardExperts(TransformerConfig(vocabulary=vocabulary, outputs=1, **sizes), names, temperature, **fields)


@dataclasses.dataclass(frozen=True)
class RewardExperts(Model):
  """The model at the top of this file.

  Attributes:
    members, experts: Q and K.
    combine, readout: see there.
  """

  members: int = 1
  experts: int = 0
  combine: str = "routed"
  readout: str = "head"

  def __post_init__(self):
    unknown = [name for name in self.names if name not in NAMES]
    if unknown:
      raise ValueError(f"outputs {unknown}: a reward model of experts gives some of {', '.join(NAMES)}")
    for name, known in (("combine", COMBINATIONS), ("readout", READOUTS)):
      if getattr(self, name) not in known:
        raise ValueError(f"model.{name} is one of {', '.join(known)}, got {getattr(self, name)!r}")
    if self.members < 1 or self.experts < 0:
      raise ValueError(f"model.members is at least 1 and model.experts 0, got {self.members} and {self.experts}")
    if self.readout != "head" and not self.experts:
      raise ValueError(f"model.readout={self.readout!r} reads experts: model.experts is at least 1")
    if self.experts and not self.config.lora_rank:
      raise ValueError("model.lora_rank=0: experts are adapters, of a rank of at least 1")

  @property
  def routed(self) -> bool:
    """True if a router picks one of several members."""
    return self.combine == "routed" and self.members > 1

  @property
  def base(self) -> RewardExperts:
    """The model itself: its experts stay when it is frozen."""
    return self

  def merged(self, params: Params) -> Params:
    """The parameters themselves; see `base`."""
    return params

  @functools.cached_property
  def _plain(self) -> Transformer:
    return Transformer(dataclasses.replace(self.config, lora_rank=0))

  @functools.cached_property
  def _router(self) -> Transformer:
    return Transformer(dataclasses.replace(self.config, lora_rank=0, outputs=self.members))

  def init(self, key: PRNGKeyArray) -> Params:
    """New parameters, boxed with their logical axes; those of members and experts are never split along these."""
    q, k, width = self.members, self.experts, self.config.width
    text = [jnp.zeros((1, 1), dtype) for dtype in (jnp.int32, jnp.int32, bool)]
    keys = [jax.random.fold_in(key, i) for i in range(4)]
    drawn = lambda module, key: module.init(key, *text)["params"]
    zeros = lambda *shape: _boxed(jnp.zeros(shape, self.config.param_dtype))
    plain = functools.partial(drawn, self._plain)
    params = {"head": {"transformer": _stacked(plain, keys[0], q), "bias": zeros(q)}}
    if self.routed:
      params["router"] = {"transformer": drawn(self._router, keys[1]), "bias": zeros(q)}
    if k:
      adapters = lambda key: _adapters(drawn(self.module, key))
      of_member = lambda key: _stacked(adapters, key, k)
      normal = lambda key, *shape: _boxed(
        (jax.random.normal(key, shape) * shape[-1] ** -0.5).astype(self.config.param_dtype)
      )
      first, second = jax.random.split(keys[3])
      drawn_adapters = _stacked(of_member, keys[2], q)
      params["experts"] = {"adapters": drawn_adapters, "weight": zeros(q, k, width), "bias": zeros(q, k)}
      params["fusion"] = {
        "hidden_weight": normal(first, q, width, k * width),
        "hidden_bias": zeros(q, width),
        "out_weight": normal(second, q, width),
        "out_bias": zeros(q),
        "slope": _boxed(jnp.full(q, _SLOPE, self.config.param_dtype)),
      }
    return params

  def outputs(self, params: Params, batch: Any) -> dict[str, Array]:
    """Outputs by name; see the top of this file.

    Args:
      batch: has the fields of `Sequences`, and a `prompt_width`.
    """
    rows = batch.tokens, batch.positions, batch.attention_mask
    logits, members = self._routes(params, [x[:, : batch.prompt_width] for x in rows])
    member_rewards = self._member_rewards(params, rows)
    found = {"task_logits": logits, "members": members, "member_rewards": member_rewards}
    each = member_rewards.mean(axis=2)
    if self.combine == "worst":
      found["rewards"] = each.min(axis=1)
    else:
      found["rewards"] = jnp.where(members, each, 0.0).sum(axis=1) / members.sum(axis=1)
    return {name: found[name] for name in self.names}

  def _routes(self, params: Params, prompts: Any) -> tuple[Float[Array, "B Q"], Bool[Array, "B Q"]]:
    shape = prompts[0].shape[0], self.members
    if not self.routed:
      return jnp.zeros(shape), jnp.ones(shape, bool)
    router = params["router"]
    z, used = self._last(self._router, router["transformer"], prompts), prompts[2].any(axis=1)
    routing = layers.router(z, router["transformer"]["output"].T, router["bias"], used)
    return routing.logits, routing.tasks[:, None] == jnp.arange(self.members)

  def _last(self, module: Transformer, params: Params, rows: Any) -> Float[Array, "B D"]:
    """Hidden state of the last token of each row."""
    found: Any = module.apply({"params": params}, *rows, readout=False)
    states, _ = found
    return layers.last_hidden(states.astype(jnp.float32), rows[2])

  def _member_rewards(self, params: Params, rows: Any) -> Float[Array, "B Q H"]:
    used, backbones = rows[2].any(axis=1), params["head"]["transformer"]
    last = lambda module, params: self._last(module, params, rows)
    if self.readout == "head":
      zs = jax.vmap(functools.partial(last, self._plain), out_axes=1)(backbones)
      return layers.expert_rewards(zs, backbones["output"][..., 0], params["head"]["bias"], used)[:, :, None]
    of_expert = lambda backbone, adapter: last(self.module, _adapted(backbone, adapter))
    of_member = jax.vmap(of_expert, in_axes=(None, 0), out_axes=1)
    zs = jax.vmap(of_member, out_axes=1)(backbones, params["experts"]["adapters"])  # [B, Q, K, D]
    if self.readout == "experts":
      flat = lambda x: x.reshape(-1, *x.shape[2:])
      experts, all_zs = params["experts"], zs.reshape(zs.shape[0], -1, zs.shape[3])
      return layers.expert_rewards(all_zs, flat(experts["weight"]), flat(experts["bias"]), used).reshape(zs.shape[:3])
    fused = lambda zs, p: layers.fused_reward(
      zs, p["hidden_weight"], p["hidden_bias"], p["out_weight"], p["out_bias"], p["slope"], used
    )
    return jax.vmap(fused, in_axes=(1, 0), out_axes=1)(zs, params["fusion"])[:, :, None]


def from_policy(params: Params, policy: Params) -> Params:
  """Parameters whose router and members start as a language model of the same sizes; the output layers stay."""
  source = flatten_dict(policy)

  def start(path: tuple[str, ...], leaf: Array) -> Array:
    found = source.get(path[2:]) if path[:2] in (("head", "transformer"), ("router", "transformer")) else None
    of_one = leaf.shape[1:] if path[0] == "head" else leaf.shape
    if found is None or path[2:] == ("output",) or found.shape != of_one:
      return leaf
    return jnp.broadcast_to(found, leaf.shape).astype(leaf.dtype)

  return unflatten_dict({path: start(path, leaf) for path, leaf in flatten_dict(params).items()})


def from_heads(params: Params) -> Params:
  """Parameters whose experts have copies of their member's head: phase 2 starts from phase 1."""
  head, experts = params["head"], params["experts"]
  weight, bias = head["transformer"]["output"][:, None, :, 0], head["bias"][:, None]
  copies = {"weight": jnp.broadcast_to(weight, experts["weight"].shape)}
  copies["bias"] = jnp.broadcast_to(bias, experts["bias"].shape)
  return params | {"experts": experts | copies}


def _boxed(value: Array) -> Any:
  return nn.LogicallyPartitioned(value, (None,) * value.ndim)


def _stacked(drawn: Any, key: PRNGKeyArray, count: int) -> Params:
  """Boxed parameters of `count` draws, on a leading axis that is never split."""
  boxes = jax.vmap(drawn)(jax.random.split(key, count))
  is_box = lambda x: isinstance(x, nn.LogicallyPartitioned)
  return jax.tree.map(lambda box: box.replace(names=(None, *box.names)), boxes, is_leaf=is_box)


def _adapters(params: Params) -> Params:
  """The adapters of a transformer, under names of their own."""
  found = {}
  for path, leaf in flatten_dict(params).items():
    for suffix, own in _NAMES.items():
      if path[-1].endswith(suffix):
        found[(*path[:-1], path[-1].removesuffix(suffix) + own)] = leaf
  return unflatten_dict(found)


def _adapted(backbone: Params, adapters: Params) -> Params:
  """A transformer's parameters with the adapters in them."""
  found = flatten_dict(backbone)
  for path, leaf in flatten_dict(adapters).items():
    for suffix, own in _NAMES.items():
      if path[-1].endswith(own):
        found[(*path[:-1], path[-1].removesuffix(own) + suffix)] = leaf
  return unflatten_dict(found)
