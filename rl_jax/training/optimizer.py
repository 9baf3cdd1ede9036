"""The optimiser: AdamW with clipping, schedules, warm-up, a weight-decay mask, parameter averaging."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from rl_jax.training.errors import TrainingError

DTYPES = ("float32", "bfloat16", "float64")
SCHEDULES = ("constant", "linear", "cosine")


def schedule(section, peak: float, updates: int) -> optax.Schedule:
  """Learning rate by update: linear warm-up over `warmup_updates`, then constant or down to `final_share` of the peak.

  Args:
    updates: those of the whole run.
  """
  if section.schedule not in SCHEDULES:
    raise TrainingError(f"optimizer.schedule is one of {', '.join(SCHEDULES)}, got {section.schedule!r}")
  warmup, final = section.warmup_updates, peak * section.final_share
  rest = max(updates - warmup, 1)
  after = {
    "constant": optax.constant_schedule(peak),
    "linear": optax.linear_schedule(peak, final, rest),
    "cosine": optax.cosine_decay_schedule(peak, rest, section.final_share),
  }[section.schedule]
  # The first update of a warm-up already moves: it takes 1/warmup of the peak.
  ramp = optax.linear_schedule(peak / max(warmup, 1), peak, max(warmup - 1, 1))
  return optax.join_schedules([ramp, after], [warmup]) if warmup else after


def decay_mask(params: Any, excluded: tuple[str, ...]) -> Any:
  """True where weight decay applies: parameters whose own name is not excluded."""
  return jax.tree_util.tree_map_with_path(lambda path, _: _name(path) not in excluded, params)


def _name(path) -> str:
  keys = [entry.key for entry in path if isinstance(entry, jax.tree_util.DictKey)]
  return keys[-1]


class MemberScale(NamedTuple):
  """What all updates of a member of a run are multiplied by."""

  member_scale: Float[Array, ""]


def scaled_by_member() -> optax.GradientTransformation:
  """Updates times a number that stands in the state, 1 until it is set."""

  def update(updates, state, params=None):
    return jax.tree.map(lambda x: x * state.member_scale.astype(x.dtype), updates), state

  return optax.GradientTransformation(lambda params: MemberScale(jnp.float32(1.0)), update)


def with_scale(state: Any, scale: Array) -> Any:
  """An optimiser's state with the scale of its member, where it has one."""
  return jax.tree.map(lambda x: MemberScale(jnp.float32(scale)) if _is_scale(x) else x, state, is_leaf=_is_scale)


def scale_of(state: Any) -> Array:
  """The scale of an optimiser's member; 1 where it has none."""
  found = [x for x in jax.tree.leaves(state, is_leaf=_is_scale) if _is_scale(x)]
  return found[0].member_scale if found else jnp.float32(1.0)


def _is_scale(x: Any) -> bool:
  return isinstance(x, MemberScale)


def make_optimizer(section, learning_rate: optax.Schedule, *, per_member: bool = False) -> optax.GradientTransformation:
  """AdamW (arXiv 1711.05101) after clipping to a global norm, from a config's section `optimizer`.

  Args:
    per_member: the members of a run have rates of their own, see `with_scale`.
  """
  for name in ("state_dtype", "gradient_dtype"):
    if getattr(section, name) not in DTYPES:
      raise TrainingError(f"optimizer.{name} is one of {', '.join(DTYPES)}, got {getattr(section, name)!r}")
  clip = optax.clip_by_global_norm(section.max_gradient_norm) if section.max_gradient_norm else optax.identity()
  return optax.chain(
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


def _stored_in(dtype, inner: optax.GradientTransformation) -> optax.GradientTransformation:
  """Moments kept in a narrower type between updates; the update itself is in that of the parameters."""

  def keep(state):
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, state)

  def update(gradients, state, params):
    like = lambda x: x.astype(jnp.promote_types(x.dtype, jnp.float32)) if jnp.issubdtype(x.dtype, jnp.floating) else x
    updates, state = inner.update(jax.tree.map(like, gradients), jax.tree.map(like, state), params)
    return updates, keep(state)

  return optax.GradientTransformation(lambda params: keep(inner.init(params)), update)
