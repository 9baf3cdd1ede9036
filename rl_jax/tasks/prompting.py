"""Questions as prompt tokens: system prompt, question template, chat template, and a limit on the length.

A question is data: control tokens written out in it are plain text. Templates and the system prompt come from the
config and may contain control tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Int

from rl_jax.models.chat_template import OURS
from rl_jax.tasks import messages

PLACE = "{question}"


class Tokenizer(Protocol):
  """Interface of a vocabulary for host tasks.

  A vocabulary with `apply_chat_template(messages, add_generation_prompt=True, **arguments) -> text` puts questions as a
  chat, unless its `chat_template` is "", as in a base model: then they are plain text after its `text_start`. A
  vocabulary of which more than `end_id` ends a response has `more_end_ids`. One
  with control tokens has `quoted(text) -> text`, whose result `encode` reads as text alone.
  """

  @property
  def pad_id(self) -> int:
    """Id that fills slots without a token."""
    ...

  @property
  def end_id(self) -> int:
    """Id that ends a response."""
    ...

  def __len__(self) -> int: ...

  def encode(self, text: str) -> Sequence[int]:
    """Ids of a text."""
    ...

  def decode(self, ids: Sequence[int]) -> str:
    """The text of ids."""
    ...


class Encoding(NamedTuple):
  """Prompts that fit, concatenated.

  Attributes:
    tokens: ids of all prompts.
    ends: [n] end of each prompt in `tokens`.
    places: [n] index of each among the given questions.
    longest: number of tokens of the longest question, dropped or not.
  """

  tokens: Int[np.ndarray, " T"]
  ends: Int[np.ndarray, " n"]
  places: Int[np.ndarray, " n"]
  longest: int

  def padded(
    self, ids: Int[np.ndarray, " N"], width: int, pad_id: int
  ) -> tuple[Int[np.ndarray, "N P"], Bool[np.ndarray, "N P"]]:
    """(tokens, mask) of prompts by id, left-padded to `width`."""
    tokens = np.full((len(ids), width), pad_id, np.int32)
    mask = np.zeros((len(ids), width), bool)
    for row, number in enumerate(ids):
      prompt = self.tokens[self.ends[number - 1] if number else 0 : self.ends[number]]
      tokens[row, width - len(prompt) :] = prompt
      mask[row, width - len(prompt) :] = True
    return tokens, mask


def quoted(text: str, vocabulary: Any) -> str:
  """Text that `vocabulary.encode` reads without control tokens, even if it writes some out."""
  return vocabulary.quoted(text) if hasattr(vocabulary, "quoted") else text


def prompt_text(question: str, config: Mapping[str, Any], vocabulary: Any) -> str:
  """Prompt of a question: `question_template` with the question in it, as the user's turn of a chat, after
  `system_prompt` if there is one. Plain text with a vocabulary that has no chat template, as a base model's.

  A conversation (see `messages`) is kept as it is: the template applies to the user's last message, and a system
  message in it takes precedence over `system_prompt`.
  """
  turns = [{**message, "content": quoted(message["content"], vocabulary)} for message in messages.loads(question)]
  turns[-1]["content"] = config["question_template"].replace(PLACE, turns[-1]["content"])
  if config["system_prompt"] and all(message["role"] != "system" for message in turns):
    turns.insert(0, {"role": "system", "content": config["system_prompt"]})
  arguments = _template_arguments(config)
  if hasattr(vocabulary, "apply_chat_template") and getattr(vocabulary, "chat_template", None) != "":
    return vocabulary.apply_chat_template(turns, add_generation_prompt=True, **arguments)
  if arguments:
    raise ValueError(f"task.chat_template_arguments: got {arguments}, but the vocabulary has no chat template")
  return getattr(vocabulary, "text_start", "") + "\n\n".join(message["content"] for message in turns)


def _template_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
  value = config.get("chat_template_arguments", {})
  if not isinstance(value, Mapping) and not hasattr(value, "to_dict"):
    raise ValueError(f"task.chat_template_arguments: got {value!r}, want names and values")
  arguments = value.to_dict() if hasattr(value, "to_dict") else dict(value)
  reserved = [name for name in arguments if name in OURS]
  if reserved:
    raise ValueError(f"task.chat_template_arguments: {reserved[0]!r} is set by the task itself, leave it out")
  return arguments


def encode(questions: Sequence[str], config: Mapping[str, Any], vocabulary: Tokenizer) -> Encoding:
  """Prompts of `questions` with at most `prompt_tokens` tokens; longer ones are dropped, never cut.

  Raises: ValueError: the template has no place for the question.
  """
  if PLACE not in config["question_template"]:
    raise ValueError(f"task.question_template: got {config['question_template']!r}, want {PLACE} somewhere in it")
  prompts = [list(vocabulary.encode(prompt_text(question, config, vocabulary))) for question in questions]
  places = [place for place, prompt in enumerate(prompts) if len(prompt) <= config["prompt_tokens"]]
  return Encoding(
    tokens=np.array([token for place in places for token in prompts[place]], np.int32),
    ends=np.cumsum([len(prompts[place]) for place in places], dtype=np.int64),
    places=np.array(places, np.int64),
    longest=max((len(prompt) for prompt in prompts), default=0),
  )
