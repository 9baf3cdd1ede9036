"""Planted sequence: the didactic task of PAV (arXiv 2410.08146), a search whose steps have exact values.

The only problem asks for a hidden target, such as "36035". A response of up to `response_tokens` words is right if it
contains the target contiguously, before the end token. Only the reward reveals the target, and it is rare at the start,
so the outcome alone teaches little. Each token is a step.

Demonstrations come from a policy with a slight knowledge of the target: after k words of it (the longest match) the
next one has weight gamma, all other tokens 1. The same policy with a larger gamma is a prover with exact values
(planted_values.py): `prover_values`. With the paper's fields a policy of gamma 5 succeeds with probability 0.0054, yet
its likeliest response is right: a policy that has learned it well only needs to sharpen. A `lure` makes it wrong.

The prompt is the end token alone. Training and held-out problem are the same, since the target is what is learned.
Padding occurs in no demonstration; in a response it ends the part that is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from rl_jax.kernels.analysis import match_transitions, prover_policy
from rl_jax.tasks import fields, planted_values
from rl_jax.tasks.task import DeviceTask, Prompts, Split, Verdicts, Vocabulary

_WORDS = "0123456789abcdefghijklmnopqrstuvwxyz"


def get_config() -> dict[str, Any]:
  """Fields and their defaults, which are the paper's."""
  return {
    "target": "36035",  # words in a row
    "words": 14,  # beside the end token: the first of 0-9 and a-z
    "response_tokens": 10,
    "gamma": 5.0,  # weight of the next word of the target in demonstrations; 1: they are uniform
    "lure": 1.0,  # weight of the last word; above gamma the likeliest response is wrong (not in the paper)
  }


@dataclasses.dataclass(frozen=True)
class _Planted:
  target: tuple[int, ...]
  """Indices of its words."""
  words: int
  response_tokens: int
  gamma: float
  lure: float


def build(config: Mapping[str, Any]) -> DeviceTask:
  """Build the task of `config` (fields as in `get_config`). Raises ValueError, in one line, for an invalid field."""
  config = fields.complete(config, get_config(), where="task")
  words = _WORDS[: fields.whole(config["words"], 2, len(_WORDS), where="task.words")]
  length, target = fields.whole(config["response_tokens"], 1, 1024, where="task.response_tokens"), config["target"]
  if not isinstance(target, str) or not 1 <= len(target) <= length or not set(target) <= set(words):
    raise ValueError(f"task.target: got {target!r}, want 1 to {length} of the words {words!r}")
  planted = _Planted(
    target=tuple(map(words.index, target)),
    words=len(words),
    response_tokens=length,
    gamma=fields.number(config["gamma"], 1.0, 1e6, where="task.gamma"),
    lure=fields.number(config["lure"], 1.0, 1e6, where="task.lure"),
  )
  if planted.lure > 1 and words[-1] in target:
    raise ValueError(f"task.lure={planted.lure:g}: the last word {words[-1]!r} lures, but {target=} has it")
  return DeviceTask(
    vocabulary=Vocabulary(("<pad>", "<end>", *words)),
    prompt_tokens=1,
    response_tokens=length,
    levels=("planted",),
    problem_ids=lambda key, n, split: jnp.zeros(n, jnp.int32),
    prompts=_prompts,
    verify=partial(_verify, planted),
    demonstrate=partial(_demonstrate, planted),
    prover_values=partial(
      planted_values.prover_values, target=planted.target, words=planted.words, length=planted.response_tokens
    ),
  )


def _prompts(ids: Int[Array, " N"], split: Split) -> Prompts:
  del split
  tokens = jnp.full((ids.shape[0], 1), Vocabulary.end_id)
  return Prompts(tokens=tokens, mask=jnp.ones(tokens.shape, bool), ids=ids, levels=jnp.zeros_like(ids), metadata={})


def _verify(planted: _Planted, prompts: Prompts, tokens: Int[Array, "B R"], mask: Bool[Array, "B R"]) -> Verdicts:
  """Score responses of any width R; the slots may hold anything. See `planted_values.read`."""
  rows, slots = tokens.shape
  words, inside = planted_values.read(tokens, mask, planted.words)
  text = jnp.pad(jnp.where(inside, words, planted.words), ((0, 0), (0, len(planted.target))), constant_values=-1)
  found = jnp.ones((rows, slots), bool)
  for place, word in enumerate(planted.target):
    found &= text[:, place : place + slots] == word
  return Verdicts(
    rewards=found.any(axis=1).astype(jnp.float32),
    reward_mask=jnp.ones(rows, bool),
    step_ids=jnp.where(inside, jnp.arange(slots), -1),
    extras={},
  )


def _demonstrate(
  planted: _Planted, key: PRNGKeyArray, prompts: Prompts
) -> tuple[Int[Array, "N R"], Bool[Array, "N R"]]:
  rows, vocab_size, target = prompts.ids.shape[0], planted.words + 1, jnp.array(planted.target)
  following = match_transitions(target, vocab_size=vocab_size, eos=planted.words)
  policy = prover_policy(target, vocab_size=vocab_size, gamma=planted.gamma)
  logits = jnp.log(policy.at[:, planted.words - 1].multiply(planted.lure))

  def write(states, key):
    words = jax.random.categorical(key, logits[states])
    return following[states, words], words

  start = jnp.zeros(rows, jnp.int32)
  _, words = jax.lax.scan(write, start, jax.random.split(key, planted.response_tokens))
  ends = words.T == planted.words
  mask = jnp.cumsum(jnp.pad(ends[:, :-1], ((0, 0), (1, 0))), axis=1) == 0
  tokens = jnp.where(ends, Vocabulary.end_id, words.T + planted_values.FIRST_WORD)
  return jnp.where(mask, tokens, Vocabulary.pad_id), mask
