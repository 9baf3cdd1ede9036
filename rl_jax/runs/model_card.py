"""Model card of an exported policy: the README.md of a Hugging Face repository, made from the run's citation."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from rl_jax.runs.citation import CitedRun, as_bibtex, references
from rl_jax.runs.visible import visible


class Exported(NamedTuple):
  """The policy that a card is about."""

  iteration: int
  seed: int
  """Column on the pages of the run."""
  base: str = ""
  """Pretrained model that the run started from, as "owner/name" on the hub; "": it is not on the hub."""
  task: str = ""
  """Task whose token ids the model uses, if the folder has no tokenizer; "": it has one."""


def model_card(run: CitedRun, policy: Exported) -> str:
  """The card as Markdown with metadata in YAML.

  Args:
    run: citation of the run, with its faults.
  """
  about = f"The policy of an rl_jax run: method {_text(run.method)}, iteration {policy.iteration}, seed {policy.seed}."
  number = f"The run: {_text(run.headline)}."
  if len(run.accuracy) > 1:
    number += " That is over all seeds, at the last evaluation; this model is one of the seeds."
  facts = [
    f"- content of the run: `{run.content_sha256}`",
    f"- commit: {', '.join(map(_text, run.commits))}",
    f"- date: {_text(run.date)}",
    f"- start: {_text(run.beginning)}",
    *(f"- stage {_text(stage.as_stage)}" for stage in run.stages),
    *(f"- note: {_text(note)}" for note in run.notes),
  ]
  papers = [f"- {_text(reference)}" for reference in references([run])]
  parts = [
    _metadata(policy),
    f"# {_text(run.name)}",
    about,
    number,
    *([f"Without a tokenizer: token ids are those of the task {_text(policy.task)}."] if policy.task else []),
    "## How it was made",
    "\n".join(facts),
    _fenced(visible(run.command, keep=""), "sh"),
    *(["## Papers", "\n".join(papers)] if papers else []),
    "## Citation",
    _fenced(as_bibtex([run]), "bibtex"),
  ]
  return "\n\n".join(parts) + "\n"


def _metadata(policy: Exported) -> str:
  """YAML front matter; strings are written as JSON, which is valid YAML."""
  lines = [
    "library_name: transformers",
    "pipeline_tag: text-generation",
    "tags:",
    "- rl_jax",
    "- reinforcement-learning",
  ]
  base = [f"base_model: {json.dumps(policy.base)}"] if policy.base else []
  return "\n".join(["---", *lines, *base, "---"])


def _text(text: str) -> str:
  """Text as one line of Markdown, with its marks escaped."""
  return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", visible(text, keep=""))


def _fenced(text: str, language: str) -> str:
  """Text as a fenced block whose fence the text cannot close."""
  fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
  return f"{fence}{language}\n{text}\n{fence}"
