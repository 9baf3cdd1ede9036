"""Conversations as questions: lists of messages as text, and back.

Prepared data stores questions as text, so a list of messages is written as JSON after a mark that begins no other
question.
"""

from __future__ import annotations

import json
from typing import Any

ROLES = ("system", "developer", "user", "assistant", "tool")
MARK = "\0messages"
"""Prefix of the text of a question that is a list of messages."""

Message = dict[str, str]
"""{"role": one of `ROLES`, "content": text}."""


def check(messages: list[Any]) -> list[Message]:
  """The messages. Raises: ValueError: they are no conversation that ends with a user's turn, in one line."""
  for number, message in enumerate(messages, start=1):
    if not isinstance(message, dict) or message.keys() != {"role", "content"}:
      raise ValueError(f"message {number} is {_short(message)}, want an object with 'role' and 'content' alone")
    if message["role"] not in ROLES:
      raise ValueError(f"message {number} has the role {_short(message['role'])}, want one of {', '.join(ROLES)}")
    if not isinstance(message["content"], str):
      raise ValueError(f"the content of message {number} is {_short(message['content'])}, want text")
  if not messages or messages[-1]["role"] != "user":
    raise ValueError("a conversation wants a message of the role 'user' at its end")
  return messages


def dumps(messages: list[Message]) -> str:
  """The messages as the text of a question."""
  return MARK + json.dumps(messages, ensure_ascii=False, separators=(",", ":"))


def loads(question: str) -> list[Message]:
  """The messages of a question: those that `dumps` wrote, or one of the user with the whole text."""
  if question.startswith(MARK):
    return json.loads(question.removeprefix(MARK))
  return [{"role": "user", "content": question}]


def text(question: str) -> str:
  """Text of a question: the contents of its messages in order, whatever their roles."""
  return "\n\n".join(message["content"] for message in loads(question))


def _short(value: Any) -> str:
  text = repr(value)
  return text if len(text) <= 60 else f"{text[:57]}…"
