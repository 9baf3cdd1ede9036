"""The papers that the methods implement, by arXiv id: papers.json holds title, year and authors of each.

An author list that ends in "others" is cut there. A paper that is not in the file is cited by its id alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_FILE = Path(__file__).with_name("papers.json")


class Paper(NamedTuple):
  """What is known of a paper. Fields that are not known are empty."""

  arxiv: str
  title: str = ""
  year: int | None = None
  authors: tuple[str, ...] = ()
  """"Given Family"; the last may be "others"."""

  @property
  def key(self) -> str:
    """Its BibTeX key: "shao2024deepseekmath", or "arxiv:2402.03300" where authors or title are not known."""
    if not self.authors or not self.title:
      return f"arxiv:{self.arxiv}"
    family = self.authors[0].split()[-1]
    word = "".join(letter for letter in self.title.replace("-", " ").split()[0].lower() if letter.isalnum())
    return f"{family.lower()}{self.year}{word}"


def known() -> dict[str, Paper]:
  """All papers of the file, by arXiv id."""
  entries = json.loads(_FILE.read_text(encoding="utf-8"))
  return {
    arxiv: Paper(arxiv, entry["title"], entry["year"], tuple(entry["authors"])) for arxiv, entry in entries.items()
  }


def look_up(ids: Iterable[str]) -> list[Paper]:
  """The papers of arXiv ids, each once, in the order of their first mention."""
  papers = known()
  return [papers.get(arxiv, Paper(arxiv)) for arxiv in dict.fromkeys(ids)]
