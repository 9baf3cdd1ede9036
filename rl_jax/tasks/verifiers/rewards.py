"""Composite rewards of text: format, length, and weighted sums and products of verifiers.

rl_jax.tasks.verifiers.rewards:combined with components =
  {"right": {"verifier": "rl_jax.tasks.verifiers.mathematics:equal_answers"},
   "format": {"verifier": "rl_jax.tasks.verifiers.rewards:tags", "arguments": {"names": ["think", "answer"]},
              "weight": 0.1}}
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rl_jax.tasks import scoring
from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.verifier_arguments import bound_arguments
from rl_jax.tasks.verifiers import companions
from rl_jax.tasks.verifiers.errors import CannotVerify

UNITS = {"characters": len, "words": lambda text: len(text.split())}
WAYS = ("sum", "product")


def pattern(response: str, entry: Mapping[str, Any], *, regex: str) -> Verdict:
  """1 where the whole response matches `regex` (. matches line ends too), else 0."""
  return Verdict(float(_compiled(regex).fullmatch(response.strip()) is not None))


@functools.cache
def _compiled(regex: str) -> re.Pattern[str]:
  try:
    return re.compile(regex, re.DOTALL)
  except re.error as error:
    raise CannotVerify(f"pattern: {regex!r} is no regular expression ({error})") from error


def tags(response: str, entry: Mapping[str, Any], *, names: Sequence[str], shortest: int = 1) -> Verdict:
  """Share of `names` that the response has exactly once as <name>…</name>, each after the ones before it.

  As a term of a sum it pays even without a right answer; `combined` with how="product" pays for both or neither.

  Args:
    shortest: smallest number of characters in a tag, without surrounding blanks; 0: an empty tag counts too.
  """
  if not names or isinstance(names, str):
    raise CannotVerify(f"tags: names is {names!r}, want a list of at least one tag")
  place, matched = 0, 0
  for name in names:
    opened, closed = f"<{name}>", f"</{name}>"
    start, end = response.find(opened), response.find(closed)
    if response.count(opened) != 1 or response.count(closed) != 1 or not place <= start < end:
      continue
    if len(response[start + len(opened) : end].strip()) < shortest:
      continue
    place, matched = end, matched + 1
  return Verdict(matched / len(names))


def overlong(
  response: str, entry: Mapping[str, Any], *, longest: int, buffer: int, factor: float = 1.0, unit: str = "characters"
) -> Verdict:
  """0 up to longest - buffer, then down to -factor at `longest` and beyond.

  As `overlong_penalty` of `rl_jax.kernels.rewards.length`.
  It counts text, so that workers need no tokenizer and no JAX; where tokens count, use the kernel in the method.
  """
  if unit not in UNITS or not 0 < buffer <= longest:
    raise CannotVerify(
      f"overlong: want 0 < buffer <= longest and a unit of {', '.join(UNITS)}, got {buffer}, {longest}, {unit!r}"
    )
  excess = (UNITS[unit](response) - (longest - buffer)) / buffer
  return Verdict(-factor * min(max(excess, 0.0), 1.0))


def combined(
  response: str, entry: Mapping[str, Any], *, components: Mapping[str, Mapping[str, Any]], how: str = "sum"
) -> Verdict:
  """The weighted sum, sum_c weight_c reward_c, or product, prod_c reward_c ** weight_c, of verifiers.

  If a component has no reward, neither has the whole. Parts: the reward of each component by its name, and its own
  parts as <component>/<part>; `combined_parts` lists the names for `rl_jax.tasks.host.build`.

  Args:
    components: name -> {"verifier": 'package.module:function', "arguments": of it, "weight": 1 by default}.
    how: "sum" or "product"; a product wants rewards and weights of at least 0.
  """
  if how not in WAYS or not components:
    raise CannotVerify(f"combined: want components and `how` of {', '.join(WAYS)}, got {len(components)} and {how!r}")
  parts: dict[str, float] = {}
  terms: list[float] = []
  missing: list[str] = []
  for name, component in components.items():
    verify, weight = _verifier(name, component)
    verdict = scoring.verdict_of(verify(response, entry, **component.get("arguments", {})))
    parts |= {f"{name}/{part}": value for part, value in verdict.parts.items()}
    if verdict.reward is None:
      missing.append(verdict.reason)
      continue
    if how == "product" and min(verdict.reward, weight) < 0:
      raise CannotVerify(
        f"combined: a product wants no negative rewards and weights, {name} has {verdict.reward:g} and {weight:g}"
      )
    parts[name] = verdict.reward
    terms.append(weight * verdict.reward if how == "sum" else verdict.reward**weight)
  if missing:
    return Verdict(None, parts, "; ".join(filter(None, missing)))
  return Verdict(math.fsum(terms) if how == "sum" else math.prod(terms), parts)


def combined_parts(*, components: Mapping[str, Mapping[str, Any]], **_: Any) -> tuple[str, ...]:
  """Names of the parts of `combined`."""
  return tuple(
    name
    for component, fields in components.items()
    for name in (component, *(f"{component}/{p}" for p in companions.parts(*_named(component, fields))))
  )


def combined_seconds(*, components: Mapping[str, Mapping[str, Any]], **_: Any) -> float:
  """CPU time that all components together may need for one response."""
  return math.fsum(companions.seconds(*_named(name, component)) for name, component in components.items())


def combined_ready(
  entries: Iterable[Mapping[str, Any]], *, components: Mapping[str, Mapping[str, Any]], **_: Any
) -> list[str]:
  """Check what each component needs."""
  items = list(entries)
  return [line for name, component in components.items() for line in companions.ready(*_named(name, component), items)]


def _named(name: str, component: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
  """A component's verifier and arguments."""
  _verifier(name, component)
  arguments = component.get("arguments", {})
  return component["verifier"], bound_arguments(component["verifier"], {}, arguments, where=f"combined: {name}")


def _verifier(name: str, component: Mapping[str, Any]) -> tuple[Any, float]:
  unknown = set(component) - {"verifier", "arguments", "weight"}
  if unknown or "verifier" not in component:
    raise CannotVerify(f"combined: {name} wants verifier, arguments, weight; got {', '.join(component) or 'nothing'}")
  weight = component.get("weight", 1.0)
  if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
    raise CannotVerify(f"combined: the weight of {name} is {weight!r}, want a finite number")
  try:
    return scoring.load(component["verifier"]), weight
  except ValueError as error:
    raise CannotVerify(f"combined: {name}: {error}") from error
