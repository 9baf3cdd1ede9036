"""A slow plain-Python reading of worked steps, to compare `worked_steps.verify` with."""

from __future__ import annotations

import numpy as np
import pytest

from rl_jax.tasks import worked_steps


def read_response(symbols, mask, truths, width, answer, most):
  """The verdict on one response as a dict of the fields of Verdicts, token by token."""
  end = 0
  while end < len(symbols) and mask[end]:
    end += 1
    if symbols[end - 1] == "<end>":
      break
  size = len(symbols)
  out = {
    "rewards": 0.0, "answer_correct": False, "answer_ids": -1,
    "step_ids": [-1] * size, "step_correct": [False] * size,
    "step_true_values": [-1] * size, "step_values": [-1] * size, "step_operations": [-1] * size,
  }  # fmt: skip
  step, marked = -1, False
  for at in range(end):
    symbol = symbols[at]
    if not marked and (symbol == "#" or symbol in worked_steps.LETTERS):
      step += 1
      operation = worked_steps.LETTERS.find(symbol)
      digits = ""
      while at + 1 + len(digits) < end and symbols[at + 1 + len(digits)].isdigit():
        digits += symbols[at + 1 + len(digits)]
      if symbol == "#":
        marked = True
        correct = digits == answer and symbols[at + 1 + len(digits) : end] == ["<end>"]
        out["rewards"], out["answer_correct"] = float(correct), correct
        if 0 < len(digits) <= most and symbols[at + 1 + len(digits) : end] == ["<end>"]:
          out["answer_ids"] = sum((int(d) + 1) * 10**place for place, d in enumerate(reversed(digits))) % 2**31
        true, value = int(answer), -1
      else:
        true = truths[operation] if operation < len(truths) else -1
        value = int(digits) if len(digits) == width else -1
        correct = value == true and true >= 0
    if step >= 0:
      out["step_ids"][at], out["step_correct"][at], out["step_true_values"][at] = step, correct, true
      out["step_values"][at], out["step_operations"][at] = value, operation
  return out


def respond(task, texts, width=None):
  """(tokens, mask) of responses given as text, '.' for the end token."""
  width = width or max(len(text) for text in texts)
  tokens = np.full((len(texts), width), 7, np.int32)  # garbage where the mask is off
  mask = np.zeros((len(texts), width), bool)
  for row, text in enumerate(texts):
    ids = [task.vocabulary.end_id if character == "." else task.vocabulary.encode(character)[0] for character in text]
    tokens[row, : len(ids)], mask[row, : len(ids)] = ids, True
  return tokens, mask


def assert_agrees(task, prompts, tokens, mask):
  """`task.verify` says what `read_response` says, for every row and field; returns the rewards."""
  verdicts = task.verify(prompts, tokens, mask)
  got = {"rewards": verdicts.rewards, "step_ids": verdicts.step_ids, **verdicts.extras}
  got = {name: np.asarray(value) for name, value in got.items()}
  metadata = {name: np.asarray(value) for name, value in prompts.metadata.items()}
  assert np.all(np.isfinite(got["rewards"])) and np.all(verdicts.reward_mask)
  for row in range(len(tokens)):
    symbols = [task.vocabulary.symbols[i] if 0 <= i < len(task.vocabulary) else "?" for i in np.asarray(tokens[row])]
    answer = [i for i in metadata["answer_tokens"][row] if i >= 0]
    assert answer.pop() == task.vocabulary.end_id
    truths = metadata["step_values"][row][: metadata["step_counts"][row]].tolist()
    most = metadata["answer_tokens"].shape[1] - 1
    width, text = metadata["value_widths"][row], task.vocabulary.decode(answer)
    want = read_response(symbols, np.asarray(mask[row]), truths, width, text, most)
    for name, value in want.items():
      np.testing.assert_array_equal(got[name][row], value, err_msg=f"{name} of {''.join(symbols)}")
  return got["rewards"]


def spoil(task, tokens, mask, rng):
  """Demonstrations with some slots overwritten at random, some masks cut or holed, and rows of pure garbage."""
  tokens, mask = np.array(tokens), np.array(mask)
  rows, width = tokens.shape
  likely = np.array([*task.vocabulary.encode("0123456789#abcd"), task.vocabulary.end_id, -3, 10_000])
  for row in range(rows):
    changes = rng.integers(0, 3) if row % 4 else width
    tokens[row, rng.integers(0, width, changes)] = rng.choice(likely, changes)
    if row % 4 == 0:
      mask[row] = np.arange(width) < rng.integers(0, width + 1)
    if row % 5 == 0:
      mask[row, rng.integers(0, width)] ^= True
  return tokens, mask


class PlainSteps:
  read_response = staticmethod(read_response)
  respond = staticmethod(respond)
  assert_agrees = staticmethod(assert_agrees)
  spoil = staticmethod(spoil)


@pytest.fixture(scope="session")
def plain():
  return PlainSteps
