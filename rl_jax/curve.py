"""Prints a run in its small, committable form: python -m rl_jax.curve runs/grpo > experiments/results/grpo.json."""

from __future__ import annotations

import argparse
import json
import sys

from rl_jax.runs.curve import curve
from rl_jax.runs.directory import find_run
from rl_jax.runs.errors import RunError
from rl_jax.runs.visible import say


def main(argv: list[str]) -> int:
  """Runs the command line; returns the exit status."""
  parser = argparse.ArgumentParser(prog="python -m rl_jax.curve", description=__doc__.splitlines()[0])
  parser.add_argument("run", metavar="RUN", help="folder of the run, as in runs/grpo")
  parser.add_argument("--metrics", nargs="+", default=["held_out/sampled_accuracy", "held_out/greedy_accuracy"])
  flags = parser.parse_args(argv)
  try:
    say(json.dumps(curve(find_run(flags.run), flags.metrics), indent=1))
  except RunError as error:
    print(f"rl_jax.curve: {error}", file=sys.stderr)
    return 1
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
