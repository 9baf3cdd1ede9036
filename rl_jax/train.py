"""Trains an experiment: python -m rl_jax.train --config=experiments/grpo.py --workdir=runs/grpo.

The same command goes on with a run that was stopped. Exit status: 0 done, 1 bad input or a run that cannot go on,
128 + signal when stopped by Ctrl-C or SIGTERM (saved, unless it was asked twice).
"""

from __future__ import annotations

import os
import signal
import sys

from rl_jax import configs, processes
from rl_jax.launch import Terminal, train
from rl_jax.runs.errors import RunError
from rl_jax.stop import Stop
from rl_jax.training.errors import TrainingError
from rl_jax.training.manifests import CheckpointError


def main(argv: list[str]) -> int:
  """Runs the command line; returns the exit status."""
  stop = Stop()
  stop.listen()
  try:
    parser = configs.make_parser(__doc__.splitlines()[0])
    processes.add_flags(parser)
    flags = configs.parse_flags(argv, parser)
    assert flags.workdir is not None
    processes.join(flags.options)
    config = configs.resolve(flags.config, flags.overrides)
    stream = sys.stderr if processes.first() else open(os.devnull, "w")
    terminal = Terminal(["python", "-m", "rl_jax.train", *argv], stream, stop)
    train(config, flags.workdir, terminal)
  except (configs.ConfigError, RunError, TrainingError, CheckpointError) as error:
    print(f"rl_jax.train: {error}", file=sys.stderr)
    return processes.leave(1) if processes.several() else 1
  except KeyboardInterrupt:
    print("rl_jax.train: ended at once; the newest checkpoint stands", file=sys.stderr)
    return 128 + (stop.requested or signal.SIGINT)
  return 0 if stop.requested is None else 128 + stop.requested


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
