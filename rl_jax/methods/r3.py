"""R3: replay of opposite outcomes, reflection on failures, ranking of cut responses (arXiv 2601.19620).

Idea: a group whose responses are all right or all wrong gives no signal. Three remedies restore it:

  replay (CCR): past responses to the same prompt join the group, right ones where all are wrong, wrong ones where all
    are right, newest first, with the logprobs of the policy that wrote them;
  reflection (ISR): a prompt whose share of right responses so far is below tau is asked again, followed by one of its
    wrong responses and an instruction, in a group of its own;
  ranking (SERR): if no response is right, those cut at the limit are ranked by their token entropies: i dominates j if
    its peak, the mean of the largest top_share, is higher and its mean lower. This favours a few uncertain tokens in an
    otherwise confident text.

  R_i = 1 + max(0, 1 - l_i / L_max) if right, else R_max (1 - k / (N - 1)) for rank k of N cut ones, else 0
  A_i = (R_i - mean) / (alpha std + lam) over new and replayed responses; the loss is that of GRPO

The prompts come from a pool that is revisited often; the last `kept` right and wrong responses to each are stored
(rollouts/outcomes.py). On its first visit a prompt has none. Without the three remedies and the bonus (replayed 0,
reflected_prompts 0, ranking_reward 0, max_length 1) this is GRPO.

Inferred: ties share their mean rank, and a single cut response has rank 0; newest first; logprobs of the policy that
wrote a response; the bonus is added; shares count right responses over all visits; past responses neither join nor
store reflecting groups; alpha applies to all groups; a replayed row has no rank; ddof and all numbers, none of which
the paper gives; a reflected response keeps its end token. Not as in the paper: the loss is a mean over all rows of a
minibatch, so that a group with past responses counts for more than one without.

Metrics: those of policy_gradient.py and rollouts/outcomes.py (`reward` and others are over all rows), and
  informative: share of new responses to plain prompts in a group of unequal R.
  plain_reward, reflected_reward: mean verifier's reward of new responses of each kind.
  ranking_reward: reward from SERR, mean over new responses.
Config: experiments/r3.py.
Source: paper, version 1; hyperparameters inferred.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, WHOLE, Range
from rl_jax.kernels.advantages.replay import r3_mixed
from rl_jax.kernels.curricula.filters import informative_groups
from rl_jax.kernels.reductions import masked_mean
from rl_jax.kernels.rewards.ranking import entropy_ranking, length_bonus_reward
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Method, Signal, check_answers, one_of
from rl_jax.rollouts.outcomes import PROVIDES, with_past
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """GRPO's clip and mean; the numbers of the three remedies are not the paper's."""
  return policy_gradient.get_config() | {
    "aggregation": "sequence_mean_token_mean",
    "pool": 256,  # number of prompts with a past; ids are taken modulo it
    "kept": 8,  # right and wrong responses stored for each prompt, this many of each
    "replayed": 2,  # past responses that join a group; 0: none
    "reflected_prompts": None,  # largest number of prompts per iteration to reflect on; None: all, 0: none
    "reflect_below": 0.5,  # tau
    "instruction": "",  # text after the wrong response, as the task's vocabulary writes it
    "top_share": 0.2,  # share of a response's tokens that make the peak
    "ranking_reward": 0.5,  # R_max, below the reward of a right response; 0: no ranking
    "ties": "average",  # or "stable": by row
    "max_length": None,  # L_max; None: four times the response tokens, as in the paper; 1: no bonus
    "alpha": 1.0,
    "lam": 1e-6,
    "ddof": 1,
  }


RANGES = {
  "pool": COUNT, "kept": COUNT, "replayed": WHOLE, "reflected_prompts": WHOLE.optional(), "reflect_below": SHARE,
  "top_share": SHARE, "ranking_reward": Range(0, 1, below=True), "max_length": COUNT.optional(), "alpha": POSITIVE,
  "lam": NOT_NEGATIVE, "ddof": Range(0, 1, whole=True),
}  # fmt: skip


def build(config: ConfigDict, task: Task) -> Method:
  """R3 from its section of a config. Raises ValueError for options, and for a task with turns."""
  check_answers(config)
  m = config.method
  one_of(m, "old_logprobs", ("sampler",))  # the trainer's would replace those of the policy that wrote a replayed row
  if m.pool < config.prompts_per_iteration:
    raise ValueError(f"method.pool={m.pool}: take {config.prompts_per_iteration} at least, the prompts of an iteration")
  ties, most = one_of(m, "ties", ("average", "stable")), m.max_length or 4 * task.response_tokens

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    extras, ids = trajectories.extras, trajectories.group_ids
    scored, correct = trajectories.scored, trajectories.correct
    new = scored & ~extras["replayed"]
    ranking = entropy_ranking(
      extras["behaviour_entropies"], correct, trajectories.truncated, ids, new, trajectories.trained,
      top_share=m.top_share, max_reward=m.ranking_reward, ties=ties,
    )  # fmt: skip
    rewards = length_bonus_reward(correct, trajectories.response_lengths, max_length=most) + ranking.rewards
    advantages = r3_mixed(rewards, ids, scored, alpha=m.alpha, lam=m.lam, ddof=m.ddof)
    plain, reflecting = new & ~extras["reflecting"], new & extras["reflecting"]
    kinds = {"plain_reward": plain, "reflected_reward": reflecting}
    metrics = {name: masked_mean(trajectories.rewards, rows) for name, rows in kinds.items()}
    metrics["informative"] = masked_mean(informative_groups(rewards, ids, scored), plain)
    metrics["ranking_reward"] = masked_mean(ranking.rewards, new)
    return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)}, metrics)

  rollout = with_past(
    task, config.completions_per_prompt, sampling_from(config), pool=m.pool, kept=m.kept, replayed=m.replayed,
    reflected=m.reflected_prompts, threshold=m.reflect_below, instruction=tuple(task.vocabulary.encode(m.instruction)),
  )  # fmt: skip
  return policy_gradient.method(config, task, signal, papers=("2601.19620",), requires=tuple(PROVIDES), rollout=rollout)
