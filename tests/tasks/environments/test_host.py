"""Environments in Python: episodes by hand, live ones and those begun again, wrong answers, processes, problems."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from rl_jax.tasks import messages
from rl_jax.tasks.environments import host
from rl_jax.tasks.verifiers.errors import CannotVerify
from tests.tasks.byte_vocabulary import Bytes, ChatBytes
from tests.tasks.environments.guessing import Broken, Guess

ROOM = "tests.tasks.environments.guessing"
FIELDS = {
  "environment": f"{ROOM}:Guess", "workers": 0, "problems": 24, "prompt_tokens": 64, "max_turns": 3, "turn_tokens": 8,
  "observation_tokens": 12, "observation_template": "[{observation}]",
}  # fmt: skip


def built(vocabulary=None, **fields):
  return host.build({**FIELDS, **fields}, vocabulary=vocabulary or Bytes())


def record(task, *rows):
  """(tokens, mask): each row is its turns and what was answered to them in turn, as text; "." ends a turn."""
  layout = task.turns
  tokens = np.full((len(rows), layout.response_tokens), 65, np.int32)
  mask = np.zeros(tokens.shape, bool)
  for row, texts in enumerate(rows):
    for number, text in enumerate(texts):
      turn, is_answer = divmod(number, 2)
      ids = [Bytes.end_id if c == "." and not is_answer else ord(c) for c in text]
      start = layout.start(turn + 1) - len(ids) if is_answer else layout.start(turn)
      tokens[row, start : start + len(ids)], mask[row, start : start + len(ids)] = ids, True
  return tokens, mask


def verify(task, *rows, ids=None, split="train"):
  return task.verify(np.zeros(len(rows), np.int64) if ids is None else np.array(ids), split, *record(task, *rows))


def told(verdicts):
  extras = verdicts.extras
  return [Bytes().decode(t[m]) for t, m in zip(extras["observation"], extras["observation_mask"], strict=True)]


def number_of(task, place=0, split="train"):
  """The number that a problem asks for, found by asking for it."""
  answers = verify(task, *[[f"{n}."] for n in range(1, 10)], ids=[place] * 9, split=split)
  (found,) = np.flatnonzero(answers.extras["correct"]) + 1
  return int(found)


# Hand-computed.


def test_an_episode_by_hand():
  task = built()
  number = number_of(task)
  wrong, hint = (number - 1, "[higher]") if number > 1 else (2, "[lower]")
  first = verify(task, [f"{wrong}."], [f"{number}."], [])
  assert told(first) == [hint, "", ""]
  extras = first.extras
  assert extras["done"].tolist() == [False, True, True] and extras["correct"].tolist() == [False, True, False]
  np.testing.assert_allclose(first.rewards, [0.1, 1, 0])
  second = verify(task, [f"{wrong}.", hint, f"{number}."], [f"{wrong}.", hint, f"{wrong}."])
  assert told(second) == ["", hint] and second.reward_mask.all()
  np.testing.assert_allclose(second.extras["turn_rewards"], [[0.1, 1, 0], [0.1, 0.1, 0]])
  np.testing.assert_allclose(second.rewards, [1.1, 0.2], rtol=1e-6)
  earned = np.flatnonzero(second.token_rewards[0])
  assert earned.tolist() == [1, task.turns.start(1) + 1], "the last token of each turn"
  names = second.extras["state_ids"]
  assert (names[0] >= 0).tolist() == [True, True, True, False] and names[1, 1] == names[1, 2] != names[0, 2]
  assert second.step_ids[0].max() == 1 and (second.step_ids[:, task.turns.observed] == -1).all()
  third = verify(task, [f"{wrong}.", hint, f"{wrong}.", hint, f"{wrong}."])
  assert told(third) == [""] and third.extras["done"].all(), "the last turn is not answered"
  np.testing.assert_allclose(third.rewards, [0.3], rtol=1e-6)


def test_no_rows_have_the_shapes_of_some():
  task = built()
  none, some = verify(task), verify(task, ["1."], ["2."])
  assert none.rewards.shape == (0,) and {n: x.shape[1:] for n, x in none.extras.items()} == {
    n: x.shape[1:] for n, x in some.extras.items()
  }


# Live episodes and records.


def test_each_turn_is_answered_once():
  task = built()
  number = number_of(task)
  wrong = [str(n) for n in (1, 2, 9) if n != number][:2]
  hints = told(verify(task, [f"{wrong[0]}."], [f"{wrong[1]}."]))
  before = Guess.steps
  rows = [[f"{wrong[1]}.", hints[1], f"{wrong[0]}."], [f"{wrong[0]}.", hints[0], f"{wrong[1]}."]]
  hints_again = told(verify(task, *rows))
  assert Guess.steps == before + 2 and hints_again == hints, "rows in another order are found by what they hold"
  rows = [[*row, hint, "3."] for row, hint in zip(rows, hints_again, strict=True)]
  verify(task, *rows)
  assert Guess.steps == before + 4


def test_rows_with_one_record_are_as_many_episodes():
  task = built(max_turns=4)
  first = told(verify(task, *[["draw."]] * 3))
  assert len(set(first)) == 1
  before = Guess.steps
  second = told(verify(task, *[["draw.", hint, "draw."] for hint in first]))
  assert Guess.steps == before + 3 and len(set(second)) == 1 != {*first} & {*second}


def test_a_row_whose_last_turn_was_answered_is_over():
  """A limit left no room for the next turn: nothing is asked, and what was earned stays."""
  task = built()
  number = number_of(task)
  wrong = "1" if number != 1 else "2"
  (hint,) = told(verify(task, [f"{wrong}."]))
  before = Guess.steps
  verdicts = verify(task, [f"{wrong}.", hint])
  assert Guess.steps == before and verdicts.extras["done"].all()
  np.testing.assert_allclose(verdicts.rewards, [0.1])


def test_an_old_record_has_its_verdict_again():
  """Begun again with the problem's seed, the environment gives the recorded answers, and so the same verdict."""
  task = built()
  hints = told(verify(task, ["draw."], ["1."]))
  rows = [["draw.", hints[0], "5."], ["1.", hints[1] or "[higher]", "draw."]]
  live = verify(task, *rows)
  again = verify(built(), *rows)
  for name in live.extras:
    np.testing.assert_array_equal(live.extras[name], again.extras[name], err_msg=name)
  np.testing.assert_array_equal(live.rewards, again.rewards)


def test_an_environment_that_does_not_repeat_itself_gives_no_verdict_on_an_old_record():
  task = built()
  (mood,) = told(verify(task, ["moody."]))
  assert verify(task, ["moody.", mood, "1."]).reward_mask.all(), "a live one is not asked again"
  other = built()
  verdicts = verify(other, ["moody.", mood, "1."], ["1."])
  assert verdicts.reward_mask.tolist() == [False, True] and verdicts.extras["part/error"].tolist() == [1, 0]
  assert any("did not repeat its answers" in note for note in other.notes())


def test_episodes_that_wait_for_no_turn_are_given_up():
  task = built()
  for place in range(6):
    verify(task, ["draw."], ids=[place])
  episodes = task.verify.args[0].episodes
  assert episodes._waiting <= 2 and sum(map(len, episodes._live.values())) == episodes._waiting
  assert len(episodes._calls._live) <= 3, "they are dropped with the next job"


# Wrong answers.


@pytest.mark.parametrize(
  ("action", "reason"),
  [
    ("raise", "RuntimeError: no such move"),
    ("nothing", "ValueError: step gave None, want (observation, reward, done)"),
    ("number", "ValueError: step gave the observation 7, want text"),
    ("nan", "ValueError: step gave the reward nan, want a number"),
    ("much", "ValueError: step gave 3145728 characters, want at most 1048576"),
    ("half", "ValueError: step gave half a character (the lone surrogate '\\ud800'), which is no text"),
    ("text", "ValueError: step gave done='False', want True or False"),
    ("minus", "ValueError: step gave done=-1, want True or False"),
    ("unsure", "ValueError: step gave done=None, want True or False"),
    ("list", "ValueError: step gave done=a list, want True or False"),
  ],
)
def test_a_wrong_answer_is_one_line_and_no_verdict(action, reason):
  task = built()
  verdicts = verify(task, [f"{action}."], ["draw."])
  assert verdicts.reward_mask.tolist() == [False, True] and verdicts.rewards[0] == 0
  assert verdicts.extras["done"].tolist() == [True, False] and verdicts.extras["part/error"].tolist() == [1, 0]
  (note,) = [note for note in task.notes() if "raised" in note]
  assert reason in note and "\n" not in note and "guessing.py" in note or "ValueError" in note
  assert task.notes() == [] and task.reasons()


def test_a_bool_of_numpy_ends_an_episode():
  verdicts = verify(built(), ["numpy."])
  assert verdicts.extras["done"].tolist() == [True] and verdicts.reward_mask.all()


def test_a_long_answer_is_cut_and_an_empty_one_is_the_template():
  task = built()
  assert told(verify(task, ["long."], ["short."])) == ["[long long ]", "[]"]
  assert task.notes() == ["1 observations had more than task.observation_tokens=12 tokens, and were cut"]


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (
      {"environment": f"{ROOM}:Silent"},
      'problem {"problem":{},"seed":.*cannot begin: ValueError: reset gave None, want text',
    ),
    ({"environment": f"{ROOM}:Broken"}, "cannot begin: KeyError: 'board' .*guessing.py, line"),
    (
      {"environment": f"{ROOM}:Stepless"},
      'problem {"problem":{},"seed":.*cannot begin: TypeError: a Stepless has no method step, want reset and step',
    ),
    (
      {"environment": f"{ROOM}:Says", "arguments": {"says": "half \udfff"}},
      r"cannot begin: ValueError: reset gave half a character \(the lone surrogate '\\udfff'\), which is no text",
    ),
    (
      {"environment": f"{ROOM}:Says", "arguments": {"says": [{"role": "user", "content": "half \udfff"}]}},
      "cannot begin: ValueError: reset gave half a character",
    ),
    (
      {"environment": f"{ROOM}:Says", "arguments": {"says": [{"role": "user", "content": "x" * 2**20}]}},
      "cannot begin: ValueError: reset gave [0-9]+ characters, want at most 1048576",
    ),
    (
      {"environment": f"{ROOM}:Says", "arguments": {"says": messages.MARK + "{"}},
      r"cannot begin: ValueError: reset gave a text that begins with '\\x00messages', which marks lists of messages",
    ),
    (
      {"environment": f"{ROOM}:OfProblems", "arguments": {"problem": {"number": 3, "of": ["\ud800"]}}},
      "^task.environment: problem 2: problems gave half a character",
    ),
    ({"environment": f"{ROOM}:OfObjects"}, "^task.environment: problem 0: an entry holds a object"),
    ({"environment": f"{ROOM}:None"}, "task.environment: there is no 'None'"),
    ({"environment": "guess"}, "task.environment: got 'guess', want 'package.module:Class'|cannot import 'guess'"),
    ({"arguments": {"least": 1}}, "cannot begin: TypeError: .*unexpected keyword argument 'least'"),
    ({"observation_tokens": 2}, "task.observation_template has 2 tokens beside {observation}, want 1 to 1"),
    ({"observation_template": "told"}, "task.observation_template: got 'told', want {observation} somewhere in it"),
    ({"max_turns": 0}, "task.max_turns: got 0, want a whole number from 1"),
    ({"isolation": "some"}, "task.isolation: got 'some', want one of required, none"),
    ({"problem": 3}, "task: unknown field 'problem'; did you mean 'problems'"),
  ],
)
def test_what_makes_no_sense_is_one_line(fields, message):
  with pytest.raises(ValueError, match=message) as error:
    built(**fields)
  assert "\n" not in str(error.value)


def test_the_first_problem_that_cannot_begin_ends_a_build():
  before = Broken.begun
  with pytest.raises(ValueError, match="cannot begin: KeyError: 'board'"):
    built(environment=f"{ROOM}:Broken", problems=24)
  assert Broken.begun == before + 1


# Problems.


def test_seeds_are_problems_and_the_splits_share_none():
  task = built(problems=60, held_out_fraction=0.25)
  starts = task.verify.args[0].episodes._start
  seeds = {split: {starts((split, place))["seed"] for place in range(task.sizes[split])} for split in task.sizes}
  assert seeds["train"] | seeds["held_out"] == set(range(60)) and not seeds["train"] & seeds["held_out"]
  assert 4 < len(seeds["held_out"]) < 30
  fewer = built(problems=30, held_out_fraction=0.25).verify.args[0].episodes._start
  assert fewer(("held_out", 0))["seed"] in seeds["held_out"], "whatever else is a problem"
  assert built(seed=1).fingerprint != built().fingerprint == built().fingerprint


def test_problems_that_a_class_lists():
  task = built(ChatBytes(), environment=f"{ROOM}:Listed", held_out_fraction=0.5)
  assert task.levels == ("even", "odd") and sum(task.sizes.values()) == 9
  prompts = task.prompts(np.arange(task.sizes["train"]), "train")
  text = Bytes().decode(prompts.tokens[0][prompts.mask[0]])
  assert text.startswith("[system]Guess.\n[user]") and text.endswith("?\n[assistant]")
  start = task.verify.args[0].episodes._start(("train", 0))["problem"]
  assert verify(task, [f"{start['number']}."]).rewards == [1]


def test_an_answer_is_a_turn_of_the_chat():
  task = built(ChatBytes(), observation_template="", observation_tokens=40)
  (text,) = told(verify(task, ["draw."]))
  assert text.startswith("\n[user]0.") and text.endswith("\n[assistant]")
  assert told(verify(built(observation_template=""), ["short."])) == ["\n\n"], "without a chat template"


# Processes.

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="namespaces of Linux")


@linux
@pytest.mark.parametrize("isolation", ["required", "none"])
def test_processes_answer_and_what_brings_them_down_has_no_verdict(isolation):
  try:
    task = built(workers=2, isolation=isolation, seconds_per_call=0.5)
  except CannotVerify as error:
    pytest.skip(str(error))
  try:
    rows = [["draw."], ["hang."], ["draw."], ["die."], ["1."], ["raise."]]
    first = verify(task, *rows, ids=range(6))
    failed = [[first.extras[f"part/{name}"][row] for row in range(6)] for name in ("timed_out", "crashed", "error")]
    assert failed == [[0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]]
    assert first.reward_mask.tolist() == [True, False, True, False, True, False]
    assert any("1 responses have timed out and 1 have crashed" in note for note in task.notes())
    # Those that lived with them go on, and say what they would have said.
    second = verify(task, ["draw.", told(first)[0], "draw."], ["draw.", told(first)[2], "draw."], ids=[0, 2])
    alone = built()
    again = verify(alone, ["draw.", told(first)[0], "draw."], ["draw.", told(first)[2], "draw."], ids=[0, 2])
    assert told(second) == told(again) and second.reward_mask.all()
  finally:
    task.close()


@linux
def test_a_worker_that_cannot_start_is_one_line():
  with pytest.raises(ValueError, match="task.environment: there is no 'Gues' in"):
    built(workers=1, isolation="none", environment=f"{ROOM}:Gues")


@linux
def test_an_environment_that_never_begins_is_one_line():
  with pytest.raises(ValueError, match="cannot begin: it took longer than task.seconds_per_call allows$"):
    built(workers=1, isolation="none", environment=f"{ROOM}:Sleepy", seconds_per_call=0.05)


COPIED = """
import os
from rl_jax.tasks.environments.text import Host, problems_of
from tests.tasks.environments.guessing import Guess
answer = Host(Guess, {}).answer({"episode": 1, "problem": {}, "seed": 0, "actions": ["fork"], "drop": []})
print(*answer["answers"], flush=True)
Guess.problems = staticmethod(lambda: [{"is_copied": os.fork() >= 0}])
print(*problems_of(Guess, {}))
"""


def test_a_copy_that_an_environment_makes_of_its_process_does_not_answer():
  ended = subprocess.run([sys.executable, "-c", COPIED], capture_output=True, text=True, check=True)
  assert ended.stdout == "('forked', 0.0, False)\n{'is_copied': True}\n", ended.stderr


@linux
def test_rows_are_right_where_steps_fork():
  task = built(workers=1, isolation="none")
  try:
    first = told(verify(task, *[["fork."]] * 4))
    assert first == ["[forked]"] * 4
    second = verify(task, *[["fork.", hint, "raise."] for hint in first[:2]], ["fork.", first[2], "fork."])
    assert told(second)[2] == "[forked]" and second.reward_mask.tolist() == [False, False, True]
  finally:
    task.close()
