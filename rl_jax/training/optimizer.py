"""The optimiser: AdamW with clipping, schedules, warm-up, a weight-decay mask, float32 master weights.

Master weights (Micikevicius et al., "Mixed Precision Training", 2018, section 3.1): bfloat16 has 8 significant bits, so
an update below 1/512 of a weight is rounded away; at a learning rate of 1e-6 that is nearly every update. With
`optimizer.master_weights` "float32" the optimiser's state holds a float32 copy of each trained parameter that is
stored in fewer bits. Updates and weight decay accumulate there, and the stored parameter is the rounded copy. "none"
adds to the stored parameters; so does a config that predates the field.

An average of parameters (`optimizer.parameter_average`) in a narrow type loses its increments
(1 - decay) (parameter - average) in the same way. With master weights it is their average, in float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from rl_jax.errors import UserError

DTYPES = ("float32", "bfloat16", "float64")
MASTER_WEIGHTS = ("float32", "none")
SCHEDULES = ("constant", "linear", "cosine")


def schedule(section: ConfigDict, peak: float, updates: int) -> optax.Schedule:
  """Learning rate by update: linear warm-up over `warmup_updates`, then constant or down to `final_share` of the peak.

  Args:
    updates: number of updates of the whole run.
  """
  if section.schedule not in SCHEDULES:
    raise UserError(f"optimizer.schedule is one of {', '.join(SCHEDULES)}, got {section.schedule!r}")
  warmup, final = section.warmup_updates, peak * section.final_share
  rest = max(updates - warmup, 1)
  after = {
    "constant": optax.constant_schedule(peak),
    "linear": optax.linear_schedule(peak, final, rest),
    "cosine": optax.cosine_decay_schedule(peak, rest, section.final_share),
  }[section.schedule]
  # The first update of a warm-up has 1/warmup of the peak rate, not 0.
  ramp = optax.linear_schedule(peak / max(warmup, 1), peak, max(warmup - 1, 1))
  return optax.join_schedules([ramp, after], [warmup]) if warmup else after


def decay_mask(params: Any, excluded: tuple[str, ...]) -> Any:
  """True where weight decay applies: parameters whose own name is not excluded."""
  return jax.tree_util.tree_map_with_path(lambda path, _: _name(path) not in excluded, params)


def _name(path) -> str:
  keys = [entry.key for entry in path if isinstance(entry, jax.tree_util.DictKey)]
  return keys[-1]


class MemberScale(NamedTuple):
  """State with the factor of all updates of a member of a run."""

  member_scale: Float[Array, ""]


def scaled_by_member() -> optax.GradientTransformation:
  """Transformation that scales updates by a number in its state, 1 until set."""

  def update(updates, state, params=None):
    return jax.tree.map(lambda x: x * state.member_scale.astype(x.dtype), updates), state

  return optax.GradientTransformation(lambda params: MemberScale(jnp.float32(1.0)), update)


def with_scale(state: Any, scale: Array) -> Any:
  """An optimiser's state with the scale of its member set, if it has one."""
  return jax.tree.map(lambda x: MemberScale(jnp.float32(scale)) if _is_scale(x) else x, state, is_leaf=_is_scale)


def scale_of(state: Any) -> Array:
  """Scale of an optimiser's member; 1 if it has none."""
  scales = [x for x in jax.tree.leaves(state, is_leaf=_is_scale) if _is_scale(x)]
  return scales[0].member_scale if scales else jnp.float32(1.0)


def _is_scale(x: Any) -> bool:
  return isinstance(x, MemberScale)


def make_optimizer(
  section: ConfigDict, learning_rate: optax.Schedule, *, per_member: bool = False
) -> optax.GradientTransformation:
  """AdamW (arXiv 1711.05101) after clipping to a global norm, from a config's section `optimizer`.

  Args:
    per_member: True if the members of a run have their own learning rates, see `with_scale`.
  """
  for name in ("state_dtype", "gradient_dtype"):
    if getattr(section, name) not in DTYPES:
      raise UserError(f"optimizer.{name} is one of {', '.join(DTYPES)}, got {getattr(section, name)!r}")
  master_weights = getattr(section, "master_weights", "none")  # recorded configs may be older than the field
  if master_weights not in MASTER_WEIGHTS:
    raise UserError(f"optimizer.master_weights is one of {', '.join(MASTER_WEIGHTS)}, got {master_weights!r}")
  clip = optax.clip_by_global_norm(section.max_gradient_norm) if section.max_gradient_norm else optax.identity()
  adamw = optax.chain(
    clip,
    _stored_in(
      jnp.dtype(section.state_dtype),
      optax.scale_by_adam(b1=section.beta1, b2=section.beta2, eps=section.epsilon),
    ),
    optax.add_decayed_weights(
      section.weight_decay, mask=lambda params: decay_mask(params, tuple(section.no_weight_decay))
    ),
    optax.scale_by_learning_rate(learning_rate),
    *([scaled_by_member()] if per_member else []),
  )
  return with_master_weights(adamw) if master_weights == "float32" else adamw


def _stored_in(dtype, inner: optax.GradientTransformation) -> optax.GradientTransformation:
  """Optimiser whose moments are stored in a narrower type; the update has the type of the parameters."""

  def keep(state):
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, state)

  def update(gradients, state, params):
    like = lambda x: x.astype(jnp.promote_types(x.dtype, jnp.float32)) if jnp.issubdtype(x.dtype, jnp.floating) else x
    updates, state = inner.update(jax.tree.map(like, gradients), jax.tree.map(like, state), params)
    return updates, keep(state)

  return optax.GradientTransformation(lambda params: keep(inner.init(params)), update)


class MasterState(NamedTuple):
  """State of an optimiser with master weights."""

  master: Any
  """Trained parameters in float32; None for parameters that are wide enough or not trained."""
  inner: Any


def with_master_weights(inner: optax.GradientTransformation) -> optax.GradientTransformation:
  """Run an optimiser on float32 copies of the parameters that are narrower.

  Adding the returned updates to the stored parameters gives the copies, rounded: p + u = round(m), up to the sign of a
  zero. If all parameters are wide enough, this is `inner`, with its state.
  """

  def init(params):
    master = jax.tree.map(_copy_if_narrow, params, is_leaf=_is_parameter)
    if not jax.tree.leaves(master):
      return inner.init(params)
    return MasterState(master, inner.init(_either(master, params)))

  def update(gradients, state, params):
    if not isinstance(state, MasterState):
      return inner.update(gradients, state, params)
    updates, inner_state = inner.update(gradients, state.inner, _either(state.master, params))
    moves = jax.tree.map(_move, params, state.master, updates, is_leaf=_is_parameter)
    is_move = lambda x: isinstance(x, _Move)
    master, updates = (jax.tree.map(lambda move, i=i: move[i], moves, is_leaf=is_move) for i in range(2))
    return updates, MasterState(master, inner_state)

  return optax.GradientTransformation(init, update)


def wide_params(state: Any, params: Any) -> Any:
  """`params` with master weights in place of narrow parameters, if an optimiser's state has them."""
  return _either(state.master, params) if isinstance(state, MasterState) else params


def averages(section: ConfigDict, params: Any) -> Any:
  """Arrays or shapes like the averages of trained parameters: float32 for those with master weights."""
  if section.get("master_weights", "none") == "none":  # recorded configs may be older than the field
    return params
  return _either(jax.tree.map(_copy_if_narrow, params, is_leaf=_is_parameter), params)


class _Move(NamedTuple):
  """A parameter's new master weight (None if it has none) and its update."""

  master: Array | None
  update: Array


def _move(param: Array | None, master: Array | None, update: Any) -> _Move | None:
  """Step of one parameter.

  round(m) - p has too many digits for float32 only if m is a tiny part of p. Then p + u misses round(m) by at most the
  rounding error of a float32 step from p, and m becomes p + u, rounded, so that the two never disagree.
  """
  if param is None:
    return None
  if master is None:
    return _Move(None, update)
  stepped, stored = (master + update).astype(master.dtype), param.astype(master.dtype)
  rounded = _rounded(stepped, param.dtype)
  difference = rounded - stored
  arrived = _rounded(stored + difference, param.dtype)
  return _Move(jnp.where(arrived == rounded, stepped, arrived), difference)


def _rounded(x: Float[Array, "..."], dtype: Any) -> Float[Array, "..."]:
  """x in float32, rounded to the values of a narrower type.

  x.astype(dtype).astype(x.dtype) would not do: compilers may remove such a pair (`xla_allow_excess_precision`).
  """
  info = jnp.finfo(dtype)
  normal = jax.lax.reduce_precision(x, info.nexp, info.nmant)
  if info.nexp == jnp.finfo(x.dtype).nexp:
    return normal
  # reduce_precision flushes what is subnormal in the narrower type.
  spacing = float(info.smallest_subnormal)
  return jnp.where(jnp.abs(x) < float(info.smallest_normal), jnp.round(x / spacing) * spacing, normal)


def _is_parameter(x: Any) -> bool:
  """Return whether a node is a parameter boxed with its logical axes, or None in place of one."""
  return x is None or isinstance(x, nn.meta.AxisMetadata)


def _copy_if_narrow(param: Any) -> Any:
  """A parameter in float32 in the same box, whose axes shard it too; None if the parameter is wide enough."""
  is_narrow = lambda x: jnp.issubdtype(x.dtype, jnp.floating) and jnp.finfo(x.dtype).bits < 32
  narrow = any(map(is_narrow, jax.tree.leaves(param)))
  return jax.tree.map(_in_float32, param) if narrow else None


def _in_float32(x: Any) -> Any:
  if isinstance(x, jax.ShapeDtypeStruct):
    return jax.ShapeDtypeStruct(x.shape, jnp.float32, sharding=x.sharding)
  return x.astype(jnp.float32)


def _either(master: Any, params: Any) -> Any:
  """Master weights, or the parameters where there are none."""
  return jax.tree.map(lambda p, m: p if m is None else m, params, master, is_leaf=_is_parameter)
