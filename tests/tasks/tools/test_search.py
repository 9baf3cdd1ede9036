"""Search: ranking by hand, the corpus that is always there, files, and nothing to be found."""

from __future__ import annotations

import functools

import pytest

from rl_jax.tasks.tools import search

PASSAGES = ["the cat sat on the mat", "a dog chased the cat", "stocks fell on Monday"]


def test_the_passage_with_the_rarer_word_comes_first():
  one, two = search.Search(PASSAGES), search.Search(PASSAGES, results=2)
  assert one("dog and cat") == PASSAGES[1]
  assert two("dog and cat") == f"{PASSAGES[1]}\n{PASSAGES[0]}"
  assert two("Stocks!") == PASSAGES[2], "a passage without any of the words is none"
  assert search.Search(PASSAGES, results=9)("cat").count("\n") == 1


@pytest.mark.parametrize("query", ["", "the", "zebra", "!?"])
def test_nothing_is_found_without_a_word_of_the_corpus(query):
  assert search.Search(PASSAGES)(query) == "nothing found"


@functools.cache
def topics():
  return search.passages("python_topics")


def test_pythons_documentation_is_there_in_paragraphs():
  assert len(topics()) > 800 and len(set(topics())) == len(topics())
  assert all(text and "\n" not in text for text in topics())
  found = search.Search(topics())("the floor division operator yields an integer quotient")
  assert "floor division" in found


def test_a_file_is_read_in_paragraphs_with_their_headings(tmp_path):
  path = tmp_path / "corpus.txt"
  path.write_text(
    "Cats\n====\n\nA cat is a small animal that\nlikes to sleep.\n\n\nDogs bark at cats and chase them all day.\n\nEnd"
  )
  assert search.passages(str(path)) == [
    "Cats A cat is a small animal that likes to sleep.", "Dogs bark at cats and chase them all day.", "End",
  ]  # fmt: skip


def test_a_file_that_is_missing_is_one_line():
  with pytest.raises(ValueError, match="task.corpus: no file 'nowhere.txt' in .*; 'python_topics' needs none"):
    search.passages("nowhere.txt")


@pytest.mark.parametrize("passages", [[], ["the of and"]])
def test_a_corpus_without_a_word_to_search_for_is_one_line(passages):
  with pytest.raises(ValueError, match="task.corpus has no word to search for"):
    search.Search(passages)


def test_a_file_that_is_no_text_is_one_line(tmp_path):
  (tmp_path / "corpus.txt").write_bytes(b"\xff\xfe\x00")
  with pytest.raises(ValueError, match="task.corpus: .*corpus.txt' is not a text in UTF-8"):
    search.passages(str(tmp_path / "corpus.txt"))


def test_the_fingerprint_is_of_the_texts():
  assert search.fingerprint(PASSAGES) == search.fingerprint(list(PASSAGES))
  assert search.fingerprint(["ab", "c"]) != search.fingerprint(["a", "bc"])
