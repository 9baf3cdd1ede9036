"""Flat rollouts: independent completions of each prompt."""

from __future__ import annotations

from rl_jax.rollouts.rollout import PhaseResult, Rollout, assemble, unasked
from rl_jax.rollouts.sampler import Sampling, sample
from rl_jax.tasks.task import ExtraSpec, Task, end_ids
from rl_jax.trajectories import DEMONSTRATION, POLICY

PROVIDES = {
  "behaviour_entropies": ExtraSpec(("T",), "float32", "of the distribution that each token was drawn from, in nats")
}


def flat(task: Task, completions_per_prompt: int, sampling: Sampling, by: str = "policy") -> Rollout:
  """`completions_per_prompt` responses to each prompt of the plan; keeps no state.

  Args:
    by: the model that writes them, see `source_of`.
  """

  def phase(models, state, plan, prompts, before, key):
    writer = models[by]
    completions = sample(
      writer.model,
      writer.params,
      prompts.tokens,
      prompts.mask,
      key,
      completions_per_prompt=completions_per_prompt,
      max_tokens=task.response_tokens,
      limits=plan.response_limits,
      end_ids=end_ids(task.vocabulary),
      stop_texts=task.stop_texts,
      pad_id=task.vocabulary.pad_id,
      sampling=sampling,
    )
    rows = assemble(
      prompts,
      completions.tokens,
      completions.mask,
      completions_per_prompt=completions_per_prompt,
      row_mask=plan.row_mask,
      truncated=completions.truncated,
      source=source_of(by),
      behaviour_logprobs=completions.behaviour_logprobs,
      old_logprobs=completions.logprobs,
      behaviour_entropies=completions.entropies,
    )
    return PhaseResult(state, rows, unasked(rows), rows.sampled_tokens)

  return Rollout(phases=(phase,), provides=PROVIDES)


def source_of(by: str) -> int:
  """Source of the tokens that a model writes: those of another model than the policy are demonstrations to it, and all
  logprobs that come with them are the writer's."""
  return POLICY if by == "policy" else DEMONSTRATION
