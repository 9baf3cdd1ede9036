"""Prompts: template and chat, those over the limit left out whole, left-padding."""

from __future__ import annotations

import numpy as np
import pytest

from rl_jax.tasks.prompting import encode, prompt_text
from tests.tasks.byte_vocabulary import Bytes, ChatBytes


def config(**fields):
  return {"system_prompt": "", "question_template": "{question}", "prompt_tokens": 8, **fields}


@pytest.mark.parametrize(
  ("vocabulary", "fields", "text"),
  [
    (Bytes(), {}, "a {b}?"),
    (Bytes(), {"system_prompt": "Brief.", "question_template": "Q: {question} \\box{}"}, "Brief.\n\nQ: a {b}? \\box{}"),
    (ChatBytes(), {"question_template": "Q {question}"}, "[user]Q a {b}?\n[assistant]"),
    (ChatBytes(), {"system_prompt": "Be brief."}, "[system]Be brief.\n[user]a {b}?\n[assistant]"),
  ],
)  # fmt: skip
def test_what_the_policy_reads(vocabulary, fields, text):
  assert prompt_text("a {b}?", config(**fields), vocabulary) == text


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
