"""Right answers of text problems in the form of a response, for methods that force them to probe a policy's belief."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from rl_jax.tasks import fields
from rl_jax.tasks.prompting import Tokenizer
from rl_jax.tasks.task import ForcedAnswer, Prompts

FORMS = {
  "tag": ("<answer>", "", "</answer>"), "line": ("Answer:", " ", ""), "number": ("", "", ""), "whole": ("", "", "")
}  # fmt: skip
"""Rule that finds an answer -> opening text, text right before the answer, and text right after it."""
_TOKENS, _MASK = "forced_answer", "forced_answer_mask"
"""Keys in a prompt's metadata."""


class Writer(NamedTuple):
  """Form of a task's forced answers.

  Attributes:
    form: as in `FORMS`.
    width: largest number of tokens in an answer, with its end token; longer ones are cut.
  """

  form: tuple[str, str, str]
  width: int
  vocabulary: Tokenizer

  def forced_answer(self) -> ForcedAnswer:
    """The form for probes, which read the answers from the metadata of prompts."""
    return ForcedAnswer(tuple(int(t) for t in self.vocabulary.encode(self.form[0])), _answers)

  def metadata(self, entries: Iterable[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Answers of problems as metadata of their prompts. Raises: ValueError: a problem has no answer."""
    tokens = [self._tokens(entry) for entry in entries]
    lengths = np.array([len(answer) for answer in tokens], np.int32)
    padded = [answer + [self.vocabulary.pad_id] * (self.width - len(answer)) for answer in tokens]
    mask = np.arange(self.width) < lengths[:, None]
    return {_TOKENS: np.array(padded, np.int32).reshape(-1, self.width), _MASK: mask}

  def _tokens(self, entry: Mapping[str, Any]) -> list[int]:
    if entry.get("answer") in (None, ""):
      raise ValueError(f"task.forced_answer_tokens: the problem {entry.get('question')!r} has no answer: set it to 0")
    _, before, after = self.form
    text = self.vocabulary.encode(f"{before}{entry['answer']}{after}")
    return [*(int(token) for token in text), self.vocabulary.end_id][: self.width]


def _answers(prompts: Prompts) -> tuple[Int[Any, "N A"], Bool[Any, "N A"]]:
  return prompts.metadata[_TOKENS], prompts.metadata[_MASK]


def writer(config: Mapping[str, Any], vocabulary: Tokenizer) -> Writer | None:
  """The form of a config's answers; None if `forced_answer_tokens` is 0 or, as in environments, not a field.

  Raises: ValueError: the rule `answer` has no such form.
  """
  width = fields.whole(config.get("forced_answer_tokens", 0), 0, 1024, where="task.forced_answer_tokens")
  if not width:
    return None
  form = FORMS.get(config.get("answer", ""))
  if form is None:
    raise ValueError(
      f"task.forced_answer_tokens: answers found by task.answer={config.get('answer', '')!r} cannot be forced: "
      f"set task.answer to one of {', '.join(FORMS)}"
    )
  return Writer(form, width, vocabulary)
