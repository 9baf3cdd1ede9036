"""A user's own tasks: the first bit of a string of four, said again and again. On the device, and in Python."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.tasks.task import ExtraSpec, Prompts, Task, Verdicts, Vocabulary

PROMPT, RESPONSE = 4, 3
ZERO = 2
"""Token of the bit 0; that of the bit 1 comes after it."""


def bits_of(ids, split, of):
  """The string of each id, [N, 4]: the last bit makes the number of ones even in the train split, odd in the other.

  Args:
    of: jax.numpy, or numpy.
  """
  free = (of.asarray(ids)[:, None] >> of.arange(PROMPT - 1)) & 1
  last = (free.sum(axis=1, keepdims=True) + (split == "held_out")) % 2
  return of.concatenate([free, last], axis=1).astype(of.int32)


class BitStrings(Task):
  """Pure functions: the reward is the share of the response's slots with the first bit of the prompt."""

  on_device = True
  vocabulary = Vocabulary(("<pad>", "<end>", "0", "1"))
  prompt_tokens, response_tokens = PROMPT, RESPONSE
  levels = ("four bits",)
  provides = {"first_bit": ExtraSpec(("R",), "bool", "the token is the first bit")}

  def problem_ids(self, key, n, split):
    return jax.random.randint(key, (n,), 0, 2 ** (PROMPT - 1))

  def prompts(self, ids, split):
    bits = bits_of(ids, split, jnp)
    levels = jnp.zeros(ids.shape[0], jnp.int32)
    return Prompts(ZERO + bits, jnp.ones(bits.shape, bool), ids, levels, {"first": bits[:, 0]})

  def verify(self, prompts, tokens, mask):
    right = mask & (tokens == ZERO + prompts.metadata["first"][:, None])
    scored = jnp.ones(tokens.shape[0], bool)
    return Verdicts(right.mean(axis=1), scored, jnp.where(mask, 0, -1), {"first_bit": right})


class BitStringsInPython(BitStrings):
  """Bit strings with a verifier in Python, outside of compiled programs."""

  on_device = False
  provides = {}

  def __init__(self):
    self.verified = []
    """Number of responses of each call of the verifier, by split."""
    self.closed = False

  def prompts(self, ids, split):
    bits = bits_of(np.asarray(ids), split, np)
    return Prompts(ZERO + bits, np.ones(bits.shape, bool), np.asarray(ids), np.zeros(len(ids), np.int32), {})

  def verify(self, ids, split, tokens, mask):
    for array in (ids, tokens, mask):
      assert type(array) is np.ndarray
    self.verified.append((split, len(ids)))
    texts = [self.vocabulary.decode(row[kept]) for row, kept in zip(tokens, mask, strict=True)]
    firsts = [str(bits[0]) for bits in bits_of(ids, split, np)]
    rewards = [text.count(first) / RESPONSE for text, first in zip(texts, firsts, strict=True)]
    steps = np.where(mask, 0, -1).astype(np.int32)
    return Verdicts(np.asarray(rewards, np.float32), np.ones(len(ids), bool), steps, {})

  def close(self):
    self.closed = True


def get_config() -> dict:
  """One field of the task's own."""
  return {"in_python": False}


def build(config) -> Task:
  return BitStringsInPython() if config["in_python"] else BitStrings()
