"""Run in a process with eight devices: one iteration of each case on one device and on eight, as JSON lines.

Its argument is a list of cases in JSON: a method of the package by name, or a config's file, with overrides.
"""

from __future__ import annotations

import json
import sys

import jax

from rl_jax.configuration import configs
from rl_jax.launching import initialization
from rl_jax.training import mesh
from tests.training import every_method
from tests.training.on_eight_devices import layout, numbers

SHAPES = ((1, 1, 1), (2, 2, 2))


def case_of(name: str, overrides: list[str], shape: tuple[int, ...]):
  """The experiment of a case, and the starts of its models."""
  sizes = [f"mesh.{axis}={size}" for axis, size in zip(mesh.AXES, shape, strict=True)]
  if name in every_method.METHODS:
    return every_method.built(every_method.config_of(name, *overrides, *sizes)), {}
  experiment = initialization.build(configs.resolve(name, [*overrides, *sizes]))
  found = initialization.find(experiment, None, None)
  return experiment, {role: start.params for role, start in found.items()}


def iterate(name: str, overrides: list[str], shape: tuple[int, ...]) -> dict:
  trainer = every_method.trainer_of(*case_of(name, overrides, shape))
  models = lambda: {role: model.params for role, model in trainer.state.seeds.models.items()}
  before = numbers(models())
  done = trainer.advance()
  return {
    "tokens": [sample["tokens"] for sample in done.samples],
    "metrics": {name: float(value[0]) for name, value in done.metrics[0].items()},
    "before": before,
    "after": numbers(models()),
    "split": layout(models()),
  }


def main() -> None:
  assert jax.device_count() == 8
  for name, overrides in json.loads(sys.argv[1]):
    for shape in SHAPES:
      print(json.dumps({"case": name, "shape": shape, "found": iterate(name, overrides, shape)}), flush=True)


if __name__ == "__main__":
  main()
