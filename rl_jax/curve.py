"""Prints a run in its small, committable form: python -m rl_jax.curve runs/grpo > experiments/results/grpo.json."""

from __future__ import annotations

import json
import sys

from rl_jax.configuration.command_line import Parser
from rl_jax.launching.commands import command
from rl_jax.runs.curve import curve
from rl_jax.runs.directory import find_run
from rl_jax.runs.files import plain
from rl_jax.runs.metric_names import ACCURACY, GREEDY
from rl_jax.runs.visible import say


@command("rl_jax.curve")
def main(argv: list[str]) -> int:
  """Runs the command line; returns the exit status."""
  parser = Parser(prog="python -m rl_jax.curve", description=__doc__.splitlines()[0])
  parser.add_argument("run", metavar="RUN", help="folder of the run, as in runs/grpo")
  parser.add_argument("--metrics", nargs="+", default=[ACCURACY, GREEDY])
  flags = parser.parse_args(argv)
  say(json.dumps(plain(curve(find_run(flags.run), flags.metrics)), indent=1))
  return 0


if __name__ == "__main__":
  sys.exit(main())
