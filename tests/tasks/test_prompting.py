"""Prompts: template and chat, those over the limit left out whole, left-padding."""

from __future__ import annotations

import numpy as np
import pytest

from rl_jax.tasks import messages
from rl_jax.tasks.prompting import encode, prompt_text
from tests.tasks.byte_vocabulary import Bytes, ChatBytes


def config(**fields):
  return {
    "system_prompt": "", "question_template": "{question}", "prompt_tokens": 8, "chat_template_arguments": {}, **fields
  }  # fmt: skip


class Thinking(ChatBytes):
  """A chat template with an argument, and | for a control token."""

  def apply_chat_template(self, messages, add_generation_prompt, think=True):
    return super().apply_chat_template(messages, add_generation_prompt) + ("" if think else "<no>")

  def quoted(self, text):
    return text.replace("|", "'|'")


@pytest.mark.parametrize(
  ("vocabulary", "fields", "text"),
  [
    (Bytes(), {}, "a {b}?"),
    (Bytes(), {"system_prompt": "Brief.", "question_template": "Q: {question} \\box{}"}, "Brief.\n\nQ: a {b}? \\box{}"),
    (ChatBytes(), {"question_template": "Q {question}"}, "[user]Q a {b}?\n[assistant]"),
    (ChatBytes(), {"system_prompt": "Be brief."}, "[system]Be brief.\n[user]a {b}?\n[assistant]"),
    (Thinking(), {"chat_template_arguments": {"think": False}}, "[user]a {b}?\n[assistant]<no>"),
  ],
)  # fmt: skip
def test_what_the_policy_reads(vocabulary, fields, text):
  assert prompt_text("a {b}?", config(**fields), vocabulary) == text


class Base(ChatBytes):
  """A vocabulary as that of a base model: it could use a template but has none."""

  chat_template, text_start = "", "<s>"


def test_a_base_model_reads_plain_text_after_its_start():
  fields = config(system_prompt="Brief.", question_template="Q: {question}\nA:")
  assert prompt_text("1+1?", fields, Base()) == "<s>Brief.\n\nQ: 1+1?\nA:"
  assert prompt_text("1+1?", config(), Base()) == "<s>1+1?"


SYSTEM, ASKED = {"role": "system", "content": "S|"}, {"role": "user", "content": "a|{b}?"}
BEFORE = [{"role": "user", "content": "{question}"}, {"role": "assistant", "content": "Yes"}]


@pytest.mark.parametrize(
  ("vocabulary", "turns", "text"),
  [
    (ChatBytes(), [ASKED], "[system]Brief|\n[user]Q| a|{b}?\n[assistant]"),
    (ChatBytes(), [SYSTEM, ASKED], "[system]S|\n[user]Q| a|{b}?\n[assistant]"),
    (
      ChatBytes(), [*BEFORE, ASKED],
      "[system]Brief|\n[user]{question}\n[assistant]Yes\n[user]Q| a|{b}?\n[assistant]",
    ),
    (Thinking(), [SYSTEM, ASKED], "[system]S'|'\n[user]Q| a'|'{b}?\n[assistant]"),
    (Bytes(), [*BEFORE, ASKED], "Brief|\n\n{question}\n\nYes\n\nQ| a|{b}?"),
    (Bytes(), [SYSTEM, ASKED], "S|\n\nQ| a|{b}?"),
  ],
)  # fmt: skip
def test_a_conversation_is_put_as_it_is(vocabulary, turns, text):
  fields = config(system_prompt="Brief|", question_template="Q| {question}")
  assert prompt_text(messages.dumps(turns), fields, vocabulary) == text


@pytest.mark.parametrize(
  ("vocabulary", "arguments", "message"),
  [
    (Bytes(), {"think": False}, "got {'think': False}, but the vocabulary has no chat template"),
    (Base(), {"think": False}, "got {'think': False}, but the vocabulary has no chat template"),
    (Thinking(), [1], r"got \[1\], want names and values"),
    (Thinking(), None, "got None, want names and values"),
    (Thinking(), {"messages": []}, "'messages' is set by the task itself"),
    (Thinking(), {"add_generation_prompt": False}, "'add_generation_prompt' is set by the task itself"),
    (Thinking(), {"bos_token": ""}, "'bos_token' is set by the task itself"),
  ],
)
def test_arguments_that_no_template_takes_are_one_clear_line(vocabulary, arguments, message):
  with pytest.raises(ValueError, match=f"^task.chat_template_arguments: {message}"):
    encode(["a"], config(chat_template_arguments=arguments), vocabulary)


def test_prompts_over_the_limit_are_left_out_whole():
  encoded = encode(["12345678", "123456789", "", "abc"], config(), Bytes())
  assert encoded.places.tolist() == [0, 2, 3] and encoded.longest == 9
  tokens, mask = encoded.padded(np.array([2, 0, 1, 2]), 8, Bytes.pad_id)
  texts = [bytes(row[kept].tolist()) for row, kept in zip(tokens, mask, strict=True)]
  assert texts == [b"abc", b"12345678", b"", b"abc"]
  assert (np.diff(mask.astype(int), axis=1) >= 0).all() and (tokens[~mask] == Bytes.pad_id).all()
  assert tokens.dtype == np.int32 and mask.dtype == bool


def test_a_template_without_a_place_for_the_question_is_one_clear_line():
  with pytest.raises(ValueError, match="task.question_template: got 'Q:', want {question}"):
    encode(["a"], config(question_template="Q:"), Bytes())
