"""PreparedDataset data: the same when made twice, made once, whole or not at all, checked when opened."""

from __future__ import annotations

import json
import threading

import pytest

from rl_jax.tasks.datasets import prepare as preparing
from rl_jax.tasks.datasets.json_lines import JsonLines
from rl_jax.tasks.datasets.prepare import prepare
from rl_jax.tasks.datasets.reasoning_gym import ReasoningGym, counts_of


def lines(folder, count=40, sign="+"):
  file = folder / "questions.jsonl"
  rows = ({"question": f"{i} {sign} 1?", "answer": f"so #### {i + 1}", "tests": [i]} for i in range(count))
  file.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return {
    "file": str(file), "held_out_file": "", "held_out_fraction": 0.25, "question_field": "question",
    "answer_field": "answer", "level_field": "",
  }  # fmt: skip


def level(name, **parameters):
  return {"dataset": name, "parameters": parameters, "weight": 1.0}


@pytest.fixture
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv("RL_JAX_CACHE", str(tmp_path / "cache"))
  return tmp_path / "cache"


def everything(data):
  return [(data.questions[s], data.levels[s], data.entries(range(len(data.questions[s])), s)) for s in data.questions]


def test_made_once_by_whoever_comes_first_and_read_at_random(cache, tmp_path, monkeypatch):
  settings, found = lines(tmp_path), []
  threads = [
    threading.Thread(target=lambda: found.append(prepare(JsonLines, settings, {"file": "1"}))) for _ in range(2)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(found) == 2 and found[0].fingerprint == found[1].fingerprint
  monkeypatch.setattr(preparing, "_make", lambda *_: pytest.fail("made again"))
  data = prepare(JsonLines, settings, {"file": "1"})
  assert everything(data) == everything(found[0])
  last = len(data.questions["train"]) - 1
  entries = data.entries([last, 0, last], "train")
  assert [entry["question"] for entry in entries] == [data.questions["train"][i] for i in (last, 0, last)]
  number = entries[0]["tests"][0]
  assert entries[0] == {
    "question": f"{number} + 1?", "answer": str(number + 1), "solution": f"so #### {number + 1}", "tests": [number],
    "level": "all",
  }  # fmt: skip
  assert [path.name for path in (cache / "datasets" / "json_lines").iterdir() if path.name.startswith(".")] == []


def test_data_of_sets_with_an_order_of_their_own_is_the_same_in_every_process(tmp_path, monkeypatch):
  pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed: make tasks")
  settings = {
    # These iterate over Python sets, so their order is that of the process.
    "levels": {"a": level("word_ladder"), "b": level("isomorphic_strings"), "c": level("chain_sum", max_terms=3)},
    "problems": 30, "seed": 0, "held_out_fraction": 0.25,
  }  # fmt: skip
  made = []
  for number in range(2):
    monkeypatch.setenv("RL_JAX_CACHE", str(tmp_path / str(number)))
    monkeypatch.setenv("PYTHONHASHSEED", str(number))
    made.append(prepare(ReasoningGym, settings, {}))
  assert made[0].fingerprint == made[1].fingerprint and everything(made[0]) == everything(made[1])
  assert not set(made[0].questions["train"]) & set(made[0].questions["held_out"])
  assert {name for split in made[0].levels.values() for name in split} == {"a", "b", "c"}


def test_another_content_is_another_fingerprint(cache, tmp_path):
  first = prepare(JsonLines, lines(tmp_path), {"file": "1"})
  other = prepare(JsonLines, lines(tmp_path, sign="-"), {"file": "2"})
  assert first.fingerprint != other.fingerprint


def test_damage_is_noticed(cache, tmp_path):
  settings = lines(tmp_path)
  prepare(JsonLines, settings, {"file": "1"})
  (file,) = cache.rglob("metadata.json")
  told = json.loads(file.read_text())
  file.write_text(json.dumps({**told, "fingerprint": "0" * 64}))
  with pytest.raises(ValueError, match="is damaged: remove that folder"):
    prepare(JsonLines, settings, {"file": "1"})


def test_what_is_refused_leaves_nothing(cache, tmp_path):
  settings = lines(tmp_path)
  (tmp_path / "questions.jsonl").write_text('{"question": "1?", "answer": "1"}\n{"question": \n')
  with pytest.raises(ValueError, match=r"questions\.jsonl, line 2: no JSON") as error:
    prepare(JsonLines, settings, {"file": "1"})
  assert "\n" not in str(error.value)
  assert list(cache.rglob("*")) == [cache / "datasets", cache / "datasets" / "json_lines"]


def test_a_cache_that_cannot_be_written_is_one_clear_line(tmp_path, monkeypatch):
  (tmp_path / "file").write_text("")
  monkeypatch.setenv("RL_JAX_CACHE", str(tmp_path / "file"))
  with pytest.raises(ValueError, match="set RL_JAX_CACHE to another folder"):
    prepare(JsonLines, lines(tmp_path), {"file": "1"})


def test_shares_of_a_mixture_sum_to_the_whole():
  assert counts_of({"a": 1.0, "b": 2.0, "c": 1.0}, 10) == {"a": 2, "b": 6, "c": 2}
  for problems in (7, 100, 4096):
    assert sum(counts_of({"a": 0.3, "b": 0.3, "c": 0.4}, problems).values()) == problems
