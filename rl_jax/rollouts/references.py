"""Logprobs under a reference that are there before any model learns from the rows."""

from __future__ import annotations

import dataclasses

from rl_jax.rollouts.rollout import Rollout


def referred(rollout: Rollout, model: str) -> Rollout:
  """The rollout with one phase more, which sets `ref_logprobs` to those of a language model.

  For a model whose loss of its own reads them: it learns before the method's `scoring`.
  """

  def phase(models, state, plan, task, trajectories, key):
    reference, params = models[model]
    rows = trajectories.tokens, trajectories.positions, trajectories.attention_mask
    return state, trajectories.replace(ref_logprobs=reference.outputs(params, *rows)["logprobs"])

  return dataclasses.replace(rollout, phases=(*rollout.phases, phase))
