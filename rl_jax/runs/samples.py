"""Decoded samples of a run.

samples.jsonl: {"iteration", "seed", "prompt", "response", "reward", …}: text as text, reward a number or null
(unscored), further fields ("level", "truncated", …) as JSON. "tokens" and "credit" are lists of equal length: the
tokens of the response and their advantages.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl_jax.errors import UserError
from rl_jax.runs import json_lines
from rl_jax.runs.directory import RunDirectory
from rl_jax.runs.fields import COUNT, MEASURED, TEXT, check_fields, list_of, or_null
from rl_jax.runs.files import decode_number, plain
from rl_jax.runs.formatting import number
from rl_jax.runs.visible import visible

FIELDS = ("iteration", "seed", "prompt", "response", "reward")
"""Fields of every sample."""
BY_TOKEN = ("tokens", "credit")
"""Optional lists with an element per token of the response."""
_KINDS = {
  "seed": COUNT, "prompt": TEXT, "response": TEXT, "reward": or_null(MEASURED), "tokens": list_of(TEXT),
  "credit": list_of(MEASURED),
}  # fmt: skip


def write_samples(directory: RunDirectory, samples: Sequence[Mapping[str, Any]]) -> None:
  """Add a line per sample.

  Raises:
    UserError: if a sample lacks one of `FIELDS`, or the disk is full.
  """
  for sample in samples:
    missing = [name for name in FIELDS if name not in sample]
    if missing:
      raise UserError(f"a sample needs {', '.join(FIELDS)}, got none for {', '.join(missing)}")
  if samples:
    json_lines.append(directory.samples, [plain(dict(sample)) for sample in samples])


def read_samples(path: Path) -> list[dict[str, Any]]:
  """Samples in file order; none without a file. An unfinished last line is left out.

  Raises:
    UserError: if another line is damaged, lacks one of `FIELDS`, or has a field of another type.
  """
  samples = json_lines.read(path)
  for index, sample in enumerate(samples):
    missing = [name for name in FIELDS if name not in sample]
    if missing:
      raise UserError(f"{path}, line {index + 1} has no {missing[0]!r}: restore the file, or remove that line")
    check_fields(sample, f"{path}, line {index + 1}", _KINDS, ())
    sample["reward"] = decode_number(sample["reward"])
    if "credit" in sample:
      sample["credit"] = [decode_number(value) for value in sample["credit"]]
  return samples


def reward_text(reward: float | None) -> str:
  """The reward as shown: a number, or "unscored"."""
  return "unscored" if reward is None else number(reward)


def show(samples: Sequence[Mapping[str, Any]], width: int = 100) -> str:
  """Samples for the terminal: a line of facts, then prompt and response, wrapped to `width`.

  Newlines and escape sequences that a policy may emit are shown as escapes and never sent.
  """
  blocks = []
  for sample in samples:
    facts = [f"iteration {sample['iteration']}", f"seed {sample['seed']}", f"reward {reward_text(sample['reward'])}"]
    further = [name for name in sample if name not in (*FIELDS, *BY_TOKEN)]
    facts += [f"{name} {printable(str(sample[name]))}" for name in further]
    lines = [", ".join(facts)]
    for name in ("prompt", "response"):
      lines += _folded(f"  {name:<10}", printable(str(sample[name])), width)
    blocks.append("\n".join(lines))
  return "\n".join(blocks)


def printable(text: str) -> str:
  """`text` as one line, with control characters and newlines as backslash escapes."""
  return visible(text, keep="")


def _folded(head: str, text: str, width: int) -> list[str]:
  room = max(20, width - len(head))
  rows = textwrap.wrap(text, room, drop_whitespace=False, replace_whitespace=False) or [""]
  return [head + rows[0], *(" " * len(head) + row for row in rows[1:])]
