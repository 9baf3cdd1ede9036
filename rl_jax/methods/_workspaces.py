"""Options of the operator that distils drafts into a workspace; see rollouts/workspaces.py."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from rl_jax.inputs.ranges import COUNT
from rl_jax.methods.method import one_of
from rl_jax.rollouts.workspaces import CHOICES, SCORES, SOLUTIONS, Operator
from rl_jax.tasks.task import Task


def options() -> dict[str, Any]:
  """Options of the operator that makes a workspace of drafts."""
  return {
    "operator": "shared_top_k",  # or "per_sample_top_k", "random_k"
    "k": 2,  # drafts that a workspace shows
    "workspace_tokens": None,  # kappa; None: room for k whole responses
    "score": "mean_logprob",  # of a draft; or "logprob"
    "solution": "response",  # what a workspace shows of a draft; or "answer", from its opening on
    "separator": ":",  # one token, between two solutions
    "instruction": "=",  # after them; both as the task's vocabulary writes them
  }


RANGES = {"k": COUNT, "workspace_tokens": COUNT.optional()}


def operator(config: ConfigDict, task: Task) -> Operator:
  """The operator of a config. Raises ValueError for options."""
  m, encode = config.method, task.vocabulary.encode
  separator = tuple(encode(m.separator))
  if len(separator) != 1:
    raise ValueError(f"method.separator is one token, got {m.separator!r}, of {len(separator)} tokens")
  return Operator(
    choice=one_of(m, "operator", CHOICES),
    k=m.k,
    cap=m.workspace_tokens or m.k * (task.response_tokens + 1),
    score=one_of(m, "score", SCORES),
    solution=one_of(m, "solution", SOLUTIONS),
    separator=separator[0],
    instruction=tuple(encode(m.instruction)),
  )


def refined_prompts(config: ConfigDict) -> int:
  """Prompts of an iteration that are refined. Raises ValueError if their share is no whole number of them."""
  prompts, share = config.prompts_per_iteration, config.method.refined_share
  if not float(count := prompts * share).is_integer():
    raise ValueError(
      f"method.refined_share={share} of prompts_per_iteration={prompts} is no whole number of prompts: "
      "take a number of prompts that can be divided so"
    )
  return int(count)
