"""Write the report of a run, or a comparison of several: python -m rl_jax.report runs/grpo runs/rloo.

One run: report.png and report.html in its folder. Several runs: comparison.png and comparison.html in the folder that
they share, or where `--output` says. With `--follow` neither is written: the page is served while the run trains, and
keeps itself current in a browser.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence

from rl_jax.configuration.command_line import Parser, add_runs, runs_of, to_path
from rl_jax.errors import UserError
from rl_jax.launching import vouching
from rl_jax.launching.commands import command
from rl_jax.runs.comparison_report import comparison_page, write_comparison
from rl_jax.runs.directory import RunDirectory, find_run
from rl_jax.runs.following import Follower
from rl_jax.runs.live_server import HOST, PORT, LiveServer
from rl_jax.runs.panels import ITERATIONS, TOKENS
from rl_jax.runs.report import report_page, write_report
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
  parser.add_argument("--follow", action="store_true", help="serve the page while the run trains, until Ctrl-C")
  parser.add_argument("--port", type=to_port, help=f"of --follow; {PORT} by default, 0 for any that is free")
  parser.add_argument("--host", help=f"of --follow: address to bind; {HOST} by default, for this machine alone")
  flags = parser.parse(argv)
  runs = [find_run(workdir) for workdir in runs_of(flags)]
  output = flags.output
  if output is not None and output.suffix in (".html", ".png"):
    output = output.with_suffix("")
  if flags.follow and output is not None:
    raise UserError("--follow writes no file: leave --output out")
  if len(runs) == 1 and output is not None:
    raise UserError("--output is for a comparison: name several runs, or leave it out")
  if not flags.follow and (flags.port is not None or flags.host is not None):
    raise UserError("--port and --host are of --follow: add it, or leave them out")
  if flags.follow:
    follow(runs, ACROSS[flags.across], flags.host or HOST, PORT if flags.port is None else flags.port)
    return 0
  faults = [vouching.say_faults("rl_jax.report", run) for run in runs]
  if len(runs) > 1:
    picture, page = write_comparison(runs, output, ACROSS[flags.across], faults)
  else:
    picture, page = write_report(runs[0], ACROSS[flags.across], faults[0])
  say(f"{visible(page, keep='')}\n{visible(picture, keep='')}")
  return 0


def follow(runs: Sequence[RunDirectory], across: str, host: str, port: int) -> None:
  """Serve the page of one run, or the comparison of several, until interrupted."""
  server = LiveServer(Follower(runs, functools.partial(page_of, runs, across)), host, port)
  with server:
    say(f"{server.url} (Ctrl-C ends it)")
    if not server.is_local:
      say("every machine that reaches this address can read the page")
    sys.stdout.flush()
    server.serve_forever()


def page_of(runs: Sequence[RunDirectory], across: str) -> str:
  """The current page of one run, or the comparison of several, with the faults of their records."""
  faults = [vouching.record_faults(run) for run in runs]
  return report_page(runs[0], across, faults[0]) if len(runs) == 1 else comparison_page(runs, across, faults)


def to_port(text: str) -> int:
  """Port of an argument. Raises: ArgumentTypeError: it is none."""
  if not text.isdecimal() or int(text) > 65535:
    raise argparse.ArgumentTypeError(f"{text!r} is no port: a whole number from 0 to 65535")
  return int(text)


if __name__ == "__main__":
  sys.exit(main())
