"""Data sets of reasoning-gym by name: built, split, scored by their own scorer."""

from __future__ import annotations

import importlib.metadata

import numpy as np
import pytest
from ml_collections import ConfigDict

from rl_jax.tasks import reasoning_gym
from rl_jax.tasks.datasets import entries, procedural, safe_scoring
from tests.tasks.byte_vocabulary import Bytes, responses

# Some of what it needs has to be compiled, so it is an extra: `make tasks`.
factory = pytest.importorskip("reasoning_gym.factory", reason="reasoning-gym is not installed: make tasks")
NAMES = sorted(set(factory.DATASETS) - {"composite"})


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("RL_JAX_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield


def build(**fields):
  config = {"workers": 0, "problems": 48, "prompt_tokens": 2**16, **fields}
  return reasoning_gym.build(ConfigDict({**reasoning_gym.get_config(), **config}), vocabulary=Bytes())


def asked(task, split):
  """Ids, questions and level names of a split."""
  ids = np.arange(task.sizes[split])
  prompts = task.prompts(ids, split)
  texts = [Bytes().decode(row[kept]) for row, kept in zip(prompts.tokens, prompts.mask, strict=True)]
  return ids, texts, [task.levels[level] for level in prompts.levels]


def verdict_on(answer, entry, dataset):
  levels = {"x": {"dataset": dataset, "parameters": {}}}
  return procedural.score(f"<answer>{answer}</answer>", {**entry, "level": "x"}, levels=levels, answer="tag")


def test_three_data_sets_in_one_mixture():
  # A tuple, numbers as keys and a scorer that reads its configuration are in their entries.
  task = build(
    levels={
      "easy": {"dataset": "chain_sum", "max_terms": 3, "max_digits": 2, "weight": 2.0},
      "grids": {"dataset": "rearc"},
      "colours": {"dataset": "graph_color"},
    }
  )
  assert task.levels == ("colours", "easy", "grids")
  _, train, levels = asked(task, "train")
  _, held_out, more = asked(task, "held_out")
  assert not set(train) & set(held_out) and len(train) + len(held_out) == 48
  assert {name: (levels + more).count(name) for name in task.levels} == {"easy": 24, "grids": 12, "colours": 12}


def test_the_data_sets_own_scorer_gives_the_reward():
  task = build(dataset="chain_sum", levels={"sum": {"max_terms": 2}})
  ids, questions, _ = asked(task, "held_out")
  totals = [eval(question.rpartition(":")[2].strip(" =")) for question in questions]
  answers = [f"It is <answer>{total}</answer>" for total in totals]
  wrong = [f"<answer>{total + 1000000}</answer>" for total in totals]
  score = lambda texts: task.verify(ids, "held_out", *responses(texts)).rewards
  assert (score(answers) == 1.0).all() and (score(wrong) < 1.0).all() and (score([str(t) for t in totals]) == 0).all()


def test_the_default_is_one_level_by_the_name_of_the_data_set():
  assert build(dataset="gcd").levels == ("gcd",)


def test_lists_of_a_saved_config_become_the_tuples_they_were():
  dataset = procedural.create("basic_arithmetic", {"operators": ["+", "-"]}, seed=0, size=1)
  assert dataset.config.operators == ("+", "-")


def test_changed_configuration_is_another_fingerprint():
  fields = ({}, {"seed": 1}, {"levels": {"gcd": {"max_numbers": 3}}})
  assert len({build(dataset="gcd", **given).fingerprint for given in fields}) == 3


def test_an_answer_is_never_run_as_code(tmp_path):
  task = build(dataset="countdown")
  ids = np.arange(task.sizes["held_out"])
  hostile = [f"<answer>__import__('pathlib').Path('{tmp_path}/run').touch()</answer>"] * len(ids)
  assert (task.verify(ids, "held_out", *responses(hostile, width=256)).rewards == 0.0).all()
  assert not list(tmp_path.iterdir())


def test_an_answer_that_the_scorer_cannot_read_is_wrong_and_not_unscored():
  entry = procedural.create("prime_factorization", {}, seed=0, size=1)[0]
  assert verdict_on("seven", entry, "prime_factorization").reward == 0.0


@pytest.mark.parametrize(
  ("name", "parameters", "message"),
  [
    ("chain_sun", {}, "no reasoning-gym data set 'chain_sun': did you mean 'chain_sum'?"),
    ("chain_sum", {"max_term": 3}, "chain_sum: unknown parameter 'max_term': did you mean 'max_terms'?"),
    ("chain_sum", {"max_terms": 1}, "chain_sum: parameters {'max_terms': 1} do not fit: max_terms must be"),
    ("chain_sum", {"max_terms": "x"}, "chain_sum: parameters {'max_terms': 'x'} do not fit"),
    ("chain_sum", {"seed": 1}, "seed is no parameter of a level: set task.seed"),
    ("composite", {}, "'composite' is a mixture: name its data sets under task.levels"),
  ],
)
def test_bad_data_sets_are_one_clear_line(name, parameters, message):
  with pytest.raises(ValueError) as error:
    procedural.create(name, parameters, seed=0, size=1)
  assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"dataset": "chain_sun"}, "did you mean 'chain_sum'?"),
    ({"levels": {"a": {"weight": 100.0}, "b": {"weight": 0.1}}}, "level 'b': its share of 48 problems is none"),
    ({"answer": "box"}, "task.answer: got 'box'"),
    ({"worker": 0}, "task: unknown field 'worker'; did you mean 'workers'?"),
    ({"problems": 0}, "task.problems: got 0"),
  ],
)
def test_bad_fields_are_one_clear_line(fields, message):
  with pytest.raises(ValueError) as error:
    build(**fields)
  assert message in str(error.value) and "\n" not in str(error.value)


def test_a_missing_package_says_which_extra_has_it(monkeypatch):
  def missing(package):
    raise importlib.metadata.PackageNotFoundError(package)

  monkeypatch.setattr(importlib.metadata, "version", missing)
  with pytest.raises(ValueError, match=r"reasoning-gym is not installed: pip install 'rl-jax\[tasks\]'"):
    build()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_is_stored_and_scored(name):
  dataset = procedural.create(name, {}, seed=5, size=2)
  for entry in (dataset[0], dataset[1]):
    back = entries.loads(entries.dumps(entry))
    assert entries.dumps(back) == entries.dumps(entry)
    right = safe_scoring.reference(entry)
    assert right is None or verdict_on(right, back, name).reward == 1.0
    assert verdict_on("\u2042", back, name).reward < 0.1  # shares no letter with a right answer


@pytest.mark.slow
def test_all_data_sets_at_once_are_the_same_when_made_twice(tmp_path, monkeypatch):
  found = []
  for number in range(2):
    monkeypatch.setenv("RL_JAX_CACHE", str(tmp_path / str(number)))
    task = build(levels={name: {"dataset": name} for name in NAMES}, problems=4 * len(NAMES))
    assert task.levels == tuple(NAMES)
    found.append(task.fingerprint)
  assert found[0] == found[1]
