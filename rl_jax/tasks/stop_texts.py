"""Stop texts: a response ends with the token that completes one of them, however the text is split into tokens.

An automaton (Aho and Corasick, 1975) reads the text of a response token by token. Its state is the longest suffix of
the text so far that is a prefix of a stop text; an extra, last state means that a stop text is complete.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

_UNKNOWN = "\ufffd"
"""Text of bytes that do not form a whole character."""


@dataclasses.dataclass(frozen=True, eq=False)
class StopTexts:
  """Automaton over tokens; its state before a response is 0.

  Attributes:
    after: [S, C] state after a token of each class, for each state; S - 1 once a text is complete.
    classes: [V + 1] class of each token; tokens of one class lead to the same states. The last entry is for ids beyond
      the vocabulary, which have no text.
  """

  after: Int[np.ndarray, "S C"]
  classes: Int[np.ndarray, " V_plus_1"]

  def step(self, states: Int[Array, " B"], tokens: Int[Array, " B"]) -> Int[Array, " B"]:
    """States after one more token in each row."""
    classes = jnp.asarray(self.classes)[jnp.minimum(tokens, len(self.classes) - 1)]
    return jnp.asarray(self.after)[states, classes]

  def complete(self, states: Int[Array, " B"]) -> Bool[Array, " B"]:
    """Return whether a stop text is complete."""
    return states == len(self.after) - 1


def build(texts: Sequence[str], vocabulary: Any) -> StopTexts | None:
  """The automaton of stop texts over a vocabulary with `encode` and `decode`; None if there are no texts.

  Raises: ValueError: a text is empty, or has a character that the vocabulary splits into several tokens.
  """
  if not all(isinstance(text, str) and text for text in texts):
    raise ValueError(f"task.stop_texts: got {tuple(texts)!r}, want texts that are not empty")
  if not texts:
    return None
  tokens = _texts(vocabulary)
  for text in texts:
    if any(_UNKNOWN in tokens[token] for token in vocabulary.encode(text)):
      raise ValueError(f"task.stop_texts: {text!r} has a character that the tokenizer spreads over several tokens")
  letters = {letter: number for number, letter in enumerate(sorted(set("".join(texts))), start=1)}
  table = _after_tokens(_after_letters(texts, letters), letters, tokens)
  after, classes = np.unique(table, axis=1, return_inverse=True)
  return StopTexts(after.astype(np.int32), classes.reshape(-1).astype(np.int32))


def _texts(vocabulary: Any) -> list[str]:
  """Text of each token, decoded after another token because some tokenizers drop a leading space; then one ""."""
  anchor = list(vocabulary.encode("a"))
  before = len(vocabulary.decode(anchor))
  return [*(vocabulary.decode([*anchor, token])[before:] for token in range(len(vocabulary))), ""]


def _after_letters(texts: Sequence[str], letters: dict[str, int]) -> Int[np.ndarray, "S L"]:
  """State after each letter, for each state; letter 0 stands for all letters that are in no stop text."""
  begun = list(dict.fromkeys(["", *(text[:end] for text in texts for end in range(len(text)))]))
  states = {text: state for state, text in enumerate(begun)}
  complete = len(begun)
  after = np.zeros((complete + 1, len(letters) + 1), np.int64)
  after[complete] = complete
  for text, state in states.items():
    for letter, number in letters.items():
      read = text + letter
      ends = (read[start:] for start in range(len(read) + 1))
      after[state, number] = complete if read.endswith(tuple(texts)) else next(states[e] for e in ends if e in states)
  return after


def _after_tokens(
  after: Int[np.ndarray, "S L"], letters: dict[str, int], tokens: Sequence[str]
) -> Int[np.ndarray, "S V"]:
  """State after each token, for each state. All tokens are read in parallel, the longest first."""
  lengths = np.array([len(token) for token in tokens])
  order = np.argsort(-lengths, kind="stable")
  states = np.repeat(np.arange(len(after))[:, None], len(tokens), axis=1)
  for place in range(lengths.max()):
    longer = order[: np.count_nonzero(lengths > place)]
    states[:, longer] = after[states[:, longer], [letters.get(tokens[token][place], 0) for token in longer]]
  return states
