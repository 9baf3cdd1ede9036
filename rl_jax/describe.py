"""Explain the fields of an experiment: python -m rl_jax.describe grpo method.kl_coefficient.

A field is named as in --config.FIELD, by the end of that name, or by its section; without one all are listed. Each has
its value in this experiment, its default where that differs, the range that it is held to, and the comment beside the
default. Without an experiment the fields are those of grpo.
"""

from __future__ import annotations

import sys

from rl_jax.configuration import command_line, configs
from rl_jax.configuration.description import chosen, described
from rl_jax.configuration.parts import experiment_file
from rl_jax.errors import UserError
from rl_jax.launching.commands import command
from rl_jax.runs.visible import say


def _is_experiment(word: str) -> bool:
  try:
    experiment_file(word.partition(":")[0])
  except UserError:
    return False
  return True


@command("rl_jax.describe")
def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  parser = command_line.make_parser("describe", __doc__.splitlines()[0], workdir=False)
  parser.add_argument("words", metavar="[EXPERIMENT] FIELD", nargs="*", help="as in grpo method.kl_coefficient")
  flags = command_line.parse_flags(argv, parser, required=())
  experiment, fields = flags.config, list(flags.options.words)
  if experiment is None:
    experiment = fields.pop(0) if fields and _is_experiment(fields[0]) else "grpo"
  lines = described(configs.resolve_experiment(experiment, flags.overrides))
  for line in [line for field in fields for line in chosen(lines, field)] if fields else lines.values():
    say(line)
  return 0


if __name__ == "__main__":
  sys.exit(main())
