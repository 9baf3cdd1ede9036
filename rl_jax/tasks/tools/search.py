"""Search over passages of text by BM25 (Robertson et al. 1994; Lucene's form), with the package bm25s.

The built-in corpus is the documentation of the Python language in every Python (`pydoc_data.topics`, PSF License 2.0),
some 80 topics. Other corpora are text files.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PYTHON_TOPICS = "python_topics"
_NOTHING = "nothing found"
_WORDS = 8
"""Smallest number of words of a paragraph; shorter ones are headings and are joined to the next."""


class Search:
  """Passages, indexed.

  Args:
    passages: at least one.
    results: largest number of passages in a result.

  Raises: ValueError: the passages have no word to search for, or bm25s is not installed.
  """

  def __init__(self, passages: Sequence[str], *, results: int = 1):
    self.passages, self.results = list(passages), min(results, len(passages))
    self._bm25s = _package()
    words = self._words(self.passages)
    if not any(words):
      raise ValueError("task.corpus has no word to search for beside the commonest, such as 'the'")
    self._index = self._bm25s.BM25()
    self._index.index(words, show_progress=False)

  def __call__(self, query: str) -> str:
    """The best passages in order, or "nothing found" if no word of the query is in the corpus."""
    words = self._words([query])
    if not words[0]:
      return _NOTHING
    indices, scores = self._index.retrieve(words, k=self.results, show_progress=False)
    best = [self.passages[i] for i, score in zip(indices[0], scores[0], strict=True) if score > 0]
    return "\n".join(best) if best else _NOTHING

  def _words(self, texts: list[str]) -> list[list[str]]:
    return self._bm25s.tokenize(texts, stopwords="en", return_ids=False, show_progress=False)


def passages(corpus: str) -> list[str]:
  """Distinct paragraphs of a corpus: "python_topics", or a text file with blank lines between paragraphs.

  Raises: ValueError: there is no such file, or it is not a text.
  """
  if corpus == PYTHON_TOPICS:
    from pydoc_data.topics import topics

    return _paragraphs("\n\n".join(topics[topic] for topic in sorted(topics)))
  corpus = os.path.expanduser(corpus)
  if not os.path.isfile(corpus):
    raise ValueError(f"task.corpus: no file {corpus!r} in {Path.cwd()}; {PYTHON_TOPICS!r} needs none")
  try:
    return _paragraphs(Path(corpus).read_text(encoding="utf-8"))
  except UnicodeDecodeError:
    raise ValueError(f"task.corpus: {corpus!r} is not a text in UTF-8") from None


def fingerprint(texts: Sequence[str]) -> str:
  """Hash of passages; Python's documentation changes with its version."""
  digest = hashlib.sha256()
  for text in texts:
    digest.update(f"{len(text)}:{text}".encode())
  return digest.hexdigest()


def _paragraphs(text: str) -> list[str]:
  parts, heading = [], ""
  for part in re.split(r"\n\s*\n", text):
    lines = [line for line in part.splitlines() if re.search(r"\w", line)]  # no rulers under headings
    words = f"{heading} {' '.join(lines)}".split()
    heading = " ".join(words) if len(words) < _WORDS else ""
    parts += [] if heading or not words else [" ".join(words)]
  return list(dict.fromkeys([*parts, heading] if heading else parts))


def _package() -> Any:
  try:
    return importlib.import_module("bm25s")
  except ModuleNotFoundError as error:
    raise ValueError(f"the tool 'search' needs the package {error.name!r}: pip install 'rl-jax[tasks]'") from error
