"""Write the report of a run, or a comparison of several: python -m rl_jax.report runs/grpo runs/rloo.

One run: report.png and report.html in its folder. Several runs: comparison.png and comparison.html in the folder that
they share, or where `--output` says.
"""

from __future__ import annotations

import sys

from rl_jax.configuration.command_line import Parser, add_runs, runs_of, to_path
from rl_jax.errors import UserError
from rl_jax.launching import vouching
from rl_jax.launching.commands import command
from rl_jax.runs.comparison_report import write_comparison
from rl_jax.runs.directory import find_run
from rl_jax.runs.panels import ITERATIONS, TOKENS
from rl_jax.runs.report import write_report
from rl_jax.runs.visible import say, visible

ACROSS = {"iterations": ITERATIONS, "tokens": TOKENS}


@command("rl_jax.report")
def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  parser = Parser("report", __doc__.splitlines()[0])
  add_runs(parser, "folder of a run, as in runs/grpo; several are set side by side")
  parser.add_argument(
    "--output", metavar="NAME", type=to_path, help="of a comparison: NAME.png and NAME.html, as in runs/comparison"
  )
  parser.add_argument(
    "--across", choices=list(ACROSS), default="iterations", help="what curves are drawn over; iterations by default"
  )
  flags = parser.parse(argv)
  runs = [find_run(workdir) for workdir in runs_of(flags)]
  output = flags.output
  if output is not None and output.suffix in (".html", ".png"):
    output = output.with_suffix("")
  if len(runs) == 1 and output is not None:
    raise UserError("--output is for a comparison: name several runs, or leave it out")
  faults = [vouching.say_faults("rl_jax.report", run) for run in runs]
  if len(runs) > 1:
    picture, page = write_comparison(runs, output, ACROSS[flags.across], faults)
  else:
    picture, page = write_report(runs[0], ACROSS[flags.across], faults[0])
  say(f"{visible(page, keep='')}\n{visible(picture, keep='')}")
  return 0


if __name__ == "__main__":
  sys.exit(main())
