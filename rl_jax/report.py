"""Figures and a page of a run: `python -m rl_jax.report runs/grpo` writes report.png and report.html there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rl_jax.runs.directory import find_run
from rl_jax.runs.errors import RunError
from rl_jax.runs.report import write_report


def main(arguments: Sequence[str] | None = None) -> int:
  """Returns the exit status: 0, or 1 after one line on what went wrong."""
  description = "Write report.png and report.html of a run."
  parser = argparse.ArgumentParser(prog="python -m rl_jax.report", description=description)
  parser.add_argument("workdir", help="folder of the run, as given to --workdir")
  workdir = parser.parse_args(arguments).workdir
  try:
    picture, page = write_report(find_run(workdir))
  except RunError as error:
    print(error, file=sys.stderr)
    return 1
  print(f"{page}\n{picture}")
  return 0


if __name__ == "__main__":
  sys.exit(main())
