"""Words in cipher: a task with a partly additive reward, for methods that split a reward among parts of a response.

"cab=" asks for one digit per letter, 'a' is 0, so "201<end>" is right. Each symbol is a step. A right symbol earns the
weight of its place, and two right symbols in a row a bonus. The sum is divided by that of a right response, and is
given at the end, for all of it:

  reward = (sum_i w_i right_i + b sum_i right_i right_{i+1}) / (sum_i w_i + b (n - 1))                "additive"
  reward = 1 if all n symbols are right, else 0                                                       "all_or_nothing"

A response solves the problem, `Trajectories.correct`, if its reward is 1. The symbol "_" is right nowhere: it is the
blank that takes the place of a part that is left out (`Task.blank_token`). Demonstrations err in each symbol
independently. With a lure the likeliest symbol is wrong, so that growing surer does not help.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from rl_jax.tasks import cipher_values, fields, splits, sums
from rl_jax.tasks.cipher_values import FIRST_SYMBOL, REWARDS, Scoring
from rl_jax.tasks.task import DeviceTask, ExtraSpec, Prompts, Split, Verdicts, Vocabulary
from rl_jax.tasks.worked_steps import align

_DIGITS, _LETTERS = "0123456789", "abcdefghij"

PROVIDES = {
  "answer_correct": ExtraSpec((), "bool", "all symbols are right"),
  "step_correct": ExtraSpec(("R",), "bool", "the symbol is right"),
  "part/right": ExtraSpec((), "float32", "share of the symbols that are right"),
}

_LEVEL = {
  "letters": 6,  # 2 to 16, of a word
  "weight": 1.0,  # share in the mixture of levels, relative to the others; 0 takes the level out
}


def get_config() -> dict[str, Any]:
  """The fields and their defaults. A level may leave out any of its fields."""
  return {
    "levels": {"six": dict(_LEVEL)},  # name -> fields of the level
    "alphabet": 6,  # 2 to 10 letters, and as many digits
    "reward": "additive",  # or "all_or_nothing"
    "weights": (1, 2, 3),  # of right symbols, place by place, over and over
    "pair_bonus": 2,  # of two right symbols in a row; with 0 all is additive
    "seed": 0,  # another seed: other problems for the same ids
    "pool_size": 0,  # ids (of each split) to draw problems from; 0: unlimited
    "held_out_fraction": 0.125,  # share of all words that is never trained on, 1/64 to 1/2
    **sums.RATES,  # of each symbol
  }


@dataclasses.dataclass(frozen=True)
class _Cipher:
  space: splits.Space
  alphabet: int
  letters: int
  """Letters of the longest words."""
  scoring: Scoring
  rates: dict[str, float]

  @property
  def vocabulary(self) -> Vocabulary:
    return Vocabulary(("<pad>", "<end>", *_DIGITS[: self.alphabet], "_", *_LETTERS[: self.alphabet], "="))


def build(config: Mapping[str, Any]) -> DeviceTask:
  """The task of `config` (fields as in `get_config`); ValueError in one line for a field that makes no sense."""
  config = fields.complete(config, get_config(), where="task")
  alphabet = fields.whole(config["alphabet"], 2, len(_LETTERS), where="task.alphabet")

  def check(level: dict[str, Any], name: str) -> dict[str, Any]:
    fields.whole(level["letters"], 2, 16, where=f"task.levels.{name}.letters")
    return level

  levels, space = splits.read_levels(config, _LEVEL, check, lambda level: [list(range(alphabet))] * level["letters"])
  letters = max(level["letters"] for level in levels.values())
  cipher = _Cipher(space, alphabet, letters, _scoring(config, letters), sums.read_rates(config))
  chances = [float(alphabet) ** -level["letters"] for level in levels.values()]
  return DeviceTask(
    vocabulary=cipher.vocabulary,
    prompt_tokens=letters + 1,
    response_tokens=letters + 1,
    levels=tuple(levels),
    problem_ids=partial(splits.draw_ids, space),
    prompts=partial(_prompts, cipher),
    verify=partial(_verify, cipher),
    demonstrate=partial(_demonstrate, cipher),
    step_values=partial(cipher_values.step_values, scoring=cipher.scoring),
    provides=PROVIDES,
    guessing_floor=float(np.average(chances, weights=[level["weight"] for level in levels.values()])),
    blank_token=cipher.vocabulary.encode("_")[0],
  )


def _scoring(config: Mapping[str, Any], letters: int) -> Scoring:
  if config["reward"] not in REWARDS:
    raise ValueError(f"task.reward: got {config['reward']!r}, want one of {', '.join(REWARDS)}")
  if not isinstance(config["weights"], tuple | list) or not config["weights"]:
    raise ValueError(f"task.weights: got {config['weights']!r}, want a tuple of whole numbers")
  weights = [fields.whole(w, 1, 1000, where=f"task.weights[{i}]") for i, w in enumerate(config["weights"])]
  bonus = fields.whole(config["pair_bonus"], 0, 1000, where="task.pair_bonus")
  return Scoring(tuple(int(weight) for weight in np.resize(weights, letters)), bonus, config["reward"])


def _prompts(cipher: _Cipher, ids: Int[Array, " N"], split: Split) -> Prompts:
  levels, letters = splits.draw_problems(cipher.space, ids, split)
  first, equals = cipher.vocabulary.encode("a=")
  text = jnp.pad(first + letters, ((0, 0), (0, 1)), constant_values=equals)
  keep = jnp.pad(letters != splits.ABSENT, ((0, 0), (0, 1)), constant_values=True)
  tokens, mask = align(text, keep, cipher.letters + 1, right=True)
  return Prompts(tokens=tokens, mask=mask, ids=ids, levels=levels, metadata={"letters": letters})


def _verify(cipher: _Cipher, prompts: Prompts, tokens: Int[Array, "B R"], mask: Bool[Array, "B R"]) -> Verdicts:
  """Score responses of any width R; the slots may hold anything. See `cipher_values.read`.

  Tokens after the word's last symbol earn and cost nothing. They belong to no step.
  """
  reading, width = cipher_values.read(prompts, tokens, mask), tokens.shape[1]
  exists = prompts.metadata["letters"] != splits.ABSENT
  return Verdicts(
    rewards=cipher_values.rewards(prompts, reading.right, cipher.scoring),
    reward_mask=jnp.ones(tokens.shape[0], bool),
    step_ids=jnp.where(cipher_values.at_slots(reading.written, width), jnp.arange(width), -1),
    extras={
      "answer_correct": (reading.right | ~exists).all(axis=1),
      "step_correct": cipher_values.at_slots(reading.right, width),
      "part/right": reading.right.sum(axis=1) / exists.sum(axis=1),
    },
  )


def _demonstrate(cipher: _Cipher, key: PRNGKeyArray, prompts: Prompts) -> tuple[Int[Array, "N R"], Bool[Array, "N R"]]:
  letters = prompts.metadata["letters"]
  slips = sums.draw_slips(key, letters.size, cipher.alphabet, **cipher.rates).reshape(letters.shape)
  symbols = FIRST_SYMBOL + (letters + slips) % cipher.alphabet
  end = jnp.full_like(letters[:, :1], Vocabulary.end_id)
  exists = letters != splits.ABSENT
  return align(
    jnp.concatenate([symbols, end], axis=1), jnp.pad(exists, ((0, 0), (0, 1)), constant_values=True), cipher.letters + 1
  )
