"""JSON lines scored by programs:unit_tests, with a vocabulary whose tokens are whole blocks of code."""

from __future__ import annotations

from rl_jax.tasks import json_lines

BLOCKS = {
  2: "```python\ndef after(x):\n  return x + 1\n```\n",
  3: "```python\ndef after(x):\n  return 1\n```\n",
  4: "```python\nimport sys; sys.exit(0)\n```\n",
  5: "It is x plus one.\n",
}
"""Passes all tests, one of two, none, and no program. The last block of a response counts."""


class Blocks:
  """The blocks as tokens; the characters of a prompt are other tokens, and "?" in a response."""

  pad_id, end_id = 0, 1

  def __len__(self):
    return 16

  def encode(self, text):
    return [8 + ord(character) % 8 for character in text]

  def decode(self, ids):
    return "".join("" if i in (0, 1) else BLOCKS.get(i, "?") for i in ids)


def get_config():
  tests = {"verifier": "rl_jax.tasks.verifiers.programs:unit_tests", "verifier_arguments": {"reward": "share"}}
  return json_lines.get_config() | {"prompt_tokens": 12, "response_tokens": 2, **tests}


def build(config):
  return json_lines.build({key: config[key] for key in get_config()}, vocabulary=Blocks())
