"""The flags that commands share: an experiment, a workdir, overrides of the experiment's fields."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from rl_jax.configuration.parts import nearest
from rl_jax.errors import UserError


class Flags(NamedTuple):
  config: str  # path of the file, with ':variant' if one was given
  workdir: Path | None
  overrides: list[str]  # 'key=value', in the order of the command line
  options: argparse.Namespace  # flags of the program's own


class Parser(argparse.ArgumentParser):
  """A parser whose complaints are one line like all others."""

  def error(self, message: str) -> NoReturn:
    """Raises UserError."""
    raise UserError(message)


def make_parser(description: str = "", *, positional: bool = False) -> argparse.ArgumentParser:
  """A parser with --config and --workdir, to which a program can add its own flags.

  Args:
    positional: the experiment may also stand alone, without --config=.
  """
  parser = Parser(
    description=description,
    allow_abbrev=False,
    epilog="--config.KEY=VALUE changes one field, as in --config.learning_rate=3e-4 --config.task.modulus=7",
  )
  parser.add_argument("--config", metavar="NAME[:VARIANT]", help="experiment, as in grpo:smoke, or a file")
  parser.add_argument("--workdir", metavar="FOLDER", type=Path, help="where the run is kept, as in runs/grpo")
  if positional:
    parser.add_argument("experiment", metavar="EXPERIMENT", nargs="?", help="the same as --config=EXPERIMENT")
  return parser


def parse_flags(
  argv: Sequence[str],
  parser: argparse.ArgumentParser | None = None,
  required: Sequence[str] = ("config", "workdir"),
) -> Flags:
  """Reads the arguments after the program's name; raises UserError for what it does not know."""
  parser = parser or make_parser()
  own: list[str] = []
  overrides: list[str] = []
  waiting = list(argv)
  while waiting:
    argument = waiting.pop(0)
    if not argument.startswith("--config."):
      own.append(argument)
      continue
    key, equals, value = argument.removeprefix("--config.").partition("=")
    if not equals:
      if not waiting or waiting[0].startswith("--"):
        raise UserError(f"--config.{key} has no value: write --config.{key}=VALUE")
      value = waiting.pop(0)
    overrides.append(f"{key}={value}")
  options, unknown = parser.parse_known_args(own)
  if unknown:
    flag = unknown[0].partition("=")[0]
    if not flag.startswith("-"):
      raise UserError(f"unexpected argument {flag!r}: flags are written --name=value")
    known_flags = [text for action in parser._actions for text in action.option_strings if text.startswith("--")]
    raise UserError(f"unknown flag {flag!r}{nearest(flag, known_flags)}")
  alone = getattr(options, "experiment", None)
  if alone is not None:
    if options.config is not None:
      raise UserError(f"two experiments, {alone!r} and --config={options.config}: give one")
    options.config = alone
  examples = {"config": "grpo", "workdir": "runs/grpo"}
  for name in required:
    if getattr(options, name) is None:
      raise UserError(f"--{name} is missing: write for example --{name}={examples.get(name, 'VALUE')}")
  return Flags(options.config, options.workdir, overrides, options)


def default_workdir(experiment: str) -> Path:
  """Where a run of an experiment is kept if nobody says: runs/grpo, of a variant runs/grpo-smoke."""
  name, _, variant = re.sub(r"\.py(?=:|$)", "", experiment).partition(":")
  return Path("runs") / "-".join(filter(None, (Path(name).name, variant)))
