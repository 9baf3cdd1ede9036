"""Fields of committed results (curves and studies) and their types; a damaged file gives a one-line error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rl_jax.errors import UserError
from rl_jax.runs.fields import ANYTHING, COUNT, MEASURED, NUMBER, TEXT, Kind, by_name, check_fields, list_of
from rl_jax.runs.launch_fields import check_origin

_OBJECT = by_name(ANYTHING)
_SEEDS = list_of(list_of(MEASURED))
_CURVES = {"command": list_of(TEXT), "identity": TEXT, "curves": _OBJECT}
_POINTS = {"iterations": list_of(COUNT), "seeds": _SEEDS}
_STUDY = {"overrides": list_of(TEXT), "final_overrides": list_of(TEXT), "token_budget": NUMBER, "entries": _OBJECT}
_PLAN = {"config": TEXT, "overrides": list_of(TEXT)}
_ENTRY = {"identity": TEXT, "chosen": list_of(TEXT), "iterations": list_of(COUNT), "values": by_name(_SEEDS)}


def check_curves(saved: Any, where: str) -> None:
  """Check a file written by `rl_jax.curve`.

  Args:
    where: the file, for the error.

  Raises:
    UserError: a field is missing or of another type, or a curve does not have one point per iteration.
  """
  _check(saved, where, _CURVES)
  check_origin(saved, where)
  for name, points in saved["curves"].items():
    _check(points, f"{where}, curve {name}", _POINTS)
    _check_lengths(points["seeds"], points["iterations"], f"{where}, curve {name}")


def check_study(saved: Any, where: str) -> None:
  """Check a file written by `rl_jax.study`, except for its entries.

  Raises:
    UserError: a field is missing or of another type.
  """
  _check(saved, where, {"study": _OBJECT, "entries": _OBJECT})
  _check(saved["study"], f"{where}, study", _STUDY)


def check_entry(study: Mapping[str, Any], name: str, saved: Any, where: str) -> None:
  """Check an entry of a study.

  Raises:
    UserError: a field is missing or of another type, the study does not have the entry, or a metric does not have one
      value per iteration.
  """
  if name not in study["entries"]:
    raise UserError(f"{where} is not in the study (there are: {', '.join(study['entries']) or 'none'})")
  _check(study["entries"][name], f"{where} of the study", _PLAN)
  _check(saved, where, _ENTRY)
  check_origin(saved, where)
  for metric, values in saved["values"].items():
    _check_lengths(values, saved["iterations"], f"{where}, {metric!r}")


def _check(fields: Any, where: str, kinds: Mapping[str, Kind]) -> None:
  check_fields(fields, where, kinds, tuple(kinds))


def _check_lengths(values: Sequence[Any], iterations: Sequence[int], where: str) -> None:
  if len(values) != len(iterations):
    raise UserError(f"{where} has {len(values)} points for {len(iterations)} iterations: restore the file from a copy")
