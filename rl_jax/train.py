"""Train an experiment: python -m rl_jax.train grpo --workdir=runs/grpo.

Without --workdir the run is written to runs/<experiment>. The same command resumes a run that was stopped. Exit status:
0 finished; 1 bad input, or a run that cannot continue; 128 + signal if stopped by Ctrl-C, SIGTERM or SIGHUP (after
saving, unless the signal came twice).
"""

from __future__ import annotations

import os
import signal
import sys

from rl_jax.configuration import command_line, configs
from rl_jax.launching import processes
from rl_jax.launching.commands import command
from rl_jax.launching.failures import of_users_code
from rl_jax.launching.launch import Terminal, train
from rl_jax.launching.stop import Stop


@command("rl_jax.train")
def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  stop = Stop()
  stop.listen()
  parser = command_line.make_parser("train", __doc__.splitlines()[0], positional=True)
  processes.add_flags(parser)
  flags = command_line.parse_flags(argv, parser, required=("config",))
  workdir = flags.workdir or command_line.default_workdir(flags.config)
  processes.join(flags.options)
  try:
    with processes.leaving("rl_jax.train"), of_users_code(workdir):
      config = configs.resolve_experiment(flags.config, flags.overrides)
      stream = sys.stderr if processes.first() else open(os.devnull, "w")
      terminal = Terminal(["python", "-m", "rl_jax.train", *argv], stream, stop)
      train(config, workdir, terminal)
  except KeyboardInterrupt:
    print(f"rl_jax.train: {stop.ended()}", file=sys.stderr)
    return 128 + (stop.requested or signal.SIGINT)
  return 0 if stop.requested is None else 128 + stop.requested


if __name__ == "__main__":
  sys.exit(main())
