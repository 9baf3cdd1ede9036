"""Papers of the methods by arXiv id, with title, year and authors from kernels/papers.json.

An author list that ends in "others" is cut there. A paper without a title in the file is cited only by its id.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

# Read as a file, since importing the kernels would import jax.
_FILE = Path(__file__).parents[1] / "kernels" / "papers.json"


class Paper(NamedTuple):
  """Metadata of a paper. Unknown fields are empty."""

  arxiv: str
  title: str = ""
  year: int | None = None
  authors: tuple[str, ...] = ()
  """"Given Family"; the last may be "others"."""

  @property
  def key(self) -> str:
    """BibTeX key: "shao2024deepseekmath", or "arxiv:2402.03300" where authors or title are not known."""
    if not self.authors or not self.title:
      return f"arxiv:{self.arxiv}"
    family = self.authors[0].split()[-1]
    word = "".join(letter for letter in self.title.replace("-", " ").split()[0].lower() if letter.isalnum())
    return f"{family.lower()}{self.year}{word}"


def known() -> dict[str, Paper]:
  """The papers of the file that have a title, by arXiv id."""
  entries = [entry for entry in json.loads(_FILE.read_text(encoding="utf-8")) if "title" in entry]
  return {
    entry["arxiv"]: Paper(entry["arxiv"], entry["title"], entry["year"], tuple(entry.get("authors", ())))
    for entry in entries
  }


def look_up(ids: Iterable[str]) -> list[Paper]:
  """Papers of arXiv ids, each once, in order of first mention."""
  papers = known()
  return [papers.get(arxiv, Paper(arxiv)) for arxiv in dict.fromkeys(ids)]
