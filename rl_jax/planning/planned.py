"""Plan of a run as numbers, text and JSON, and a scaling table of several plans."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from rl_jax.planning.chips import GIB, Chip
from rl_jax.planning.compiled import CompiledProgram, OutOfMemory
from rl_jax.planning.fitting import State
from rl_jax.planning.ideal import Ideal, Sizes


@dataclasses.dataclass(frozen=True)
class Plan:
  """One config on one topology. All figures are of one chip and one iteration.

  Attributes:
    what: description of model and task.
    mesh: chips along each axis.
    layers: the two compiled numbers of layers, if the model is extrapolated.
    notes: notes on figures that are rough because of the extrapolation.
    cache: bytes of keys and values, part of a rollout's temporary memory.
    ideal: lower bounds of "rollout" (all phases together) and "update".
    advise: program that is too large -> changes to try.
  """

  what: str
  topology: str
  chip: Chip
  mesh: Mapping[str, int]
  sizes: Sizes
  seeds: int
  layers: tuple[int, int] | None
  notes: list[str]
  state: State
  cache: float
  programs: Mapping[str, CompiledProgram | OutOfMemory]
  ideal: Mapping[str, Ideal]
  advise: Callable[[str], list[str]]

  @property
  def chips(self) -> int:
    """Number of chips in the mesh."""
    return math.prod(self.mesh.values())

  def total(self, name: str) -> float:
    """Bytes on a chip while a program runs: the state of the run plus the program's own memory."""
    program = self.programs[name]
    if isinstance(program, OutOfMemory):
      return self.state.total + program.temporary
    added = program.outputs + program.temporary + program.code
    if name == "update":
      return added + max(self.state.total, program.arguments)
    again = self.programs.get("reshard")  # a second copy of the policy, while responses are generated
    copied = again.outputs if name != "reshard" and isinstance(again, CompiledProgram) else 0.0
    return added + self.state.total + copied

  @property
  def too_large(self) -> list[str]:
    """Programs that exceed a chip's memory."""
    return [name for name, p in self.programs.items() if isinstance(p, OutOfMemory) or self.total(name) > self.chip.hbm]

  @property
  def fits(self) -> bool:
    """True if every program fits."""
    return not self.too_large

  def prediction(self) -> dict[str, Any] | None:
    """Seconds per iteration, tokens per second on all chips, and the bottleneck; None if a program was refused."""
    times: dict[tuple[str, str], float] = {}
    for name, program in self.programs.items():
      if isinstance(program, OutOfMemory):
        return None
      term, seconds = max(program.times(self.chip).items(), key=lambda item: item[1])
      times[name, term] = seconds
    total, longest = sum(times.values()), max(times, key=lambda key: times[key])
    tokens = self.seeds * self.sizes.rows * self.sizes.response_tokens
    return {"seconds": total, "tokens_per_second": tokens / total, "program": longest[0], "binds": longest[1]}

  def advice(self) -> list[str]:
    """Changes to try so that the run fits; none if it already does."""
    return self.advise(self.too_large[0]) if self.too_large else []

  def record(self) -> dict[str, Any]:
    """The plan as plain values, in bytes, seconds and operations."""
    return {
      "what": self.what,
      "topology": self.topology,
      "chips": self.chips,
      "mesh": dict(self.mesh),
      "chip": self.chip._asdict(),
      "sizes": self.sizes._asdict() | {"seeds": self.seeds},
      "extrapolated_from_layers": self.layers,
      "notes": self.notes,
      "state": self.state._asdict(),
      "cache": self.cache,
      "programs": {name: self._program(name) for name in self.programs},
      "ideal": {name: part._asdict() for name, part in self.ideal.items()},
      "prediction": self.prediction(),
      "fits": self.fits,
      "advice": self.advice(),
    }

  def _program(self, name: str) -> dict[str, Any]:
    program = self.programs[name]
    own = program._asdict() | {"total": self.total(name), "refused": isinstance(program, OutOfMemory)}
    if isinstance(program, OutOfMemory):
      return own
    times = program.times(self.chip)
    return own | {
      "collectives": [collective._asdict() for collective in program.collectives],
      "sent": program.sent,
      "times": times,
      "binds": max(times, key=lambda term: times[term]),
    }

  def text(self) -> str:
    """The plan as text to print."""
    axes = ", ".join(f"{axis} {size}" for axis, size in self.mesh.items())
    s, seeds = self.sizes, f", {self.seeds} seeds" if self.seeds > 1 else ""
    lines = [
      f"{self.what} on {self.topology}: {self.chips} chips ({axes})",
      f"{s.rows} rows of {s.prompt_tokens} + {s.response_tokens} tokens{seeds}; figures are per chip and iteration",
    ]
    if self.layers:
      lines += [f"extrapolated from models of {self.layers[0]} and {self.layers[1]} layers", *self.notes]
    for name, program in self.programs.items():
      lines += ["", *self._about(name, program)]
    return "\n".join([*lines, "", *self._memory(), "", *self._end()])

  def _about(self, name: str, program: CompiledProgram | OutOfMemory) -> list[str]:
    if isinstance(program, OutOfMemory):
      return [f"{name}: the compiler refused it, it needs {program.temporary / GIB:.2f} GiB besides its arguments"]
    times, ideal = program.times(self.chip), self.ideal.get(name)
    binds = max(times, key=lambda term: times[term])
    rows = [
      ("compute", _unit(program.flops, "FLOP"), _unit(ideal.flops) if ideal else ""),
      ("HBM", _unit(program.hbm_bytes, "B"), ""),
      ("interconnect", _unit(program.sent, "B"), _unit(ideal.sent) if ideal else ""),
    ]
    lines = [f"{name:16}{'compiled':>12}{'in theory':>12}{'time':>12}   ({program.seconds:.0f} s to compile)"]
    for term, amount, least in rows:
      mark = "   binds" if term == binds else ""
      lines.append(f"  {term:14}{amount:>12}{least:>12}{_seconds(times[term]):>12}{mark}")
    for collective in program.collectives:
      if collective.bytes >= 0.01 * program.sent:
        size = _unit(collective.bytes, "B")
        lines.append(f"    {collective.kind} among {collective.group}, {collective.times:.0f} times: {size}")
    if program.uncounted:
      lines.append(f"  loops of unknown length, counted as one turn: {program.uncounted}")
    return lines

  def _memory(self) -> list[str]:
    names = list(self.programs)
    of = lambda value: [value(name, self.programs[name]) for name in names]
    if_compiled = lambda value: lambda name, p: None if isinstance(p, OutOfMemory) else value(name, p)
    cache = lambda name: self.cache if name.startswith("rollout") else 0.0
    table = [
      ("parameters", of(lambda name, p: self.state.parameters)),
      ("optimiser", of(lambda name, p: self.state.optimizer)),
      ("cache", of(lambda name, p: min(cache(name), p.temporary))),
      ("activations and temporary", of(lambda name, p: p.temporary - min(cache(name), p.temporary))),
      ("outputs and code", of(if_compiled(lambda name, p: p.outputs + p.code))),
      ("total", of(lambda name, p: self.total(name))),
    ]
    lines = [f"{'memory, GiB':28}" + "".join(f"{name:>12}" for name in names)]
    for label, values in table:
      cells = "".join(f"{'?' if value is None else f'{value / GIB:.2f}':>12}" for value in values)
      lines.append(f"  {label:26}{cells}")
    return [*lines, f"  {f'of {self.chip.name}':26}" + "".join(f"{self.chip.hbm / GIB:12.2f}" for _ in names)]

  def _end(self) -> list[str]:
    predicted, lines = self.prediction(), []
    if predicted is not None:
      speed = predicted["tokens_per_second"]
      lines.append(
        f"at the published rates: {_seconds(predicted['seconds'])} per iteration, {_unit(speed)} tokens/s "
        f"({_unit(speed / self.chips)} per chip); {predicted['binds']} binds, in the {predicted['program']}"
      )
    if self.fits:
      return [*lines, "fits"]
    return [*lines, f"does not fit: {', '.join(self.too_large)}; change", *(f"  {change}" for change in self.advice())]


def scaling(plans: list[Plan]) -> str:
  """Table of programs by number of chips, beside the theoretical minimum of their layouts."""
  lines = [f"{'chips':>6}  {'program':10}{'FLOP':>10}{'in theory':>11}{'sent':>10}{'in theory':>11}   mesh"]
  for plan in plans:
    for name, program in plan.programs.items():
      if isinstance(program, OutOfMemory):
        cells = f"{'refused':>10}"
      else:
        ideal = plan.ideal.get(name)
        values = (program.flops, ideal.flops if ideal else None, program.sent, ideal.sent if ideal else None)
        widths = (10, 11, 10, 11)
        cells = "".join(f"{'' if v is None else _unit(v):>{w}}" for v, w in zip(values, widths, strict=True))
      axes = " x ".join(str(size) for size in plan.mesh.values())
      lines.append(f"{plan.chips:6}  {name:10}{cells}   {axes}")
  return "\n".join(lines)


def _unit(value: float, unit: str = "") -> str:
  for scale, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
    if value >= scale:
      return f"{value / scale:.3g} {prefix}{unit}"
  return f"{value:.3g} {unit}".rstrip()


def _seconds(value: float) -> str:
  for scale, unit in ((1.0, "s"), (1e-3, "ms")):
    if value >= scale:
      return f"{value / scale:.3g} {unit}"
  return f"{value / 1e-6:.3g} us"
