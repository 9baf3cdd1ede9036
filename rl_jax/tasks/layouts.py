"""Presets of the fields that describe the columns of a data set and how its problems are judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LAYOUTS: Mapping[str, Mapping[str, Any]] = {
  # {"question": "…", "answer": "… #### 42"}
  "gsm8k": {"question_field": "question", "answer_field": "answer", "answer": "number"},
  # {"problem": "…", "level": "Level 3", "solution": r"… \boxed{42}"}
  "math": {
    "question_field": "problem",
    "answer_field": "solution",
    "level_field": "level",
    "verifier": "rl_jax.tasks.verifiers.mathematics:equal_answers",
  },
  # {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "… #### 42"}]}
  "messages": {"question_field": "messages", "answer_field": "messages"},
  # {"text": "Write a function …", "test_list": ["assert f(1) == 2", …]}, as MBPP
  "code": {
    "question_field": "text",
    "answer_field": "",
    "tests_field": "test_list",
    "shown_tests": 1,
    "verifier": "rl_jax.tasks.verifiers.programs:unit_tests",
  },
}
"""Layout -> its fields, which replace the fields that a config leaves at their defaults."""


def applied(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
  """The config with the fields of its `layout` in place of defaults. "" is no layout.

  Raises: ValueError: there is no such layout.
  """
  name = config["layout"]
  if name and name not in LAYOUTS:
    raise ValueError(f"task.layout: got {name!r}, want one of {', '.join(LAYOUTS)}, or ''")
  preset = LAYOUTS[name] if name else {}
  return {**config, **{field: value for field, value in preset.items() if config[field] == defaults[field]}}
