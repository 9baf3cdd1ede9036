"""The host task over small data in memory: ids, prompts, verdicts as arrays."""

from __future__ import annotations

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.tasks import host
from rl_jax.tasks.host import Scorers
from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.verifiers.errors import CannotVerify
from tests.tasks.byte_vocabulary import Bytes, responses

QUESTIONS = {"train": ["one", "much too long", "two", "three"], "held_out": ["four", "five"]}
LEVELS = {"train": ["b", "a", "a", "b"], "held_out": ["c", "a"]}


class Data:
  """What `PreparedDataset` has, in memory."""

  fingerprint, questions, levels = "f", QUESTIONS, LEVELS

  def entries(self, places, split):
    return [{"question": QUESTIONS[split][place], "level": LEVELS[split][place]} for place in places]


class Echo:
  """A scorer that gives what the response asks for, and remembers what it was asked."""

  def __init__(self):
    self.items, self.closed = [], False

  def __call__(self, items):
    self.items += items
    known = {
      "": Verdict(0.0),
      "half": Verdict(0.5, {"format": 1.0}),
      "late": Verdict(None, {"timed_out": 1.0}),
      "crash": Verdict(None, {"crashed": 1.0}),
      "nan": Verdict(float("nan")),
      "huge": Verdict(1e39),
      "none": Verdict(None, {"error": 1.0}),
      "odd": Verdict(1.0, {"style": 1.0}),
    }
    return [known[response] for response, _ in items]

  def close(self):
    self.closed = True


def build(score=None, data=None, **arguments):
  scorers = Scorers(score or Echo(), **{"parts": ("format",), **arguments})
  config = {**host.FIELDS, "prompt_tokens": 6, "response_tokens": 64}
  return host.build(data or Data(), config, vocabulary=Bytes(), scorers=scorers)


def test_sizes_count_the_prompts_that_fit():
  task = build()
  assert task.levels == ("a", "b", "c") and (task.prompt_tokens, task.response_tokens) == (6, 64)
  assert task.sizes == {"train": 3, "held_out": 2} and task.left_out == {"train": 1, "held_out": 0}


def test_prompts_are_left_padded_arrays_of_the_problems():
  prompts = build().prompts(np.array([2, 0, 1]), "train")
  assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(prompts))
  texts = [Bytes().decode(row[kept]) for row, kept in zip(prompts.tokens, prompts.mask, strict=True)]
  assert texts == ["three", "one", "two"] and prompts.tokens.shape == (3, 6)
  assert prompts.ids.tolist() == [2, 0, 1] and prompts.levels.tolist() == [1, 1, 0] and prompts.metadata == {}


def test_verdicts_are_arrays_in_the_order_of_the_rows():
  score = Echo()
  tokens, mask = responses(["half", "late", "crash", "", "nan", "half"])
  verdicts = build(score).verify(np.array([1, 0, 1, 2, 0, 2]), "train", tokens, mask)
  assert [(text, entry["question"]) for text, entry in score.items] == [
    ("half", "two"), ("late", "one"), ("crash", "two"), ("", "three"), ("nan", "one"), ("half", "three"),
  ]  # fmt: skip
  np.testing.assert_array_equal(verdicts.rewards, np.float32([0.5, 0, 0, 0, 0, 0.5]))
  np.testing.assert_array_equal(verdicts.reward_mask, [True, False, False, True, False, True])
  np.testing.assert_array_equal(verdicts.extras["part/timed_out"], [0, 1, 0, 0, 0, 0])
  np.testing.assert_array_equal(verdicts.extras["part/crashed"], [0, 0, 1, 0, 0, 0])
  assert not verdicts.extras["correct"].any()
  assert build().objectives == ("format",) and "part/format" not in verdicts.extras
  np.testing.assert_array_equal(verdicts.objectives, np.float32([1, 0, 0, 0, 0, 1])[:, None])
  assert verdicts.step_ids.shape == (6, 64) and (verdicts.step_ids == -1).all()
  assert {x.dtype for x in (verdicts.rewards, verdicts.objectives)} == {np.dtype("float32")}


def test_a_reward_beyond_float32_is_unscored():
  verdicts = build().verify(np.zeros(2, np.int64), "train", *responses(["huge", "half"]))
  np.testing.assert_array_equal(verdicts.reward_mask, [False, True])
  assert verdicts.rewards.tolist() == [0.0, 0.5]


def test_what_a_verifier_needs_is_checked_when_the_task_is_built():
  seen = []

  def ready(entries):
    seen.extend(entry["question"] for entry in entries)
    return ["a warning"]

  task = build(ready=ready)
  assert seen == ["one", "two", "three", "four", "five"], "the problems that are put to the policy"
  assert task.notes() == ["a warning"] and task.notes() == [] and task.reasons() == []
  with pytest.raises(ValueError, match="no tests"):
    build(ready=lambda entries: (_ for _ in ()).throw(ValueError("no tests")))


def test_what_the_scorers_said_last_is_known_after_it_was_told():
  score = Echo()
  score.notes = lambda: [score.lines.pop(0)] if score.lines else []
  score.lines, task = ["first", "second"], build(score, ready=lambda entries: ["a warning"])
  assert task.notes() == ["a warning", "first"] and task.reasons() == ["second"] and task.reasons() == ["second"]


@pytest.mark.parametrize(
  ("fields", "line"),
  [
    ({"isolation": "some"}, "task.isolation: got 'some', want one of required, none"),
    ({"failed_responses": 0}, "task.failed_responses: got 0, want one of zero, unscored"),
    ({"seconds_per_response": 5.0}, r"task.seconds_per_response: 5 s are less than the 8 s .*limits.total_seconds"),
  ],
)
def test_fields_of_a_scorer_that_make_no_sense_are_told(fields, line):
  with pytest.raises(ValueError, match=line):
    host.scorer("rl_jax.tasks.verifiers.programs:unit_tests", {}, {**host.FIELDS, "workers": 0, **fields})


def test_a_response_cut_by_the_limit_keeps_its_last_token():
  score = Echo()
  tokens, mask = responses(["half"], width=4 + 1)
  tokens, mask = tokens[:, :4], mask[:, :4]
  build(score).verify(np.array([0]), "train", tokens, mask)
  assert score.items[0][0] == "half"


def test_held_out_responses_have_the_tasks_own_score():
  own, shaped = Echo(), Echo()
  task = build(own, train=shaped)
  rows = responses(["half"])
  task.verify(np.array([0]), "train", *rows)
  assert len(shaped.items) == 1 and not own.items
  task.verify(np.array([0]), "held_out", *rows)
  assert len(shaped.items) == 1 and [entry["question"] for _, entry in own.items] == ["four"]
  task.close()
  assert own.closed and shaped.closed


def test_training_terms_add_to_the_own_score():
  terms = {
    "form": {"verifier": "rl_jax.tasks.verifiers.rewards:tags", "arguments": {"names": ["answer"]}, "weight": 0.5}
  }
  config = {**host.FIELDS, "workers": 0, "training_terms": terms}
  scorers = host.scorers("rl_jax.tasks.scoring:equal_numbers", {"answer": "number"}, config)
  assert scorers.parts == ("score", "form")
  items = [("<answer>4</answer>", {"answer": "4"}), ("4", {"answer": "4"}), ("<answer>5</answer>", {"answer": "4"})]
  assert [verdict.reward for verdict in scorers.train(items)] == [1.5, 1.0, 0.5]
  assert [verdict.reward for verdict in scorers.own(items)] == [1.0, 1.0, 0.0]
  with pytest.raises(ValueError, match="'score' is the name of the task's own score"):
    host.scorers("rl_jax.tasks.scoring:equal_numbers", {}, config | {"training_terms": {"score": {}}})


def test_correct_is_the_own_score_whatever_the_terms_add():
  class Shaped(Echo):
    def __call__(self, items):
      return [Verdict(1.2, {"score": 0.7, "format": 0.5}), Verdict(1.0, {"score": 1.0, "format": 0.0})]

  task = build(train=Shaped(), parts=("score", "format"))
  verdicts = task.verify(np.array([0, 1]), "train", *responses(["", ""]))
  assert verdicts.extras["correct"].tolist() == [False, True]


@pytest.mark.parametrize("beside, rewards", [("4", [0.0, 1.0]), ("error", [None, None]), ("late", [None, None])])
def test_finding_6_a_failed_response_earns_0_only_beside_one_that_was_judged(beside, rewards):
  """Where none was, the verifier is at fault: its workers are dead, or have no time."""
  outcomes = {
    "crash": Verdict(0.0, {"crashed": 1.0}), "late": Verdict(0.0, {"timed_out": 1.0}),
    "error": Verdict(None, {"error": 1.0}), "4": Verdict(1.0),
  }  # fmt: skip
  task = build(lambda items: [outcomes[response] for response, _ in items])
  verdicts = task.verify(np.array([0, 1]), "train", *responses(["crash", beside]))
  scored = zip(verdicts.rewards, verdicts.reward_mask, strict=True)
  assert [float(reward) if is_scored else None for reward, is_scored in scored] == rewards


def test_levels_are_known_by_id():
  assert build().levels_of(jnp.array([2, 0, 1]), "train").tolist() == [1, 1, 0]


def test_ids_are_uniform_and_held_out_ids_differ():
  task = build()
  draw = jax.jit(task.problem_ids, static_argnums=(1, 2))
  ids = draw(jax.random.key(0), 3000, "train")
  assert ids.dtype == jnp.int32
  assert np.abs(np.bincount(ids, minlength=3) - 1000).max() < 5 * np.sqrt(3000 * 2 / 9)
  assert sorted(draw(jax.random.key(0), 2, "held_out").tolist()) == [0, 1]
  assert set(draw(jax.random.key(0), 30, "held_out").tolist()) == {0, 1}


def test_fingerprint_is_that_of_data_and_prompts():
  other_data = Data()
  other_data.fingerprint = "g"
  config = {**host.FIELDS, "prompt_tokens": 7}
  fewer = host.build(Data(), config | {"prompt_tokens": 4}, vocabulary=Bytes(), scorers=Scorers(Echo()))
  worded = host.build(
    Data(), config | {"question_template": "{question}?"}, vocabulary=Bytes(), scorers=Scorers(Echo())
  )
  found = [build().fingerprint, build(data=other_data).fingerprint, fewer.fingerprint, worded.fingerprint]
  assert len(set(found)) == 4 and build().fingerprint == found[0]


@pytest.mark.parametrize(
  ("act", "message"),
  [
    (lambda task: task.prompts(np.array([0, 3]), "train"), "train ids go from 0 to 2, got 0 to 3"),
    (lambda task: task.verify(np.array([-1]), "held_out", *responses([""])), "held_out ids go from 0 to 1, got -1"),
    (lambda task: task.verify(np.array([0]), "train", *responses(["odd"])), r"\['style'\] that were not announced"),
  ],
)
def test_bad_calls_are_one_clear_line(act, message):
  with pytest.raises(ValueError, match=message):
    act(build())


def test_parts_that_were_not_announced_are_what_no_response_can_change():
  with pytest.raises(CannotVerify, match="name all in a function <verifier>_parts"):
    build().verify(np.array([0]), "train", *responses(["odd"]))
  with pytest.raises(CannotVerify, match="the scorer gave 0 verdicts on 1 responses"):
    build(lambda items: []).verify(np.array([0]), "train", *responses([""]))


def test_prompts_that_are_all_too_long_are_one_clear_line():
  data = types.SimpleNamespace(fingerprint="f", questions={"train": ["1234567"], "held_out": ["1"]}, levels=LEVELS)
  with pytest.raises(ValueError, match="all 1 train prompts have more than task.prompt_tokens=6 tokens"):
    build(data=data)
