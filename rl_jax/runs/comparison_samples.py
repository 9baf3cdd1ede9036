"""Samples of compared runs side by side: the newest answers of each run to prompts common to all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rl_jax.runs import credit_map, page
from rl_jax.runs.record import Record
from rl_jax.runs.report import one_seed_after_another
from rl_jax.runs.samples import reward_text

PROMPTS_SHOWN = 8

Samples = dict[tuple[Any, str], dict[str, Any]]
"""Samples by seed and prompt."""


def samples(runs: Mapping[str, Record]) -> str:
  """Section of samples: prompts common to the runs, or else each run's latest samples."""
  newest = {name: _newest(record) for name, record in runs.items()}
  shared = set.intersection(*(set(by_prompt) for by_prompt in newest.values()))
  shown = _first_shared(newest, shared) if shared else {name: _last(own) for name, own in newest.items()}
  scale = credit_map.strongest([sample for by_prompt in shown.values() for sample in by_prompt.values()])
  if not any(shown.values()):
    return page.section("Samples", '<p class="note">No samples.</p>')
  if shared:
    note = "The newest answers to prompts that all runs were given."
    columns = [("seed", "number"), ("prompt", "text"), *((name, "") for name in runs)]
    rows = [
      [page.escape(seed), page.escape(prompt), *(_cell(own[seed, prompt], scale) for own in shown.values())]
      for seed, prompt in next(iter(shown.values()))
    ]
  else:
    note = "No prompt is common to all runs: the last samples of each."
    columns = [("run", "name"), ("seed", "number"), ("prompt", "text"), ("response", "")]
    rows = [
      [page.name(name), page.escape(seed), page.escape(prompt), _cell(sample, scale)]
      for name, by_prompt in shown.items()
      for (seed, prompt), sample in by_prompt.items()
    ]
  if scale:
    note += " Tokens are coloured by their advantage, on one scale: blue and a solid line up, orange and dotted down."
  legend = credit_map.legend(scale) if scale else ""
  return page.section("Samples", legend + page.table_of_html(columns, rows), note=note)


def _newest(record: Record) -> Samples:
  """The first sample of each prompt in the last iteration that shows it, newest iteration first."""
  by_prompt: Samples = {}
  for iteration in sorted({sample["iteration"] for sample in record.samples}, reverse=True):
    rows = [sample for sample in record.samples if sample["iteration"] == iteration]
    for sample in one_seed_after_another(rows):
      by_prompt.setdefault((sample["seed"], sample["prompt"]), sample)
  return by_prompt


def _first_shared(newest: Mapping[str, Samples], shared: set[tuple[Any, str]]) -> dict[str, Samples]:
  keys = [key for key in next(iter(newest.values())) if key in shared][:PROMPTS_SHOWN]
  return {name: {key: own[key] for key in keys} for name, own in newest.items()}


def _last(own: Samples) -> Samples:
  last = next(iter(own.values()))["iteration"] if own else None
  of_last = [(key, sample) for key, sample in own.items() if sample["iteration"] == last]
  return dict(of_last[:PROMPTS_SHOWN])


def _cell(sample: dict[str, Any], scale: float) -> str:
  if scale and credit_map.has_credit(sample):
    response = credit_map.tokens(sample, scale)
  else:
    response = f'<div class="text">{page.escape(sample["response"])}</div>'
  facts = f"iteration {sample['iteration']}, reward {reward_text(sample['reward'])}"
  return f'{response}<div class="note">{page.escape(facts)}</div>'
