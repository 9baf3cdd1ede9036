"""Shared parts of the scripts in this folder: answers on standard output, and prompts.

The scripts are copied to one folder outside this repository, and run in a Python that does not have rl_jax.
"""

import json
import random
import sys

random.seed(0)
# Only answers go to standard output, whatever a library prints.
answers, sys.stdout = sys.stdout, sys.stderr


def answer(**fields):
  """Print one line of JSON to the benchmark."""
  print(json.dumps(fields), file=answers, flush=True)


def character(token):
  """The text of a token: every token is one character."""
  return chr(ord("0") + token)


def draw_prompts(sizes, count):
  """Texts of `prompt_tokens` random tokens each."""
  draw = lambda: "".join(character(random.randrange(sizes["vocabulary"])) for _ in range(sizes["prompt_tokens"]))
  return [draw() for _ in range(count)]
