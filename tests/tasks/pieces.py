"""A vocabulary of whole texts, for tests of what tokens hold of a text."""

from __future__ import annotations


class Pieces:
  """A vocabulary of texts, the longest of which is taken first; it drops a blank at the beginning, as some do."""

  def __init__(self, *texts):
    self.texts = texts

  def __len__(self):
    return len(self.texts)

  def encode(self, text):
    ids = []
    while text:
      ids.append(max((i for i, piece in enumerate(self.texts) if piece and text.startswith(piece)), key=self._length))
      text = text[self._length(ids[-1]) :]
    return ids

  def decode(self, ids):
    return "".join(self.texts[i] for i in ids).removeprefix(" ")

  def _length(self, i):
    return len(self.texts[i])
