"""Question-answer data with a tool: calls, observations as tokens, answers, where a turn stops, what is refused."""

from __future__ import annotations

import json

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.tasks import tool_use
from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.tool_use import Scorers, find_call
from rl_jax.tasks.verifiers import sandbox
from tests.tasks.byte_vocabulary import Bytes

FIELDS = {
  "source": "json_lines", "answer": "tag", "max_turns": 3, "turn_tokens": 32, "observation_tokens": 24,
  "prompt_tokens": 256, "workers": 0, "result_template": "[{result}]",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
  folder = tmp_path_factory.mktemp("data")
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("RL_JAX_CACHE", str(folder / "cache"))
    (folder / "sums.jsonl").write_text(
      "".join(json.dumps({"question": f"{i}+1=", "answer": f"#### {i + 1}"}) + "\n" for i in range(60))
    )
    FIELDS["file"] = str(folder / "sums.jsonl")
    yield


class Echo:
  """Remembers the responses that it scores."""

  def __init__(self):
    self.seen = []

  def __call__(self, items):
    self.seen += [response for response, _ in items]
    return [Verdict(float("4" in response)) for response, _ in items]


def built(**fields):
  scorers = fields.pop("scorers", None)
  return tool_use.build({**FIELDS, **fields}, vocabulary=Bytes(), scorers=scorers)


def responses(task, *rows):
  """(tokens, mask): each row is its turns as text, "." ends one; observations are 'O's with a mask."""
  layout = task.turns
  tokens = np.full((len(rows), layout.response_tokens), 65, np.int32)
  mask = np.zeros(tokens.shape, bool)
  for row, turns in enumerate(rows):
    for number, text in enumerate(turns):
      ids = [Bytes.end_id if c == "." else ord(c) for c in text]
      slots = layout.start(number) + np.arange(len(ids))
      tokens[row, slots], mask[row, slots] = ids, True
      if number:
        before = layout.start(number) - np.arange(1, 4)
        tokens[row, before], mask[row, before] = ord("4"), True
  return tokens, mask


def verdicts_of(task, *rows, split="train"):
  return task.verify(np.zeros(len(rows), np.int64), split, *responses(task, *rows))


def told(verdicts):
  """Observation of each row as text, where there is one."""
  extras = verdicts.extras
  return [Bytes().decode(t[m]) for t, m in zip(extras["observation"], extras["observation_mask"], strict=True)]


def test_calls_are_answered_and_answers_end_the_episode():
  task = built()
  call = "<tool>3*(2+5)</tool>"
  verdicts = verdicts_of(task, [call], ["<answer>4</answer>."], [call, "<tool>1/0</tool>"], [call, call, call], [])
  assert told(verdicts) == ["[21]", "", "[error: division by 0]", "", ""]
  assert verdicts.extras["done"].tolist() == [False, True, False, True, True]
  observed = verdicts.extras["observation_mask"]
  assert observed.shape == (5, 24) and observed[0].tolist() == [False] * 20 + [True] * 4
  assert verdicts.step_ids[2].max() == 1 and (verdicts.step_ids[:, task.turns.observed] == -1).all()
  assert verdicts.step_ids[0, : len(call)].tolist() == [0] * len(call)


def test_the_answer_alone_is_scored_without_what_the_tool_said():
  score = Echo()
  task = built(scorers=Scorers(score))
  rows = [["<tool>2+2</tool>"], ["<tool>2+2</tool>", "it is 4."], ["<tool>1</tool>"] * 3, ["5"]]
  verdicts = verdicts_of(task, *rows)
  assert score.seen == ["it is 4", "", "5"]  # a call is no answer, but one in the last turn is none for good
  assert verdicts.rewards.tolist() == [0, 1, 0, 0] and verdicts.reward_mask.all()
  assert verdicts.extras["correct"].tolist() == [False, True, False, False]


def test_programs_are_run_and_one_that_the_machine_cannot_run_has_no_verdict(monkeypatch):
  """An error of the program is a result. No turn follows where there is none, and the answers of others are scored."""
  monkeypatch.setattr(sandbox, "isolation", lambda: ())
  outcomes = {
    "print(5)": sandbox.Outcome(True, "finished", "5\n"),
    "1/0": sandbox.Outcome(
      False, "failed", "Traceback (most recent call last):\n  File …\nZeroDivisionError: division by zero\n"
    ),
    "print(6)": sandbox.Outcome(None, "refused", "no memory"),
  }
  monkeypatch.setattr(sandbox, "execute", lambda program, limits, *, address: outcomes[program])
  task = built(tool="python", limits={"seconds": 1.0}, observation_tokens=48)
  calls = [[f"<tool>{program}</tool>"] for program in outcomes]
  verdicts = verdicts_of(task, *calls, ["<answer>1</answer>."])
  assert told(verdicts) == ["[5]", "[error: ZeroDivisionError: division by zero]", "", ""]
  assert verdicts.extras["done"].tolist() == [False, False, True, True]
  assert verdicts.reward_mask.tolist() == [True, True, False, True] and verdicts.rewards.tolist()[:3] == [0, 0, 0]
  assert verdicts.extras["part/error"].tolist() == [0, 0, 1, 0]
  assert task.notes()[-1:] == ["the tool 'python' could not run a program: no memory"]


def test_a_long_result_is_cut_and_keeps_its_template():
  task = built(tool="search", corpus="python_topics", turn_tokens=64)
  verdicts = verdicts_of(task, ["<tool>floor division quotient</tool>"], ["<tool>zzzz</tool>"])
  first, second = told(verdicts)
  assert len(first) == 24 and first[0] == "[" and first[-1] == "]" and second == "[nothing found]"


def test_control_tokens_in_what_a_tool_says_are_text():
  class Quoting(Bytes):
    def quoted(self, text):
      return text.replace("2", "two")

  task = tool_use.build(FIELDS | {"result_template": "<2{result}2>"}, vocabulary=Quoting())
  assert told(verdicts_of(task, ["<tool>20+1</tool>"])) == ["<2two12>"]


def test_prompts_say_how_to_use_the_tool():
  task = built()
  prompts = task.prompts(np.arange(1), "train")
  text = Bytes().decode(prompts.tokens[0][prompts.mask[0]])
  assert text.startswith(tool_use.INSTRUCTIONS["calculator"]) and text.endswith("+1=")
  assert task.response_tokens == task.turns.response_tokens == 3 * 32 + 2 * 24


def test_a_call_is_whole_or_none():
  assert find_call("so <tool> 1+1 </tool> and <tool>2</tool>") == "1+1"
  assert find_call("<tool>1+1") is None and find_call("1+1</tool>") is None
  assert find_call("<tool>a\nb</tool>") == "a\nb"


class Merging(Bytes):
  """Bytes, and tokens for ')</', 'ool>' and '>' with the line that follows."""

  extra = {258: ")</", 259: "ool>", 260: ">\n"}

  def __len__(self):
    return 261

  def decode(self, ids):
    return "".join(self.extra.get(i) or super(Merging, self).decode([i]) for i in ids)


@pytest.mark.parametrize("tail", [tuple(b"</tool>"), (258, ord("t"), 259), (*b"</tool", 260)])
def test_a_turn_stops_with_the_token_that_completes_a_call(tail):
  """Also with one that has text before or after it, which the tokenizer prefers in a longer text."""
  stops = tool_use.build(FIELDS | {"stop_texts": ("!!",)}, vocabulary=Merging()).stop_texts
  state, complete = jnp.zeros(1, jnp.int32), []
  for token in (*b"<tool>1", *tail):
    state = stops.step(state, jnp.full(1, token))
    complete.append(bool(stops.complete(state)[0]))
  assert complete == [False] * (len(complete) - 1) + [True]
  assert stops.complete(stops.step(stops.step(jnp.zeros(1, jnp.int32), jnp.full(1, 33)), jnp.full(1, 33))).all()


def test_another_corpus_is_other_data(tmp_path):
  (tmp_path / "corpus.txt").write_text("Cats like to sleep for many hours of the day.")
  one = built(tool="search")
  other = built(tool="search", corpus=str(tmp_path / "corpus.txt"))
  assert len({one.fingerprint, other.fingerprint, built().fingerprint}) == 3


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"tool": "oracle"}, "task.tool: got 'oracle', want one of calculator, search, python"),
    ({"tool": "python", "limits": {"minutes": 1}}, r"task: unknown limits \['minutes'\]"),
    ({"source": "web"}, "task.source: got 'web', want one of json_lines, reasoning_gym"),
    ({"dataset": "gcd"}, "task.dataset is a field of the source 'reasoning_gym', but task.source is 'json_lines'"),
    ({"response_tokens": 9}, "task.response_tokens follows from max_turns, turn_tokens and observation_tokens"),
    ({"result_template": "there"}, "task.result_template: got 'there', want {result} somewhere in it"),
    ({"observation_tokens": 2}, "task.result_template has 2 tokens beside {result}, want 1 to 1"),
    ({"max_turns": 0}, "task.max_turns: got 0, want a whole number from 1"),
    ({"corpora": ""}, "task: unknown field 'corpora'; did you mean 'corpus'"),
  ],
)
def test_fields_that_make_no_sense_are_one_line(fields, message):
  with pytest.raises(ValueError, match=message):
    built(**fields)


def test_a_response_of_another_width_is_one_line():
  with pytest.raises(ValueError, match="a response of 3 turns has 144 slots, got 4"):
    built().verify(np.zeros(1, int), "train", np.zeros((1, 4), np.int32), np.ones((1, 4), bool))
