"""Print how to cite a run: python -m rl_jax.cite runs/grpo --with=runs/rloo.

The run with its hash, commit, command and final held-out accuracy, the stages that it comes from, and the papers that
their methods implement; with `--with` also those of a baseline that it is compared with.
"""

from __future__ import annotations

import json
import sys

from rl_jax.configuration.command_line import Parser, add_runs, check_distinct, runs_of, to_path
from rl_jax.launching import vouching
from rl_jax.launching.commands import command
from rl_jax.runs import citation
from rl_jax.runs.directory import find_run
from rl_jax.runs.files import plain
from rl_jax.runs.visible import say

FORMATS = {
  "bibtex": citation.as_bibtex,
  "text": citation.as_text,
  "json": lambda runs: json.dumps(plain(citation.as_record(runs)), indent=2),
}


@command("rl_jax.cite")
def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  parser = Parser("cite", __doc__.splitlines()[0])
  add_runs(parser, "folder of the run, as in runs/grpo")
  baseline = "a baseline's run; may be repeated"
  parser.add_argument(
    "--with", dest="baselines", metavar="RUN", action="append", type=to_path, default=[], help=baseline
  )
  parser.add_argument("--format", choices=sorted(FORMATS), default="bibtex", help="of what is printed")
  flags = parser.parse(argv)
  folders = [*runs_of(flags, most=1), *flags.baselines]
  check_distinct(folders)
  directories = [find_run(folder) for folder in folders]
  runs = [citation.cited(directory) for directory in directories]
  faults = [tuple(vouching.say_faults("rl_jax.cite", directory)) for directory in directories]
  say(FORMATS[flags.format]([run._replace(faults=of_run) for run, of_run in zip(runs, faults, strict=True)]))
  return 0


if __name__ == "__main__":
  sys.exit(main())
