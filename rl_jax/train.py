"""Train an experiment: python -m rl_jax.train grpo --workdir=runs/grpo.

Without --workdir the run is kept in runs/<experiment>. The same command resumes a run that was stopped. Exit status: 0
done, 1 bad input or a run that cannot continue, 128 + signal when stopped by Ctrl-C, SIGTERM or SIGHUP (saved, unless
it was asked twice).

--config.FIELD? explains a field, as rl_jax.describe does, and trains nothing.
--dry_run trains nothing and writes nothing: it prints the resolved config, the stages that come first, sizes, memory
and programs, and ends as a launch would that does not come to its first iteration.
"""

from __future__ import annotations

import os
import signal
import sys

from rl_jax.configuration import command_line, configs
from rl_jax.configuration.description import chosen, described
from rl_jax.launching import dry_run, processes
from rl_jax.launching.commands import command
from rl_jax.launching.failures import of_users_code
from rl_jax.launching.launch import Terminal, train
from rl_jax.launching.stop import Stop
from rl_jax.runs.visible import say


@command("rl_jax.train")
def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  stop = Stop()
  stop.listen()
  parser = command_line.make_parser("train", __doc__.splitlines()[0], positional=True)
  processes.add_flags(parser)
  parser.add_argument("--dry_run", action="store_true", help="print what would be run, and run nothing")
  flags = command_line.parse_flags(argv, parser, required=("config",), explains=True)
  workdir = flags.workdir or command_line.default_workdir(flags.config)
  processes.join(flags.options)
  try:
    of_run = None if flags.options.dry_run or flags.asked else workdir  # what trains nothing makes no folder
    with processes.leaving("rl_jax.train"), of_users_code(of_run):
      config = configs.resolve_experiment(flags.config, flags.overrides)
      if flags.asked:
        for line in (line for field in flags.asked for line in chosen(described(config), field)):
          say(line)
        return 0
      if flags.options.dry_run:
        for line in dry_run.report(config, workdir):
          say(line)
        return 0
      stream = sys.stderr if processes.first() else open(os.devnull, "w")
      terminal = Terminal(["python", "-m", "rl_jax.train", *argv], stream, stop)
      train(config, workdir, terminal)
  except KeyboardInterrupt:
    print(f"rl_jax.train: {stop.ended()}", file=sys.stderr)
    return 128 + (stop.requested or signal.SIGINT)
  return 0 if stop.requested is None else 128 + stop.requested


if __name__ == "__main__":
  sys.exit(main())
