"""Episodes as token ids against whole conversations: over turns a policy reads the rendering of its chat template.

No turn of the policy is encoded anew, and no token but those that it wrote is in the loss.
"""

from __future__ import annotations

import json

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.models import fetch, tokenizer
from rl_jax.rollouts.turns import in_turns
from rl_jax.tasks import tool_use
from rl_jax.tasks.environments import host
from rl_jax.trajectories import POLICY, TOOL, Trajectories
from tests.tasks.byte_vocabulary import Bytes

CONTROL = "<end> <|im_end|>"
"""Control tokens of both vocabularies, written out."""
QUESTION = f"How many? {CONTROL}"
ANSWERS = {"one": f"  no:\nmore {CONTROL}", "two": "\nthat is (nearly) it"}
"""What the environment answers to the first word of a turn; any other word ends the episode."""


class Talk:
  """An environment that answers a turn by what it says."""

  @staticmethod
  def problems():
    return [{"number": number} for number in range(8)]

  def reset(self, problem, seed):
    return QUESTION

  def step(self, action):
    first = action.split()[0]
    return ANSWERS.get(first, ""), 0.0, first not in ANSWERS


class Chat(Bytes):
  """Bytes with a chat template whose turns end with a control token, and a token for two line ends."""

  end, double = "<end>", 258

  def __len__(self):
    return 259

  def encode(self, text):
    ids, parts = [], text.split(self.end)
    for number, part in enumerate(parts):
      ids += [self.end_id] * (number > 0) + super().encode(part.replace("\n\n", "\0").replace("\1", self.end))
    return [self.double if token == 0 else token for token in ids]

  def decode(self, ids):
    return "".join("\n\n" if token == self.double else super(Chat, self).decode([token]) for token in ids)

  def quoted(self, text):
    return text.replace(self.end, "\1")

  def apply_chat_template(self, messages, add_generation_prompt):
    turns = "".join(f"[{message['role']}]\n{message['content']}{self.end}\n" for message in messages)
    return turns + ("[assistant]\n" if add_generation_prompt else "")


class Row:
  """An episode that is written and answered turn by turn, as a rollout does it."""

  def __init__(self, task):
    self.task, self.layout = task, task.turns
    self.prompts = task.prompts(np.zeros(1, np.int64), "train")
    self.tokens = np.full((1, self.layout.response_tokens), task.vocabulary.pad_id, np.int32)
    self.mask = np.zeros(self.tokens.shape, bool)

  def write(self, turn, ids):
    """Write a turn, and what is answered to it where the episode continues."""
    start = self.layout.start(turn)
    self.tokens[0, start : start + len(ids)], self.mask[0, start : start + len(ids)] = ids, True
    extras = self.task.verify(np.zeros(1, np.int64), "train", self.tokens, self.mask).extras
    if not extras["done"][0]:
      stop = self.layout.start(turn + 1)
      slots = slice(stop - self.layout.observation_tokens, stop)
      self.tokens[0, slots], self.mask[0, slots] = extras["observation"][0], extras["observation_mask"][0]
    return extras["done"][0]

  @property
  def ids(self):
    """Ids of all tokens, in order."""
    prompt = self.prompts.tokens[0][self.prompts.mask[0]]
    return [*prompt.tolist(), *self.tokens[0][self.mask[0]].tolist()]

  def trained(self):
    """Ids in the loss, and the sources of all tokens of the response."""
    width = self.prompts.tokens.shape[1]
    rows = Trajectories.empty(1, width + self.mask.shape[1], width)
    mask = np.concatenate([np.zeros_like(self.prompts.mask), self.mask], axis=1)
    tokens = np.concatenate([self.prompts.tokens, self.tokens], axis=1)
    rows = in_turns(rows.replace(tokens=jnp.asarray(tokens), loss_mask=jnp.asarray(mask)), self.layout)
    sources = np.asarray(rows.source_ids)[mask]
    return tokens[np.asarray(rows.loss_mask)].tolist(), sources.tolist()


@pytest.fixture(scope="module", params=["bytes", pytest.param("smollm2", marks=pytest.mark.slow)])
def words(request):
  if request.param == "bytes":
    return Chat()
  fetch.fetch("smollm2-135m-instruct")
  return tokenizer.load("smollm2-135m-instruct")


def conversation(words, *turns):
  """Ids of a whole conversation about the question, of (role, content), in which contents are text."""
  messages = [{"role": role, "content": words.quoted(content)} for role, content in (("user", QUESTION), *turns)]
  text = words.apply_chat_template(messages, add_generation_prompt=turns[-1][0] == "user")
  return list(words.encode(text))


def talk(words, **fields):
  """The task of an environment that talks."""
  sizes = {"prompt_tokens": 128, "turn_tokens": 16, "max_turns": 3, **fields}
  return host.build(
    {"environment": f"{__name__}:Talk", "workers": 0, "held_out_fraction": 0.5, **sizes}, vocabulary=words
  )


def test_an_episode_is_the_conversation(words):
  row, turns, written = Row(talk(words)), [], []
  for number, said in enumerate(("one", "two", "three")):
    ids = [*words.encode(said), words.end_id]
    written += ids
    turns.append(("assistant", said))
    if not row.write(number, ids):
      turns.append(("user", ANSWERS[said]))
      assert row.ids == conversation(words, *turns)
  whole = conversation(words, *turns)
  assert len(turns) == 5 and row.ids == whole[: len(row.ids)] and words.decode(whole[len(row.ids) :]) == "\n"
  trained, sources = row.trained()
  assert trained == written
  assert sources.count(POLICY) == len(written) and sources.count(TOOL) == len(sources) - len(written) > 0


def test_a_turn_that_is_written_in_other_tokens_stays_as_it_was(words):
  """The tokenizer would join some of them. All that is around it is the same."""
  said = "one\n\nmore"
  row, joined = Row(talk(words)), [*words.encode(said), words.end_id]
  letters = [*(token for letter in said for token in words.encode(letter)), words.end_id]
  assert len(letters) > len(joined) and not row.write(0, letters)
  whole = conversation(words, ("assistant", said), ("user", ANSWERS["one"]))
  (start,) = [at for at in range(len(whole)) if whole[at : at + len(joined)] == joined]
  assert row.ids == [*whole[:start], *letters, *whole[start + len(joined) :]]
  assert row.trained()[0] == letters and words.decode(row.ids) == words.decode(whole)


def test_a_turn_that_a_stop_text_has_ended_is_closed_by_the_template(words):
  """The end token is not the policy's, and not in the loss. It has a slot of its own where an observation is cut."""
  said = "one </act>"
  row, ids = Row(talk(words, stop_texts=("</act>",))), list(words.encode(said))
  assert not row.write(0, ids)
  assert row.ids == conversation(words, ("assistant", said), ("user", ANSWERS["one"]))
  assert row.trained()[0] == ids
  before = int(row.prompts.mask.sum()) + len(ids)
  short = Row(talk(words, stop_texts=("</act>",), observation_tokens=len(row.ids) - before - 3))
  short.write(0, ids)
  assert len(short.ids) == len(row.ids) - 3 and short.ids[before] == words.end_id
  assert short.ids[:before] == row.ids[:before] and short.ids[-5:] == row.ids[-5:]


def test_a_result_of_a_tool_is_a_turn_of_the_chat_where_its_template_says_so(words, tmp_path, monkeypatch):
  """A call ends its turn without an end token, which the template writes: it is not in the loss."""
  monkeypatch.setenv("RL_JAX_CACHE", str(tmp_path / "cache"))
  (tmp_path / "sums.jsonl").write_text(
    "".join(json.dumps({"question": f"{i}+1=", "answer": f"{i + 1}"}) + "\n" for i in range(60))
  )
  empty = [{"role": "assistant", "content": ""}, {"role": "user", "content": tool_use.PLACE}]
  asked = [{"role": "user", "content": ""}]
  turn = lambda messages: words.apply_chat_template(messages, add_generation_prompt=True)
  begun = words.apply_chat_template(asked, add_generation_prompt=True)
  template = turn([*asked, *empty]).removeprefix(begun)
  fields = {"source": "json_lines", "file": str(tmp_path / "sums.jsonl"), "workers": 0, "answer": "whole"}
  sizes = {"prompt_tokens": 256, "turn_tokens": 24, "observation_tokens": 48}
  task = tool_use.build(fields | sizes | {"result_template": template}, vocabulary=words)
  row, call = Row(task), words.encode("<tool>(2+3)/10</tool>")
  question = words.decode(row.ids)
  assert not row.write(0, list(call))
  assert row.ids == list(words.encode(f"{question}<tool>(2+3)/10</tool>{template.replace(tool_use.PLACE, '0.5')}"))
  assert row.trained()[0] == list(call)
