"""Flat rollouts: independent completions of each prompt."""

from __future__ import annotations

from rl_jax.rollouts.rollout import PhaseResult, Rollout, assemble, unasked
from rl_jax.rollouts.sampler import Sampling, sample
from rl_jax.tasks.task import ExtraSpec, Task

PROVIDES = {
  "behaviour_entropies": ExtraSpec(("T",), "float32", "of the distribution that each token was drawn from, in nats")
}


def flat(task: Task, completions_per_prompt: int, sampling: Sampling) -> Rollout:
  """`completions_per_prompt` responses of the policy to each prompt of the plan; keeps no state."""

  def phase(models, state, plan, prompts, before, key):
    policy = models["policy"]
    completions = sample(
      policy.model,
      policy.params,
      prompts.tokens,
      prompts.mask,
      key,
      completions_per_prompt=completions_per_prompt,
      max_tokens=task.response_tokens,
      limits=plan.response_limits,
      end_id=task.vocabulary.end_id,
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
      behaviour_logprobs=completions.behaviour_logprobs,
      old_logprobs=completions.logprobs,
      behaviour_entropies=completions.entropies,
    )
    return PhaseResult(state, rows, unasked(rows), rows.sampled_tokens)

  return Rollout(phases=(phase,), provides=PROVIDES)
