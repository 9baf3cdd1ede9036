"""Questions with a tool: the policy writes <tool>2+3</tool>, reads the result, and answers.

config.task = {"name": "rl_jax.tasks.tool_use", "tool": "calculator", "source": "reasoning_gym", "dataset": "chain_sum"}

Each turn is a message of the policy. It ends with the token that completes a call, however the call is split into
tokens, and gets the tool's result, formatted with `result_template`. The first message without a call is the answer,
and only that message is scored, so a tool's result never counts as an answer. A call in the last turn gets no result
and is scored as a missing answer. The tool "python" runs programs in the sandbox; a row whose program this machine
cannot run has no verdict.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from rl_jax.tasks import fields, json_lines, observations, reasoning_gym
from rl_jax.tasks.host import MOST_TOKENS, HostTask, Scorers, on_rows
from rl_jax.tasks.notes import Notes
from rl_jax.tasks.prompting import Tokenizer
from rl_jax.tasks.task import OF_TURNS, Split, Turns, Verdicts
from rl_jax.tasks.tools import search
from rl_jax.tasks.tools.calculator import calculate
from rl_jax.tasks.tools.python import Python
from rl_jax.tasks.verifiers.errors import CannotVerify

SOURCES = {"json_lines": json_lines, "reasoning_gym": reasoning_gym}
OPENING, CLOSING = "<tool>", "</tool>"
PLACE = "{result}"

Tool = Callable[[str], str]
"""Text of a call -> result, equal for equal texts. Raises: CannotVerify: this machine cannot run the tool."""

INSTRUCTIONS = {
  "calculator": f"You may use a calculator: write {OPENING}(2 + 3) * 4{CLOSING} and its result follows. Then answer.",
  "search": f"You may search for facts: write {OPENING}words to look for{CLOSING} and a passage follows. Then answer.",
  "python": f"You may run Python: write {OPENING}print(2 + 3){CLOSING} and what it prints follows. Then answer.",
}
"""Default system prompt of each tool."""


def get_config() -> dict[str, Any]:
  """Fields and their defaults: those of both sources and of the tool."""
  of_sources = {name: value for source in SOURCES.values() for name, value in source.get_config().items()}
  return of_sources | {
    "source": "reasoning_gym",  # source of the questions; or "json_lines"
    "answer": "tag",  # how the answer is found, in both sources
    "tool": "calculator",  # or "search", "python"
    "corpus": search.PYTHON_TOPICS,  # for "search": Python's documentation, or a text file in paragraphs
    "results": 1,  # for "search": number of returned passages
    "limits": {},  # for "python": fields of `rl_jax.tasks.verifiers.sandbox.Limits`, as in {"seconds": 2.0}
    "service": "",  # for "python": address of a service that runs the programs; "": the sandbox here
    "max_turns": 3,  # including the answer
    "turn_tokens": 64,  # largest number of tokens in a turn
    "observation_tokens": 32,  # largest number of tokens in a result; longer ones are cut
    "result_template": "\n<result>{result}</result>\n",
    "response_tokens": None,  # follows from the turns
  }


def build(
  config: Mapping[str, Any],
  *,
  vocabulary: Tokenizer | None = None,
  scorers: Scorers | None = None,
) -> HostTask:
  """The task of `config` (fields as in `get_config`); the other arguments are those of the source.

  Raises: ValueError: in one line, for a field that makes no sense.
  """
  config = fields.complete(config, get_config(), where="task")
  for name, choices in (("source", SOURCES), ("tool", INSTRUCTIONS)):
    if config[name] not in choices:
      raise ValueError(f"task.{name}: got {config[name]!r}, want one of {', '.join(choices)}")
  if config["response_tokens"] is not None:
    raise ValueError("task.response_tokens follows from max_turns, turn_tokens and observation_tokens: leave it out")
  tool, corpus = _tool(config)
  size = lambda name: fields.whole(config[name], 1, MOST_TOKENS, where=f"task.{name}")
  layout = Turns(size("max_turns"), size("turn_tokens"), size("observation_tokens"))
  questions = _of_source(config) | {
    "response_tokens": layout.response_tokens,
    "system_prompt": config["system_prompt"] or INSTRUCTIONS[config["tool"]],
    "stop_texts": (*config["stop_texts"], CLOSING),
  }
  task = SOURCES[config["source"]].build(questions, vocabulary=vocabulary, scorers=scorers)
  slots = layout.observation_tokens
  template = observations.template(config["result_template"], PLACE, task.vocabulary, slots, field="result_template")
  of_tool = Notes([tool], [])
  return dataclasses.replace(
    task,
    turns=layout,
    marks_steps=True,
    provides={**task.provides, **OF_TURNS},
    verify=partial(_verify, task, layout, tool, template),
    notes=lambda: task.notes() + of_tool(),
    reasons=lambda: task.reasons() + of_tool.reasons(),
    fingerprint=hashlib.sha256(f"{task.fingerprint} {corpus}".encode()).hexdigest(),
  )


def _tool(config: Mapping[str, Any]) -> tuple[Tool, str]:
  """The tool, and the fingerprint of its corpus."""
  if config["tool"] == "calculator":
    return calculate, ""
  if config["tool"] == "python":
    return Python(config["limits"], config["service"]), ""
  texts = search.passages(config["corpus"])
  results = fields.whole(config["results"], 1, 1024, where="task.results")
  return search.Search(texts, results=results), search.fingerprint(texts)


def _of_source(config: Mapping[str, Any]) -> dict[str, Any]:
  """Fields of the source; ValueError if a field of the other source is set."""
  own, defaults = SOURCES[config["source"]].get_config(), get_config()
  plain = lambda value: dict(value) if hasattr(value, "items") else value  # a section of a config is not a dict
  for name, source in SOURCES.items():
    for field in source.get_config():
      if field not in own and plain(config[field]) != defaults[field]:
        raise ValueError(f"task.{field} is a field of the source {name!r}, but task.source is {config['source']!r}")
  return {field: plain(config[field]) for field in own}


def _verify(
  task: HostTask,
  layout: Turns,
  tool: Tool,
  template: observations.Template,
  ids: Int[np.ndarray, " B"],
  split: Split,
  tokens: Int[np.ndarray, "B R"],
  mask: Bool[np.ndarray, "B R"],
) -> Verdicts:
  """Verdicts of the source on answers, and results of the tool for rows that end in a call. The source does not judge
  calls, except that a call in the last turn counts as an empty answer. A call that the tool cannot answer ends the
  episode without a verdict."""
  layout.check(tokens)
  tokens, mask = np.asarray(tokens), np.asarray(mask)
  rows, last = len(tokens), np.maximum(mask[:, layout.slots].any(axis=2).sum(axis=1) - 1, 0)
  observation = np.full((rows, layout.observation_tokens), task.vocabulary.pad_id, np.int32)
  observation_mask = np.zeros(observation.shape, bool)
  answers, done, refused = np.zeros(mask.shape, bool), np.zeros(rows, bool), np.zeros(rows, bool)
  for row in range(rows):
    slots = layout.slots[last[row]]
    turn_slots = slots[mask[row, slots]]
    call = find_call(task.vocabulary.decode([int(token) for token in tokens[row, turn_slots]]))
    done[row] = call is None or last[row] == layout.max_turns - 1
    if call is None:
      answers[row, turn_slots] = True
    elif not done[row]:
      try:
        observed, _ = template.tokens(tool(call), task.vocabulary)
      except CannotVerify:
        refused[row] = True
        continue
      observation[row, -len(observed) :], observation_mask[row, -len(observed) :] = observed, True
  index = np.flatnonzero(done)
  verdicts: Any = on_rows(task.verify(ids[index], split, tokens[index], answers[index]), index, rows)
  own_slots = mask & ~layout.observed
  more: dict[str, Any] = {
    "observation": observation,
    "observation_mask": observation_mask,
    "done": done | refused,
    "part/error": np.where(refused, np.float32(1), verdicts.extras["part/error"]),
  }
  return verdicts.replace(
    reward_mask=verdicts.reward_mask | ~(done | refused),  # a call is not an answer yet: worth 0
    step_ids=np.where(own_slots, layout.turn_ids, -1).astype(np.int32),
    extras={**verdicts.extras, **more},
  )


def find_call(text: str) -> str | None:
  """Text of the first call in a turn, or None without a complete call."""
  match = re.search(f"{OPENING}(.*?){CLOSING}", text, re.DOTALL)
  return match[1].strip() if match else None
