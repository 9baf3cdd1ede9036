"""Letters to several tastes: rewards by hand, labels against rewards and their noise, functions of the id, errors."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.tasks import tastes
from rl_jax.tasks.task import Prompts

COUNT = 2048


@functools.cache
def built(**fields):
  task = tastes.build({**tastes.get_config(), **fields})
  return task, jax.jit(task.prompts, static_argnums=1), jax.jit(task.preferences), jax.jit(task.verify)


def prompts_of(rows, letters, kind):
  none = jnp.zeros((rows, 1), jnp.int32)
  metadata = {"letters": jnp.tile(jnp.array(letters), (rows, 1)), "kinds": jnp.full(rows, kind)}
  return Prompts(none, none > 0, none[:, 0], none[:, 0], metadata)


# Hand-computed, of the prompt "adg": echo of 6 places, rise of 5 pairs, variety of 6.

ASPECTS = {
  "adgadg.": (6 / 6, 4 / 5, 3 / 6),
  "aaaaaa.": (6 / 6, 0, 1 / 6),
  "bcefhh.": (0, 4 / 5, 5 / 6),
  "hgfedc.": (2 / 6, 0, 6 / 6),
  "ad.gad": (2 / 6, 1 / 5, 2 / 6),
  "aUb=cd.": (2 / 6, 1 / 5, 4 / 6),
  "adgadgbbb.": (6 / 6, 4 / 5, 3 / 6),
  "a": (1 / 6, 0, 1 / 6),
  ".": (0, 0, 0),
  "": (0, 0, 0),
}


@pytest.mark.parametrize(("kind", "directions"), [(0, (1, 1, -1)), (1, (1, -1, 1)), (2, (-1, 1, 1))])
def test_rewards_by_hand(kind, directions, plain):
  task, _, _, verify = built()
  tokens, mask = plain.respond(task, list(ASPECTS))
  verdicts = verify(prompts_of(len(ASPECTS), [0, 3, 6], kind), tokens, mask)
  aspects = np.array(list(ASPECTS.values()))
  rewards = (aspects @ np.array(directions) + 1) / 3  # from -1 to 2 in every kind
  np.testing.assert_allclose(verdicts.rewards, rewards, atol=1e-6)
  np.testing.assert_array_equal(verdicts.extras["correct"], rewards > 0.6 - 1e-6)
  for k, name in enumerate(tastes.ASPECTS):
    np.testing.assert_allclose(verdicts.extras[f"part/{name}"], aspects[:, k], atol=1e-6)


def pairs_of(split="train", **fields):
  """Prompts, preferences, rewards [N, 2] and aspects [N, 2, 3] of the same responses."""
  task, prompts, preferences, verify = built(**fields)
  asked = prompts(jnp.arange(COUNT), split)
  pairs = preferences(asked)
  twice = jax.tree.map(lambda x: jnp.repeat(x, 2, axis=0), asked)
  verdicts = verify(twice, pairs.tokens.reshape(2 * COUNT, -1), pairs.mask.reshape(2 * COUNT, -1))
  aspects = np.stack([verdicts.extras[f"part/{name}"] for name in tastes.ASPECTS], axis=1)
  return asked, pairs, np.asarray(verdicts.rewards).reshape(-1, 2), aspects.reshape(-1, 2, 3)


def agreement(ranks, worth):
  """Share of labelled pairs whose better response is worth more; pairs of equal worth are tied."""
  ranks, apart = np.asarray(ranks), worth[:, 0] - worth[:, 1]
  tied = np.abs(apart) < 1e-5
  assert (ranks[tied] == 1).all()
  known = ~tied & (ranks[:, 0] > 0)
  assert (np.sort(ranks[known], axis=1) == [1, 2]).all()
  return ((ranks[known, 0] < ranks[known, 1]) == (apart[known] > 0)).mean(), known.mean()


def test_labels_are_wrong_at_their_rates():
  """Within four standard errors of 2048 labels, 0.04 and 0.03."""
  asked, pairs, rewards, aspects = pairs_of()
  assert abs(agreement(pairs.ranks, rewards)[0] - 0.7) < 0.04
  directions = np.array([(1, 1, -1), (1, -1, 1), (-1, 1, 1)])[np.asarray(asked.levels)]
  for k in range(3):
    share, _ = agreement(pairs.aspect_ranks[:, :, k], directions[:, None, k] * aspects[:, :, k])
    assert abs(share - 0.9) < 0.03


def test_a_judge_who_is_asked_twice_is_wrong_in_both_answers_or_drops_the_pair():
  """Both answers are right in 0.81 of cases and wrong in 0.01; the rest of what is not tied has no label."""
  asked, pairs, _, aspects = pairs_of(asked_twice=True)
  ranks = np.asarray(pairs.aspect_ranks)
  assert (((ranks == 0).sum(axis=1) == 0) | ((ranks == 0).sum(axis=1) == 2)).all()
  share, known = agreement(ranks[:, :, 0], np.where(np.asarray(asked.levels) == 2, -1, 1)[:, None] * aspects[:, :, 0])
  untied = (np.abs(aspects[:, 0, 0] - aspects[:, 1, 0]) > 1e-5).mean()
  assert share > 0.97 and abs(known / untied - 0.82) < 0.04


def test_without_noise_labels_are_the_rewards():
  _, pairs, rewards, _ = pairs_of(label_flips=0.0, aspect_flips=0.0)
  assert agreement(pairs.ranks, rewards)[0] == 1.0


def test_pairs_are_functions_of_id_and_split():
  task, prompts, preferences, _ = built()
  ids = jnp.arange(64)
  some = preferences(prompts(ids, "train"))
  of = lambda order, split: preferences(prompts(ids[order], split))
  back = of(slice(None, None, -1), "train")
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[::-1]), some, back)
  assert (np.asarray(some.tokens) != np.asarray(of(slice(None), "held_out").tokens)).mean() > 0.5
  assert task.sizes == {"train": 4096, "held_out": 4096}
  texts = lambda split: {tuple(row) for row in np.asarray(prompts(jnp.arange(COUNT), split).tokens).tolist()}
  assert not texts("train") & texts("held_out")


def test_prompts_name_their_kind(plain):
  task, prompts, _, _ = built()
  asked = prompts(jnp.arange(64), "train")
  for row, level in zip(asked.tokens, asked.levels, strict=True):
    text = task.vocabulary.decode(np.asarray(row))
    assert text[0] == "UVW"[level] and text[-1] == "=" and set(text[1:-1]) <= set("abcdefgh")
  tokens, mask = task.demonstrate(jax.random.key(0), asked)
  assert mask.all() and (tokens[:, -1] == 1).all() and ((tokens[:, :-1] >= 2) & (tokens[:, :-1] < 10)).all()


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"levels": {"odd": {"directions": (1, 1)}}}, "task.levels.odd.directions: got .1, 1., want one number for each"),
    ({"levels": {"odd": {"directions": (0, 0, 0)}}}, "not all 0"),
    ({"levels": {f"k{i}": {} for i in range(7)}}, "got 7 kinds, want at most 6"),
    ({"label_flips": 2.0}, "task.label_flips: got 2.0, want a finite number from 0 to 1"),
    ({"asked_twice": 1}, "task.asked_twice: got 1, want True or False"),
  ],
)
def test_fields_that_make_no_sense_end_in_one_line(fields, message):
  with pytest.raises(ValueError, match=message):
    tastes.build({**tastes.get_config(), **fields})
