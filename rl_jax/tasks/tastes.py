"""Letters to several tastes: preferences with noisy labels, whose criteria conflict between kinds of prompts.

"Xadg=" asks for letters. The tag "X" says the kind of the prompt, and each kind has a taste of its own: a direction per
aspect of the response. With L letters in a response, all aspects are in [0, 1]:

  echo      letters that occur in the prompt / L
  rise      adjacent pairs of letters whose second one is later in the alphabet / (L - 1)
  variety   different letters / most that there can be
  utility   u = sum_k direction_k aspect_k,   reward = (u - least) / (most - least)

The reward is the gold standard, for evaluation; a reward model learns from `preferences`: two random responses to a
prompt with labels of which is better, overall and by aspect. The overall label is wrong at the rate `label_flips`, that
of an aspect at `aspect_flips`, as simple questions have consistent answers. With `asked_twice` the judge of aspects is
asked again with the responses swapped, and the label counts only if both answers agree. Responses of equal utility, or
aspect, are tied. Everything is a function of the problem's id and split, so a pool of problems is a finite data set.

Demonstrations are random responses like those of the pairs. `task.solved` is the reward from which a response counts as
right, as evaluation shows it; it is not used for training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rl_jax.kernels.losses.ranking import swap_consistent_ranks
from rl_jax.tasks import fields, splits
from rl_jax.tasks.task import DeviceTask, ExtraSpec, Preferences, Prompts, Split, Verdicts, Vocabulary

_TAGS, _LETTERS = "UVWXYZ", "abcdefghijklmnopqrst"
_FIRST_LETTER = 2
ASPECTS = ("echo", "rise", "variety")
PROVIDES = {
  "correct": ExtraSpec((), "bool", "the reward is at least task.solved"),
  **{f"part/{name}": ExtraSpec((), "float32", f"the aspect {name} of the response") for name in ASPECTS},
}
_TIE = 1e-5
"""Differences up to this are rounding."""
_LEVEL = {
  "directions": (1, 1, 1),  # of the aspects, in the order above; below 0 less is better
  "weight": 1.0,  # share of the kind, relative to the others; 0 takes it out
}


def get_config() -> dict[str, Any]:
  """Fields and their defaults. A level is a kind of prompts, and may omit any of its fields."""
  return {
    "levels": {  # fields of each kind, by name; the first in order of names has the tag U
      "crowded": {"directions": (1, 1, -1)},
      "falling": {"directions": (1, -1, 1)},
      "strange": {"directions": (-1, 1, 1)},
    },
    "alphabet": 8,  # letters, 2 to 20
    "prompt_letters": 3,
    "response_letters": 6,  # L; later ones do not count
    "label_flips": 0.3,  # share of overall labels that are wrong
    "aspect_flips": 0.1,  # share of wrong answers of the judge of aspects
    "asked_twice": False,  # labels of aspects count only if the answers to both orders agree
    "solved": 0.6,
    "seed": 0,  # seed of the problems and of the pairs
    "pool_size": 4096,  # number of problems per split, each with one pair; 0: unlimited
    "held_out_fraction": 0.125,  # held-out share of all prompts, 1/64 to 1/2
  }


@dataclasses.dataclass(frozen=True)
class _Tastes:
  space: splits.Space
  directions: np.ndarray
  """[kinds, aspects]"""
  alphabet: int
  prompt_letters: int
  letters: int
  label_flips: float
  aspect_flips: float
  asked_twice: bool
  solved: float

  @property
  def vocabulary(self) -> Vocabulary:
    return Vocabulary(("<pad>", "<end>", *_LETTERS[: self.alphabet], *_TAGS[: len(self.directions)], "="))


def build(config: Mapping[str, Any]) -> DeviceTask:
  """Build the task of `config` (fields as in `get_config`). Raises ValueError, in one line, for an invalid field."""
  config = fields.complete(config, get_config(), where="task")
  alphabet = fields.whole(config["alphabet"], 2, len(_LETTERS), where="task.alphabet")
  prompt_letters = fields.whole(config["prompt_letters"], 1, 64, where="task.prompt_letters")
  if not isinstance(config["asked_twice"], bool):
    raise ValueError(f"task.asked_twice: got {config['asked_twice']!r}, want True or False")
  kinds = fields.named(config["levels"], where="task.levels")
  if len(kinds) > len(_TAGS):
    raise ValueError(f"task.levels: got {len(kinds)} kinds, want at most {len(_TAGS)}, one for each of {_TAGS}")
  place = list(kinds).index
  levels, space = splits.read_levels(
    config,
    _LEVEL,
    lambda level, name: _checked_level(level, name) | {"place": place(name)},
    lambda level: [[level["place"]], *[range(alphabet)] * prompt_letters],
  )
  rate = lambda name: fields.number(config[name], 0.0, 1.0, where=f"task.{name}")
  tastes = _Tastes(
    space=space,
    directions=np.array([level["directions"] for level in levels.values()], np.float32),
    alphabet=alphabet,
    prompt_letters=prompt_letters,
    letters=fields.whole(config["response_letters"], 2, 1024, where="task.response_letters"),
    label_flips=rate("label_flips"),
    aspect_flips=rate("aspect_flips"),
    asked_twice=config["asked_twice"],
    solved=rate("solved"),
  )
  return DeviceTask(
    vocabulary=tastes.vocabulary,
    prompt_tokens=prompt_letters + 2,
    response_tokens=tastes.letters + 1,
    levels=tuple(levels),
    problem_ids=partial(splits.draw_ids, space),
    prompts=partial(_prompts, tastes),
    verify=partial(_verify, tastes),
    demonstrate=partial(_demonstrate, tastes),
    provides=PROVIDES,
    preferences=partial(_preferences, tastes),
    aspects=ASPECTS,
    sizes={"train": space.pool_size, "held_out": space.pool_size} if space.pool_size else None,
  )


def _checked_level(level: dict[str, Any], name: str) -> dict[str, Any]:
  where, directions = f"task.levels.{name}.directions", level["directions"]
  if not isinstance(directions, tuple | list) or len(directions) != len(ASPECTS) or not any(directions):
    raise ValueError(f"{where}: got {directions!r}, want one number for each of {', '.join(ASPECTS)}, not all 0")
  for index, direction in enumerate(directions):
    fields.number(direction, -1e3, 1e3, where=f"{where}[{index}]")
  return level


def _prompts(tastes: _Tastes, ids: Int[Array, " N"], split: Split) -> Prompts:
  levels, content = splits.draw_problems(tastes.space, ids, split)
  (equals,) = tastes.vocabulary.encode("=")
  tags = _FIRST_LETTER + tastes.alphabet + levels
  text = jnp.concatenate([tags[:, None], _FIRST_LETTER + content[:, 1:]], axis=1)
  tokens = jnp.pad(text, ((0, 0), (0, 1)), constant_values=equals)
  # The generator is explicit, so that a global setting cannot change the pairs.
  root = jax.random.fold_in(jax.random.key(tastes.space.seed, impl="threefry2x32"), split == "held_out")
  keys = jax.random.key_data(jax.vmap(jax.random.fold_in, (None, 0))(root, ids))
  metadata = {"letters": content[:, 1:], "kinds": levels, "pair_keys": keys}
  return Prompts(tokens=tokens, mask=jnp.ones(tokens.shape, bool), ids=ids, levels=levels, metadata=metadata)


def _aspects(
  tastes: _Tastes, asked: Int[Array, "B P"], letters: Int[Array, "B L"], written: Bool[Array, "B L"]
) -> Float[Array, "B K"]:
  """Aspects of responses: their letters, from 0, where `written`; `asked` are those of the prompts."""
  echoed = written & (letters[:, :, None] == asked[:, None, :]).any(axis=2)
  rises = written[:, 1:] & written[:, :-1] & (letters[:, 1:] > letters[:, :-1])
  different = (written[:, :, None] & (letters[:, :, None] == jnp.arange(tastes.alphabet))).any(axis=1)
  counts = jnp.stack([echoed.sum(axis=1), rises.sum(axis=1), different.sum(axis=1)], axis=1)
  most = np.array([tastes.letters, tastes.letters - 1, min(tastes.letters, tastes.alphabet)], np.float32)
  return counts / most


def _utilities(tastes: _Tastes, kinds: Int[Array, " B"], aspects: Float[Array, "B K"]) -> Float[Array, " B"]:
  return (jnp.asarray(tastes.directions)[kinds] * aspects).sum(axis=1)


def _verify(tastes: _Tastes, prompts: Prompts, tokens: Int[Array, "B R"], mask: Bool[Array, "B R"]) -> Verdicts:
  """Score responses of any width R; the slots may hold anything.

  A response is the masked slots up to the first one that is not masked, and up to its first end token. A symbol that is
  no letter takes a place and has no aspect. All of it is one step.
  """
  ended = jnp.cumsum(~mask | (tokens == Vocabulary.end_id), axis=1)
  inside = mask & (jnp.pad(ended[:, :-1], ((0, 0), (1, 0))) == 0)
  room = ((0, 0), (0, max(0, tastes.letters - tokens.shape[1])))
  letters = jnp.pad(tokens - _FIRST_LETTER, room)[:, : tastes.letters]
  written = jnp.pad(inside, room)[:, : tastes.letters] & (letters >= 0) & (letters < tastes.alphabet)
  kinds = prompts.metadata["kinds"]
  aspects = _aspects(tastes, prompts.metadata["letters"], letters, written)
  least = np.minimum(tastes.directions, 0).sum(axis=1)
  spread = np.abs(tastes.directions).sum(axis=1)
  rewards = (_utilities(tastes, kinds, aspects) - jnp.asarray(least)[kinds]) / jnp.asarray(spread)[kinds]
  parts = {f"part/{name}": aspects[:, k] for k, name in enumerate(ASPECTS)}
  return Verdicts(
    rewards=rewards,
    reward_mask=jnp.ones(tokens.shape[0], bool),
    step_ids=jnp.where(inside, 0, -1),
    extras={"correct": rewards >= tastes.solved - _TIE, **parts},
  )


def _written(tastes: _Tastes, letters: Int[Array, "*N L"]) -> tuple[Int[Array, "*N R"], Bool[Array, "*N R"]]:
  spare = [(0, 0)] * (letters.ndim - 1) + [(0, 1)]
  tokens = jnp.pad(_FIRST_LETTER + letters, spare, constant_values=Vocabulary.end_id)
  return tokens, jnp.ones(tokens.shape, bool)


def _demonstrate(tastes: _Tastes, key: PRNGKeyArray, prompts: Prompts) -> tuple[Int[Array, "N R"], Bool[Array, "N R"]]:
  return _written(tastes, jax.random.randint(key, (prompts.ids.shape[0], tastes.letters), 0, tastes.alphabet))


def _preferences(tastes: _Tastes, prompts: Prompts) -> Preferences:
  """Two random responses to each prompt, and labels of the judges."""
  keys = jax.random.wrap_key_data(prompts.metadata["pair_keys"], impl="threefry2x32")
  of_role = lambda role: jax.vmap(jax.random.fold_in, (0, None))(keys, role)
  shape, kinds = (2, tastes.letters), prompts.metadata["kinds"]
  letters = jax.vmap(lambda key: jax.random.randint(key, shape, 0, tastes.alphabet))(of_role(0))
  draws = lambda role, n: jax.vmap(lambda key: jax.random.uniform(key, (n,)))(of_role(role))
  written = jnp.ones(shape, bool)
  of_pair = jax.vmap(lambda asked, pair: _aspects(tastes, jnp.stack([asked, asked]), pair, written))
  aspects = of_pair(prompts.metadata["letters"], letters)  # [N, 2, K]
  worth = jax.vmap(lambda pair: _utilities(tastes, kinds, pair), in_axes=1, out_axes=1)(aspects)
  sides = (jnp.sign(jnp.asarray(tastes.directions))[kinds][:, None] * aspects).transpose(0, 2, 1)  # [N, K, 2]
  count = len(ASPECTS)
  overall = _labels(worth[:, None], draws(1, 1) < tastes.label_flips, None)[:, 0]
  again = draws(3, count) < tastes.aspect_flips if tastes.asked_twice else None
  of_aspects = _labels(sides, draws(2, count) < tastes.aspect_flips, again).transpose(0, 2, 1)
  return Preferences(*_written(tastes, letters), ranks=overall, aspect_ranks=of_aspects)


def _labels(
  worth: Float[Array, "N K 2"], wrong: Bool[Array, "N K"], wrong_again: Bool[Array, "N K"] | None
) -> Int[Array, "N K 2"]:
  """Ranks from 1 of both responses; 0 where two answers contradict each other.

  Args:
    wrong, wrong_again: whether the judge's answer is wrong, and that to the swapped question; None: it is not asked.
  """
  difference = worth[..., 0] - worth[..., 1]
  answers = jnp.where((difference > 0) != wrong, 1, 2)
  swapped = 3 - answers if wrong_again is None else jnp.where((difference > 0) != wrong_again, 2, 1)
  tied = jnp.abs(difference) <= _TIE
  labels = swap_consistent_ranks(answers.ravel(), swapped.ravel(), jnp.ones(answers.size))
  return jnp.where(tied[..., None], 1, labels.ranks.reshape(worth.shape))
