"""Stop texts: by hand, against a search in the decoded text, and what a vocabulary cannot say."""

from __future__ import annotations

import numpy as np
import pytest

from rl_jax.tasks import stop_texts
from tests.tasks.pieces import Pieces


def complete(stops, tokens):
  """Index of the token that completes a text; None if none does."""
  states = np.zeros(1, np.int32)
  for index, token in enumerate(tokens):
    states = stops.step(states, np.array([token]))
    if stops.complete(states)[0]:
      return index
  return None


def test_a_text_is_complete_however_tokens_cut_it():
  words = Pieces("<pad>", "a", "\n", "\n\n", "Q", ":", "\nQ: x", " Q")
  stops = stop_texts.build(("\nQ:",), words)
  pad, a, line, lines, q, colon, more, blank_q = range(8)
  for tokens, want in (
    ([a, line, q, colon, a], 3),
    ([lines, q, colon], 2),
    ([a, more, a], 1),
    ([line, q, a, colon], None),
    ([line, line, q, colon], 3),
    ([line, blank_q, colon], None),
    ([line, pad, q, colon], None),
    ([q, colon], None),
  ):
    assert complete(stops, tokens) == want, tokens
  assert complete(stop_texts.build((" Q",), words), [blank_q]) == 0, "a blank at the beginning of a token counts"


def test_ids_beyond_the_vocabulary_have_no_text():
  stops = stop_texts.build(("ab",), Pieces("a", "b"))
  assert complete(stops, [0, 7, 1]) == 2 and complete(stops, [0, 0, 7]) is None


@pytest.mark.parametrize("texts", [("ab",), ("aa", "aba"), ("ba", "cabc", "b b"), ("aab", "ab")])
def test_it_finds_what_a_search_in_the_text_finds(texts):
  rng = np.random.default_rng(0)
  words = Pieces("", "a", "b", "c", " ", "ab", "ba", "aba", "bc", "ca ", "aacab", " b")
  stops, found = stop_texts.build(texts, words), 0
  for tokens in rng.integers(0, len(words), (200, 8)):
    read = ["".join(words.texts[i] for i in tokens[: end + 1]) for end in range(len(tokens))]
    want = next((end for end, text in enumerate(read) if any(stop in text for stop in texts)), None)
    assert complete(stops, tokens) == want, read[-1]
    found += want is not None
  assert found > 20


def test_tokens_that_lead_to_the_same_states_are_one_class():
  words = Pieces(*(chr(i) for i in range(32, 127)))
  stops = stop_texts.build(("###",), words)
  assert stops.after.tolist() == [[0, 0, 1], [0, 1, 2], [0, 2, 3], [3, 3, 3]] and len(stops.classes) == 96


def test_texts_that_cannot_be_are_one_line():
  words = Pieces("a", "\ufffd")
  words.encode = lambda text: [0 if letter == "a" else 1 for letter in text]
  assert stop_texts.build((), words) is None
  for texts, message in (
    (("a", ""), r"task.stop_texts: got \('a', ''\), want texts that are not empty"),
    ((3,), r"task.stop_texts: got \(3,\)"),
    (("a。",), "task.stop_texts: 'a。' has a character that the tokenizer spreads over several tokens"),
  ):
    with pytest.raises(ValueError, match=message):
      stop_texts.build(texts, words)
