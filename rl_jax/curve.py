"""Print a run as small JSON that can be committed: python -m rl_jax.curve runs/grpo > experiments/results/grpo.json."""

from __future__ import annotations

import json
import sys

from rl_jax.configuration.command_line import Parser, add_runs, runs_of
from rl_jax.launching import vouching
from rl_jax.launching.commands import command
from rl_jax.runs.curve import curve
from rl_jax.runs.directory import find_run
from rl_jax.runs.files import plain
from rl_jax.runs.metric_names import ACCURACY, GREEDY
from rl_jax.runs.visible import say


@command("rl_jax.curve")
def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  parser = Parser("curve", __doc__.splitlines()[0])
  add_runs(parser, "folder of the run, as in runs/grpo")
  several = "metrics to print, several with commas; held-out accuracy, sampled and greedy, by default"
  parser.add_argument("--metrics", metavar="A,B", default=f"{ACCURACY},{GREEDY}", help=several)
  flags = parser.parse(argv)
  (run,) = runs_of(flags, most=1)
  directory = find_run(run)
  text = json.dumps(plain(curve(directory, flags.metrics.split(","))), indent=1)
  vouching.say_faults("rl_jax.curve", directory)
  say(text)
  return 0


if __name__ == "__main__":
  sys.exit(main())
