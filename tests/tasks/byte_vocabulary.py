"""A vocabulary of bytes, with and without a chat template, for tests of host tasks."""

from __future__ import annotations

import numpy as np


class Bytes:
  """UTF-8 bytes, padding and an end token."""

  pad_id, end_id = 256, 257

  def __len__(self):
    return 258

  def encode(self, text):
    return list(text.encode())

  def decode(self, ids):
    return "".join("<end>" if i == self.end_id else chr(i) for i in ids)


class ChatBytes(Bytes):
  """Bytes with a chat template."""

  def apply_chat_template(self, messages, add_generation_prompt):
    turns = "".join(f"[{message['role']}]{message['content']}\n" for message in messages)
    return turns + ("[assistant]" if add_generation_prompt else "")


def responses(texts, width=64):
  """(tokens, mask) of responses that end; garbage where the mask is off."""
  tokens = np.full((len(texts), width), 65, np.int32)
  mask = np.zeros((len(texts), width), bool)
  for row, text in enumerate(texts):
    ids = [*text.encode(), Bytes.end_id]
    tokens[row, : len(ids)], mask[row, : len(ids)] = ids, True
  return tokens, mask
