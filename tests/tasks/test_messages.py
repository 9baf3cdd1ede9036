"""Conversations as text of questions and back, and what is none."""

from __future__ import annotations

import pytest

from rl_jax.tasks import messages
from rl_jax.tasks.datasets.problems import hash_share, words_of

USER = {"role": "user", "content": "Add 1 and\n1."}
TALK = [{"role": "system", "content": "é"}, USER, {"role": "assistant", "content": ""}, USER]


@pytest.mark.parametrize("talk", [[USER], TALK])
def test_messages_come_back(talk):
  assert messages.loads(messages.dumps(messages.check(talk))) == talk


def test_a_text_is_a_message_of_the_user():
  assert messages.loads(USER["content"]) == [USER]
  assert messages.loads('[{"role": "user", "content": "a"}]')[0]["content"].startswith("[{")


def test_the_split_of_a_conversation_is_that_of_its_text():
  assert words_of(messages.dumps(TALK)) == "é add 1 and 1. add 1 and 1."
  assert hash_share(messages.dumps([USER])) == hash_share("add 1 AND 1.")


@pytest.mark.parametrize(
  ("talk", "message"),
  [
    ([], "wants a message of the role 'user' at its end"),
    (TALK[:-1], "wants a message of the role 'user' at its end"),
    (["a"], "message 1 is 'a', want an object with 'role' and 'content' alone"),
    ([USER, {"role": "user"}], "message 2 is {'role': 'user'}, want an object"),
    ([USER | {"name": "Ann"}], "want an object with 'role' and 'content' alone"),
    ([USER | {"role": "human"}], "message 1 has the role 'human', want one of system, developer, user, assistant"),
    ([USER | {"role": ["user"]}], r"message 1 has the role \['user'\], want one of"),
    ([USER | {"content": None}], "the content of message 1 is None, want text"),
    ([USER | {"content": [{"type": "text", "text": "a" * 100}]}], "the content of message 1 is .{58}, want text"),
  ],
)
def test_what_is_no_conversation_is_one_line(talk, message):
  with pytest.raises(ValueError, match=message) as error:
    messages.check(talk)
  assert "\n" not in str(error.value)
