"""Estimate a run on a TPU topology without the hardware: python -m rl_jax.plan --config=FILE --topology=v5p:4x4x4.

Compiles the programs of one iteration (rollout and update) ahead of time for the topology. libtpu does this on a CPU,
and no array is allocated. Prints, per chip: memory against HBM capacity, operations, HBM traffic, bytes and kinds of
collectives, the time of each at the chip's published rates, and the bottleneck. The time of a program is the longest of
the three, as if it hid the others; tokens per second are thus an upper bound that no run reaches. Operations and bytes
sent are printed beside the theoretical minimum of the layout (`rl_jax.planning.ideal`).

Loops count once per iteration, the sampler as if every response had the maximal length (`rl_jax.planning.hlo`). Several
topologies, separated by commas, give a scaling table. --layers=1,2 compiles models with that many layers and
extrapolates linearly, for models that take too long to compile.

Exit status: 0, or 1 if the run does not fit (with advice) or after a one-line error.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
from typing import Any

import jax
from ml_collections import ConfigDict

from rl_jax.configuration import command_line, configs
from rl_jax.errors import UserError
from rl_jax.launching import initialization
from rl_jax.launching.commands import command
from rl_jax.planning import chips, fitting, ideal, planned
from rl_jax.planning.compiled import compile_all, extrapolated, falls
from rl_jax.training import mesh, programs
from rl_jax.training.experiment import Experiment


def plan(config: ConfigDict, topology: str, layers: tuple[int, int] | None = None) -> planned.Plan:
  """Plan of a resolved config on a topology; see `rl_jax.planning.chips.topology`.

  Args:
    layers: two numbers of layers to compile, in place of the model's own.

  Raises: UserError: one line that says what was got and what to do.
  """
  chip, devices = chips.topology(topology)
  if config.model.get("logprobs") == "pallas":
    raise UserError("model.logprobs=pallas is compiled where a TPU is: plan with model.logprobs=chunked")
  experiment, device_mesh = initialization.build(config), mesh.make_mesh(config.mesh, devices)
  with contextlib.closing(experiment.task):
    sizes = ideal.with_trees(experiment, ideal.sizes(experiment))
    proposed = fitting.propose(experiment, devices, sizes.rows, chip)
    try:
      notes: list[str] = []
      if layers is None:
        compiled = compile_all(experiment, device_mesh, _say)
      else:
        compiled, notes = _by_layers(config, experiment, device_mesh, layers)
    except UserError as error:
      if proposed is None:
        raise
      raise UserError(f"{error}; with this batch: {proposed.flags()}") from error
    state = fitting.state_bytes(programs.abstract_state(experiment, device_mesh).seeds)
    return planned.Plan(
      what=f"{_name(config)} ({_parameters(experiment):,} parameters), {config.task.name}",
      topology=topology,
      chip=chip,
      mesh=dict(device_mesh.shape),
      sizes=sizes,
      seeds=config.num_seeds,
      layers=layers,
      notes=notes,
      state=state,
      cache=ideal.cache_bytes(experiment, sizes, device_mesh),
      programs=compiled,
      ideal={
        "rollout": ideal.rollout(experiment, sizes, device_mesh),
        "update": ideal.update(experiment, sizes, device_mesh),
      },
      advise=lambda large: fitting.advice(experiment, chip, device_mesh, state, proposed, large),
    )


def _by_layers(
  config: ConfigDict, experiment: Experiment, device_mesh: jax.sharding.Mesh, at: tuple[int, int]
) -> tuple[dict[str, Any], list[str]]:
  """Programs of models of `at` layers, extrapolated to the model's depth, with notes where that is a guess."""
  if "layers" not in config.model:
    raise UserError(f"--layers: those of {config.model.name} come from its checkpoint: leave the flag out")
  compiled = []
  for layers in at:
    shallow = initialization.build(configs.resolve_config(config, {"model.layers": layers}))
    with contextlib.closing(shallow.task):
      compiled.append(compile_all(shallow, device_mesh, _say))
  few, more = compiled
  depth = experiment.models["policy"].config.layers
  notes = [
    f"{name}: {term} is less with {at[1]} layers than with {at[0]}, so that of {depth} is a guess: take more layers"
    for name in few
    for term in falls(few[name], more[name])
  ]
  return {name: extrapolated(few[name], more[name], at, depth) for name in few}, notes


def _name(config: ConfigDict) -> str:
  return config.model.get("architecture") or config.model.get("checkpoint") or config.model.name


def _parameters(experiment: Experiment) -> int:
  """Number of parameters of the policy."""
  return sum(math.prod(x.shape) for x in jax.tree.leaves(experiment.models["policy"].abstract))


def _say(text: str) -> None:
  print(f"rl_jax.plan: {text}", file=sys.stderr, flush=True)


def _layers(text: str) -> tuple[int, int]:
  numbers = text.split(",")
  if len(numbers) != 2 or not all(n.isdecimal() and int(n) for n in numbers) or int(numbers[0]) >= int(numbers[1]):
    raise argparse.ArgumentTypeError(f"two numbers that rise, as in 1,2, got {text!r}")
  return int(numbers[0]), int(numbers[1])


@command("rl_jax.plan")
def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  parser = command_line.make_parser("plan", __doc__.splitlines()[0], positional=True, workdir=False)
  parser.add_argument("--topology", metavar="CHIP:SHAPE", help="v5e:2x4, v5p:4x4x4, v6e:16x16 …; several with commas")
  parser.add_argument("--layers", type=_layers, metavar="A,B", help="compile so many layers and extrapolate")
  parser.add_argument("--format", choices=("text", "json"), default="text", help="of what is printed")
  flags = command_line.parse_flags(argv, parser, required=("config", "topology"))
  config = configs.resolve_experiment(flags.config, flags.overrides)
  plans = [plan(config, topology, flags.options.layers) for topology in flags.options.topology.split(",")]
  if flags.options.format == "json":
    print(json.dumps([topology_plan.record() for topology_plan in plans], indent=2))
  else:
    texts = [topology_plan.text() for topology_plan in plans]
    print("\n\n".join(texts + ([planned.scaling(plans)] if len(plans) > 1 else [])))
  return 0 if all(topology_plan.fits for topology_plan in plans) else 1


if __name__ == "__main__":
  sys.exit(main())
