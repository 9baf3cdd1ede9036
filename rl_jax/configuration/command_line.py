"""Flags shared by commands: an experiment, a workdir, overrides of the experiment's fields."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import rl_jax
from rl_jax.configuration.parts import nearest
from rl_jax.errors import UserError


class Flags(NamedTuple):
  config: str  # name or path of the file, with ':variant' if one was given; None where it is not required
  workdir: Path | None
  overrides: list[str]  # 'key=value', in the order of the command line
  options: argparse.Namespace  # flags of the program's own
  asked: tuple[str, ...] = ()  # fields of '--config.FIELD?'


def program(name: str) -> str:
  """Name under which a command was called: "rl-jax report" or "python -m rl_jax.report"."""
  called = Path(sys.argv[0])
  by_entry_point = called.stem == "rl-jax" or called.parts[-2:] == ("rl_jax", "__main__.py")
  return f"rl-jax {name}" if by_entry_point else f"python -m rl_jax.{name}"


class Parser(argparse.ArgumentParser):
  """Parser of a command, with --help, --version and one-line errors.

  Args:
    name: name of the command, as in "report".
    about: first line of its docstring, "what it does: python -m rl_jax.report an example".
    epilog: last part of --help.
  """

  def __init__(self, name: str, about: str, epilog: str | None = None):
    does, _, example = about.rstrip(".").partition(f": python -m rl_jax.{name} ")
    description = f"{does}. Example: {program(name)} {example}" if example else does
    super().__init__(prog=program(name), description=description, epilog=epilog, allow_abbrev=False)
    version = f"rl-jax {rl_jax.__version__}"
    self.add_argument("--version", action="version", version=version, help="print the version and end")

  def error(self, message: str) -> NoReturn:
    """Raises UserError."""
    raise UserError(message)

  def _check_value(self, action: argparse.Action, value: Any) -> None:
    """Check `choices`, naming the nearest one, which argparse does not."""
    if action.choices is not None and value not in action.choices:
      raise argparse.ArgumentError(action, f"no choice {value!r}{nearest(str(value), action.choices)}")

  def _spelled(self, argument: str) -> str:
    """A flag of ours that is written with hyphens, as --dry-run, in its own spelling."""
    name, equals, value = argument.partition("=")
    spelled = f"--{name[2:].replace('-', '_')}"
    return f"{spelled}{equals}{value}" if name[:2] == "--" and spelled in self._option_string_actions else argument

  def parse(self, argv: Sequence[str]) -> argparse.Namespace:
    """Parse arguments in any order. Raises: UserError: unknown argument, with a suggestion."""
    options, unknown = self.parse_known_intermixed_args([self._spelled(argument) for argument in argv])
    if not unknown:
      return options
    flag = unknown[0].partition("=")[0]
    if not flag.startswith("-"):
      raise UserError(f"unexpected argument {flag!r}: flags are written --name=value")
    raise UserError(f"unknown flag {flag!r}{_advice(flag, self)}")


def to_path(text: str) -> Path:
  """Path of an argument; a shell leaves the ~ in --workdir=~/runs to the program.

  Raises: ArgumentTypeError: the path is empty (Path would mean the current folder), or no file can have it.
  """
  if not text.strip():
    raise argparse.ArgumentTypeError("it is empty: write a path ('.' is the current folder), or leave it out")
  if "\0" in text:
    raise argparse.ArgumentTypeError(f"{text!r} holds a null byte, which no path can: leave it out")
  expanded = os.path.expanduser(text)
  if expanded.startswith("~"):
    raise argparse.ArgumentTypeError(f"{text!r}: ~ is of no known user; for a folder of that name write './{text}'")
  return Path(expanded)


def make_parser(name: str = "train", about: str = "", *, positional: bool = False, workdir: bool = True) -> Parser:
  """A parser with --config and --workdir, to which a program can add its own flags.

  Args:
    name, about: see `Parser`.
    positional: the experiment may also be given alone, without --config=.
    workdir: False if the command writes no run.
  """
  example = "--config.KEY=VALUE changes one field, as in --config.learning_rate=3e-4 --config.sampling.temperature=0.8"
  parser = Parser(name, about, epilog=example)
  parser.add_argument("--config", metavar="NAME[:VARIANT]", help="experiment, as in grpo:smoke, or a file")
  if workdir:
    parser.add_argument("--workdir", metavar="FOLDER", type=to_path, help="folder of the run, as in runs/grpo")
  if positional:
    parser.add_argument("experiment", metavar="EXPERIMENT", nargs="?", help="the same as --config=EXPERIMENT")
  return parser


def add_runs(parser: argparse.ArgumentParser, about: str) -> None:
  """Add the arguments that name runs, RUN or --workdir=RUN, which `runs_of` reads."""
  parser.add_argument("runs", metavar="RUN", nargs="*", type=to_path, help=about)
  parser.add_argument(
    "--workdir", metavar="RUN", dest="workdirs", action="append", type=to_path, default=[], help="the same as RUN"
  )


def runs_of(options: argparse.Namespace, most: int | None = None) -> list[Path]:
  """Runs named on the command line.

  Args:
    most: largest number of runs; None: any number.

  Raises: UserError: none, or too many.
  """
  runs = [*options.runs, *options.workdirs]
  if not runs:
    raise UserError("no run is named: give its folder, as in runs/grpo")
  if most is not None and len(runs) > most:
    raise UserError(f"{len(runs)} runs are named ({', '.join(map(str, runs))}): give {most}")
  check_distinct(runs)
  return runs


def check_distinct(runs: Sequence[Path]) -> None:
  """Raise UserError for a run that is named twice."""
  places: dict[Path, Path] = {}
  for run in runs:
    other = places.setdefault(run.resolve(), run)
    if other is not run:
      twice = f"{run} is named twice" if other == run else f"{other} and {run} are the same run"
      raise UserError(f"{twice}: name each run once")


def parse_flags(
  argv: Sequence[str],
  parser: Parser | None = None,
  required: Sequence[str] = ("config", "workdir"),
  *,
  explains: bool = False,
) -> Flags:
  """Read the arguments after the program's name; raise UserError for unknown ones.

  Args:
    explains: the command answers --config.FIELD?, in `Flags.asked`.
  """
  parser = parser or make_parser()
  own: list[str] = []
  overrides: list[str] = []
  asked: list[str] = []
  waiting = list(argv)
  while waiting:
    argument = waiting.pop(0)
    if not argument.startswith("--config."):
      own.append(argument)
      continue
    key, equals, value = argument.removeprefix("--config.").partition("=")
    if not equals and key.endswith("?"):
      if not explains:
        raise UserError(f"--config.{key}: this command explains no field: rl-jax describe {key[:-1]} does")
      asked.append(key.removesuffix("?"))
      continue
    if not equals:
      if not waiting or waiting[0].startswith("--"):
        raise UserError(f"--config.{key} has no value: write --config.{key}=VALUE")
      value = waiting.pop(0)
    overrides.append(f"{key}={value}")
  options = parser.parse(own)
  alone = getattr(options, "experiment", None)
  if alone is not None:
    if options.config is not None:
      raise UserError(f"two experiments, {alone!r} and --config={options.config}: give one")
    options.config = alone
  examples = {"config": "grpo", "workdir": "runs/grpo", "topology": "v5e:2x4"}
  for name in required:
    if getattr(options, name) is None:
      raise UserError(f"--{name} is missing: write for example --{name}={examples.get(name, 'VALUE')}")
  return Flags(options.config, getattr(options, "workdir", None), overrides, options, tuple(asked))


OF_OTHERS = {
  "--across": "report",
  "--compare": "evaluate",
  "--follow": "report",
  "--iteration": "evaluate",
  "--iterations": "verify",
  "--metrics": "curve",
  "--pages": "study",
  "--push": "export",
  "--results": "study",
  "--topology": "plan",
  "--with": "cite",
}
"""Flags of one command only, for a suggestion when another is called with them."""


def _advice(flag: str, parser: argparse.ArgumentParser) -> str:
  """Suggestion for an unknown flag: a similar one, a field of the experiment, or a flag of another command."""
  known_flags = [text for action in parser._actions for text in action.option_strings if text.startswith("--")]
  field = flag.removeprefix("--")
  if field == "workdir":
    return f": {parser.prog} keeps no run"
  if difflib.get_close_matches(flag, known_flags, n=1, cutoff=0.75):
    return nearest(flag, known_flags)
  if "--config" not in known_flags:
    return f": it is a flag of {program(OF_OTHERS[flag])}" if flag in OF_OTHERS else nearest("", known_flags)
  return f": did you mean '--config.{field}'? So fields of the experiment are changed"


def default_workdir(experiment: str) -> Path:
  """Default folder of an experiment's run: runs/grpo, or runs/grpo-smoke for a variant."""
  name, _, variant = re.sub(r"\.py(?=:|$)", "", experiment).partition(":")
  return Path("runs") / "-".join(filter(None, (Path(name).name, variant)))
