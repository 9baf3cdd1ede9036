"""Time rollouts and updates against a roofline measured in the same run: python -m rl_jax.benchmark iteration.

`iteration`: one GRPO iteration, rollout and update, beside Tunix and TRL. `seeds`: an iteration with 1, 4 and 8 seeds.
`generate`: the sampler on a pretrained model, beside `transformers`. `reshard`: resharding parameters for generation.
`shared`: scoring and its gradient for rows that share text. `lengths`: the same for responses of different lengths.
`kernels`: gates, structured layers, four-bit formats and retrieval, beside plain operations and bounds. Each is
described in its file in rl_jax/benchmarks/.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from rl_jax.benchmarks import generation, iteration, kernels, peer_process
from rl_jax.benchmarks.generation import Settings, generate_benchmark
from rl_jax.benchmarks.iteration import iteration_benchmark
from rl_jax.benchmarks.lengths import lengths_benchmark
from rl_jax.benchmarks.reshard import reshard_benchmark
from rl_jax.benchmarks.seeds import seeds_benchmark
from rl_jax.benchmarks.shared import shared_benchmark
from rl_jax.configuration import command_line
from rl_jax.errors import UserError
from rl_jax.launching.commands import command


def _iteration(flags: command_line.Flags) -> None:
  if flags.config:
    raise UserError("iteration times the experiment `benchmark`: leave --config out, give overrides")
  iteration_benchmark(flags.overrides, flags.options.repeats, flags.options.peer)


def _seeds(flags: command_line.Flags) -> None:
  seeds_benchmark(flags.config or "grpo", flags.overrides, flags.options.repeats)


def _reshard(flags: command_line.Flags) -> None:
  reshard_benchmark(flags.config or "benchmark", flags.overrides, flags.options.repeats)


def _generate(flags: command_line.Flags) -> None:
  options = flags.options
  _refuse(flags, "generate times a --model")
  unknown = [name for name in options.dtype if name not in ("float32", "bfloat16", "float16")]
  if unknown:
    raise UserError(f"--dtype is float32, bfloat16 or float16, or several with commas, got {unknown[0]!r}")
  generate_benchmark(
    Settings(options.model, options.batch, options.new_tokens, options.dtype, options.peer, options.repeats)
  )


def _shared(flags: command_line.Flags) -> None:
  _refuse(flags, "shared times groups and trees by --prompt, --response and --shape")
  options = flags.options
  if min(*options.prompt, *options.response, *(children for shape in options.shape for children in shape)) < 1:
    raise UserError("shared needs --prompt, --response and the numbers of --shape of at least 1")
  shared_benchmark(options.prompt, options.response, options.shape, options.repeats)


def _lengths(flags: command_line.Flags) -> None:
  _refuse(flags, "lengths times responses by --prompt and --response")
  options = flags.options
  if min(*options.prompt, *options.response) < 1:
    raise UserError("lengths needs --prompt and --response of at least 1")
  lengths_benchmark(options.prompt, options.response, options.repeats)


def _kernels(flags: command_line.Flags) -> None:
  _refuse(flags, "kernels times families of kernels by --rows and --width")
  options = flags.options
  unknown = [name for name in options.family if name not in kernels.FAMILIES]
  if unknown:
    raise UserError(f"--family is {', '.join(kernels.FAMILIES)}, or several with commas, got {unknown[0]!r}")
  if min(*options.rows, *options.width) < 64 or any(width % 64 for width in options.width):
    raise UserError("kernels needs --rows of at least 64, and --width of multiples of 64")
  kernels.kernels_benchmark(options.family, options.rows, options.width, options.repeats)


def _refuse(flags: command_line.Flags, what: str) -> None:
  if flags.config or flags.overrides:
    raise UserError(f"{what}: it takes no --config")


BENCHMARKS: dict[str, Callable[[command_line.Flags], None]] = {
  "iteration": _iteration,
  "seeds": _seeds,
  "generate": _generate,
  "reshard": _reshard,
  "shared": _shared,
  "lengths": _lengths,
  "kernels": _kernels,
}


OPTIONS: dict[str, tuple[str, ...]] = {
  "generate": ("model", "batch", "new_tokens", "dtype"),
  "shared": ("prompt", "response", "shape"),
  "lengths": ("prompt", "response"),
  "kernels": ("family", "rows", "width"),
}
"""Options that only some benchmarks take."""
PEERS = {"iteration": iteration.PEERS, "generate": generation.PEERS}
"""Scripts that run the same benchmark in another package, by name."""


def _numbers(text: str) -> tuple[int, ...]:
  return tuple(int(number) for number in text.split(","))


def _shapes(text: str) -> tuple[tuple[int, ...], ...]:
  return tuple(tuple(int(children) for children in shape.split("-")) for shape in text.split(","))


def _words(text: str) -> tuple[str, ...]:
  return tuple(text.split(","))


def _parser() -> command_line.Parser:
  parser = command_line.make_parser("benchmark", __doc__.splitlines()[0], workdir=False)
  parser.add_argument("benchmark", choices=sorted(BENCHMARKS), nargs="?", help="what to time")
  parser.add_argument("--repeats", metavar="N", type=int, help="times that it is timed; 7 by default, 3 of generate")
  parser.add_argument(
    "--peer",
    action="append",
    default=[],
    metavar="NAME=PYTHON",
    help="a Python with another package, for the comparison: tunix or trl of iteration, may be given for each; "
    "transformers of generate, where NAME= may be left out",
  )
  generate = parser.add_argument_group("generate")
  generate.add_argument("--model", default="smollm2-135m-instruct", help="pretrained: a name, folder or .gguf file")
  generate.add_argument("--batch", type=_numbers, default=(32, 64), help="rows, as in 32,64")
  generate.add_argument("--new_tokens", metavar="N", type=int, default=128, help="of each row; 128 by default")
  generate.add_argument("--dtype", type=_words, default=("float32",), help="as in float32,bfloat16")
  shared = parser.add_argument_group("shared, lengths")
  shared.add_argument("--prompt", type=_numbers, default=(16, 64), help="slots of prompts, as in 16,64")
  shared.add_argument("--response", type=_numbers, default=(16, 64), help="slots of responses, of a tree's segments")
  shared.add_argument("--shape", type=_shapes, default=((4,), (8,), (16,), (4, 4, 4)), help="groups and trees: 8,4-4-4")
  of_kernels = parser.add_argument_group("kernels")
  of_kernels.add_argument("--family", type=_words, default=tuple(kernels.FAMILIES), help="as in gates,search; else all")
  of_kernels.add_argument("--rows", type=_numbers, default=(4096,), help="tokens or documents, as in 1024,4096")
  of_kernels.add_argument("--width", type=_numbers, default=(1024,), help="of a vector, as in 512,1024")
  return parser


def _refuse_options_of_others(name: str, options: argparse.Namespace, parser: command_line.Parser) -> None:
  """Raise UserError if an option is given that this benchmark does not take."""
  for option in sorted({option for taken in OPTIONS.values() for option in taken} - set(OPTIONS.get(name, ()))):
    if getattr(options, option) != parser.get_default(option):
      owners = ", ".join(other for other, taken in OPTIONS.items() if option in taken)
      raise UserError(f"--{option} is an option of {owners}: {name} does not take it")


@command("rl_jax.benchmark")
def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  parser = _parser()
  flags = command_line.parse_flags(argv, parser, required=())
  if flags.options.benchmark is None:
    raise UserError(f"no benchmark is named: give one of {', '.join(sorted(BENCHMARKS))}")
  if flags.options.repeats is None:
    flags.options.repeats = 3 if flags.options.benchmark == "generate" else 7
  if flags.options.repeats < 1:
    raise UserError(f"--repeats={flags.options.repeats}: at least 1")
  name = flags.options.benchmark
  _refuse_options_of_others(name, flags.options, parser)
  flags.options.peer = peer_process.chosen(name, flags.options.peer, PEERS.get(name, {}))
  BENCHMARKS[name](flags)
  return 0


if __name__ == "__main__":
  sys.exit(main())
