"""Programs of an iteration, compiled for a mesh and analysed without running them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from rl_jax.planning import costs
from rl_jax.planning.chips import Chip
from rl_jax.planning.collectives import Collective, collectives
from rl_jax.planning.fitting import asked_for
from rl_jax.planning.hlo import Program
from rl_jax.training import programs
from rl_jax.training.experiment import Experiment

TERMS = ("compute", "HBM", "interconnect")


class CompiledProgram(NamedTuple):
  """One program on one chip, with the bytes, operations and counts of one run."""

  arguments: float
  outputs: float
  """Bytes of outputs that do not reuse an argument's memory."""
  temporary: float
  code: float
  flops: float
  hbm_bytes: float
  collectives: list[Collective]
  uncounted: int
  """Number of loops of unknown length, each counted as one iteration."""
  seconds: float
  """Compilation time."""

  @property
  def sent(self) -> float:
    """Bytes to other chips."""
    return sum(collective.bytes for collective in self.collectives)

  def times(self, chip: Chip) -> dict[str, float]:
    """Seconds of each term of the roofline, at the chip's published rates."""
    terms = self.flops / chip.flops, self.hbm_bytes / chip.hbm_rate, self.sent / chip.link_rate
    return dict(zip(TERMS, terms, strict=True))


class OutOfMemory(NamedTuple):
  """Program that the compiler refused because it exceeds a chip's memory."""

  temporary: float
  """Bytes that the program would need."""


def compile_all(
  experiment: Experiment, device_mesh: jax.sharding.Mesh, say: Callable[[str], None]
) -> dict[str, CompiledProgram | OutOfMemory]:
  """The programs of one iteration by name; see `rl_jax.training.programs.lower`.

  Args:
    say: called with a line before each compilation, which may take minutes.
  """
  compiled: dict[str, CompiledProgram | OutOfMemory] = {}
  for name, lowered in programs.lower(experiment, device_mesh).items():
    layers = experiment.models["policy"].config.layers
    say(f"compiling {name} of {layers} layers for {device_mesh.size} chips")
    compiled[name] = _measured(lowered)
  return compiled


def _measured(lowered: Any) -> CompiledProgram | OutOfMemory:
  started = time.monotonic()
  try:
    compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    requested = asked_for(error)
    if requested is None:
      raise
    return OutOfMemory(requested)
  seconds = time.monotonic() - started
  program, memory = Program(compiled.as_text()), compiled.memory_analysis()
  return CompiledProgram(
    arguments=memory.argument_size_in_bytes,
    outputs=memory.output_size_in_bytes - memory.alias_size_in_bytes,
    temporary=memory.temp_size_in_bytes,
    code=memory.generated_code_size_in_bytes,
    flops=costs.flops(program),
    hbm_bytes=costs.memory_bytes(program),
    collectives=collectives(program),
    uncounted=program.uncounted,
    seconds=seconds,
  )


def extrapolated(
  few: CompiledProgram | OutOfMemory, more: CompiledProgram | OutOfMemory, at: tuple[int, int], layers: int
) -> Any:
  """Program of `layers` layers, extrapolated from two programs of `at` layers. Each number is extrapolated linearly, or
  taken from the deeper program if it falls with depth (see `falls`)."""
  if isinstance(few, OutOfMemory) or isinstance(more, OutOfMemory):
    return more
  along = lambda a, b: max(b, a + (b - a) * (layers - at[0]) / (at[1] - at[0]))
  names = dict.fromkeys((c.kind, c.group) for c in (*more.collectives, *few.collectives))
  of = lambda program: {(c.kind, c.group): c for c in program.collectives}
  left, right = of(few), of(more)
  lines = []
  for kind, group in names:
    nothing = Collective(kind, group, 0.0, 0.0)
    a, b = left.get((kind, group), nothing), right.get((kind, group), nothing)
    lines.append(Collective(kind, group, along(a.times, b.times), along(a.bytes, b.bytes)))
  numbers = {
    name: along(getattr(few, name), getattr(more, name))
    for name in ("arguments", "outputs", "temporary", "code", "flops", "hbm_bytes")
  }
  lines.sort(key=lambda collective: -collective.bytes)
  return more._replace(**numbers, collectives=lines, seconds=few.seconds + more.seconds)


def falls(few: CompiledProgram | OutOfMemory, more: CompiledProgram | OutOfMemory) -> list[str]:
  """Names of quantities that are smaller in the deeper of two programs. The compiler treated these differently, so a
  line does not describe them."""
  if isinstance(few, OutOfMemory) or isinstance(more, OutOfMemory):
    return []
  return [name for name in ("temporary", "flops", "hbm_bytes", "sent") if getattr(more, name) < getattr(few, name)]
