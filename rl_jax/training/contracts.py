"""Contracts of users' functions: arguments and results, checked when a run is built or traced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from rl_jax.curricula.curriculum import Curriculum
from rl_jax.errors import UserError
from rl_jax.inputs.arrays import is_real
from rl_jax.inputs.calls import check_call
from rl_jax.inputs.users_code import place_of_function
from rl_jax.kernels.reductions import Mean
from rl_jax.methods.method import Loss, LossFunction, Method, ModelRole, Outputs, Signal, Stream, Streams, Term
from rl_jax.rollouts.rollout import Rollout
from rl_jax.trajectories import Trajectories


def check_built(built: Any, build: Callable[..., Any]) -> None:
  """Raise ValueError unless `build` returned a Method with parts of the right types and callable functions."""
  where = f"build ({place_of_function(build)})"
  if not isinstance(built, Method):
    raise ValueError(f"{where} gave {_shown(built)}, want a Method: does it return one?")
  for name, kind in (("curriculum", Curriculum), ("rollout", Rollout)):
    if not isinstance(getattr(built, name), kind):
      raise ValueError(f"{where}: {name} of its Method is {_shown(getattr(built, name))}, want a {kind.__name__}")
  for name in ("models", "scoring", "evaluations"):
    by_name = getattr(built, name)
    if not isinstance(by_name, Mapping) or not all(isinstance(key, str) for key in by_name):
      raise ValueError(f"{where}: {name} of its Method are {_shown(by_name)}, want a dict by names that are text")
  for name, role in built.models.items():
    if not isinstance(role, ModelRole):
      raise ValueError(f"{where}: model {name!r} of its Method is {_shown(role)}, want a ModelRole")
  check_call(built.signal, "signal", ("trajectories", "iteration"))
  check_call(built.loss, "loss", ("outputs", "trajectories", "streams"))


def checked_signal(signal: Any, function: Callable[..., Any], rows: Trajectories) -> Signal:
  """Signal of `function` for these rows.

  Raises: UserError: the result is not a Signal, or its streams do not fit the rows.
  """
  where, shape = f"signal ({place_of_function(function)})", rows.tokens.shape
  if not isinstance(signal, Signal):
    raise UserError(f'{where} gave {_shown(signal)}, want a Signal, as in Signal({{"policy": token_stream(…)}})')
  for name, stream in _items(signal.streams, f"{where}: streams"):
    if not isinstance(stream, Stream):
      raise UserError(f"{where}: stream {name!r} is {_shown(stream)}, want a Stream, as token_stream(…) gives one")
    for field in ("targets", "weights"):
      array = getattr(stream, field)
      if not is_real(array) or jnp.shape(array) != shape:
        raise UserError(
          f"{where}: {field} of stream {name!r} are {_shown(array)}, want one real number per token, [B, T] = {shape}"
        )
  _check_means(signal.metrics, f"{where}: metrics")
  return signal


def checked_loss(loss: LossFunction, signal: Callable[..., Any], constants: Outputs) -> LossFunction:
  """The loss, with one-line errors for names that it looks up in vain and for a wrong result.

  Args:
    constants: outputs of models that it does not train.
  """

  def checked(outputs: Outputs, trajectories: Trajectories, streams: Streams) -> Loss:
    where = f"loss ({place_of_function(loss)})"
    try:
      result = loss({**constants, **outputs}, trajectories, streams)
    except KeyError as error:
      raise UserError(
        f"signal ({place_of_function(signal)}) gives the streams {_names(streams)}, and the trained models are "
        f"{_names(outputs)}: {where} looks for {error}"
      ) from error
    if not isinstance(result, Loss):
      raise UserError(f"{where} gave {_shown(result)}, want a Loss of terms and metrics")
    for name, term in _items(result.terms, f"{where}: terms"):
      if not isinstance(term, Term):
        raise UserError(f"{where}: term {name!r} is {_shown(term)}, want a Term")
      if term.trains not in (None, *outputs):
        raise UserError(f"{where}: term {name!r} trains {term.trains!r}, the trained models are {_names(outputs)}")
    _check_means({name: term.mean for name, term in result.terms.items()}, f"{where}: terms")
    _check_means(result.metrics, f"{where}: metrics")
    return result

  return checked


def _check_means(means: Any, where: str) -> None:
  for name, mean in _items(means, where):
    good = isinstance(mean, Mean) and all(_is_number(x) for x in mean)
    if not good:
      raise UserError(f"{where}: {name!r} is {_shown(mean)}, want a Mean(sum, weight) of two single real numbers")


def _items(mapping: Any, where: str) -> Any:
  if not isinstance(mapping, Mapping):
    raise UserError(f"{where} are {_shown(mapping)}, want a dict by name")
  for name in mapping:
    if not isinstance(name, str):
      raise UserError(f"{where} have the name {name!r}, want text")
  return mapping.items()


def _is_number(value: Any) -> bool:
  if hasattr(value, "dtype"):
    return is_real(value) and jnp.shape(value) == ()
  return isinstance(value, int | float) and not isinstance(value, bool)


def _names(mapping: Mapping[str, Any]) -> str:
  return ", ".join(map(repr, mapping)) or "none"


def _shown(value: Any) -> str:
  """Describe a value in an error message: its shape, or its type."""
  if value is None:
    return "None"
  if hasattr(value, "shape") and hasattr(value, "dtype"):
    return f"an array of shape {tuple(value.shape)} and type {value.dtype}"
  if isinstance(value, Mean):
    return f"Mean({', '.join(map(_shown, value))})"
  return repr(value) if isinstance(value, bool | int | float | str) else f"a {type(value).__name__}"
