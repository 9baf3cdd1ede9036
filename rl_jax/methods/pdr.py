"""PDR: responses that refine a workspace of drafts, trained beside plain ones (arXiv 2510.01123).

Idea: depth without long contexts. A model writes M short drafts in parallel, their solutions are distilled into a
workspace C of at most kappa tokens, and the model writes again from the prompt x and C. A policy that is trained on
long traces alone never meets this interface; here half of the prompts are one such round.

  trace half: G responses to x
  refined half: M drafts -> C, chosen without the verifier -> G responses to (x, C), rewarded on their answer alone
  A_i = (r_i - mean) / (std + eps) over the G responses to x, or to (x, C),  r_i = 1 if right, else -1
  L = - mean_t sg[clip(rho_t, 1 - clip_low, 1 + clip_high)] A_i log pi(t)  - alpha mean over right i of mean_t log pi(t)
  loss = 0.5 L(trace half) + 0.5 L(refined half)

At inference drafts may be written in several rounds, each from the workspace of the one before. `inference` lists the
widths of the rounds of each form that is evaluated: () is a single pass, (1, 1, 1) sequential refinement, (8, 4) two
rounds in parallel. B_seq and B_total are the tokens read and written along one path, and by all calls. Oracle
workspaces show right drafts alone, or wrong ones alone. `rl-jax evaluate --workdir=RUN --config=pdr` measures the
policy of any run in these forms.

Without imitation and refinement (alpha 0, refined_share 0) it is CISPO with GRPO's advantage.

Inferred: no gradient on drafts; the score of a draft, its mean logprob, and draws in proportion to its exponential
where each response chooses its own; the end of a solution that is too long is kept; a prompt without a usable draft
stays plain; ddof, eps, both clip bounds, the mean over the tokens of a half; the accepted path is the first draft of
each round. In training the responses to a prompt share C, whatever the choice. Not as in the paper: minibatches hold
whole groups of either half at random, each half divided by its own tokens; a response is cut at its limit, and no
answer is forced; no call writes a summary.

Metrics: those of rollouts/refinement.py, and
  trace_reward, refined_reward: the verifier's, of each half.
  entropy: see policy_gradient.py.
  single/accuracy, sequential_3/accuracy, parallel_8_4/accuracy, ...: of these forms on held-out prompts, sampled, and
    of each `sequential_tokens`, B_seq, and `total_tokens`, B_total.
  oracles/right, oracles/any, oracles/wrong: accuracy of the last form by the outcome of the drafts that are shown, over
    the prompts with right and wrong drafts; oracles/both: their share.
Config: experiments/pdr.py.
Source: second hand; clip bounds, normalisers and the rule of the workspace inferred.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.curricula.uniform import uniform
from rl_jax.inputs.ranges import COUNT, NOT_NEGATIVE, SHARE, Range
from rl_jax.kernels.advantages.group import grpo
from rl_jax.kernels.losses.mixture import pdr_loss
from rl_jax.kernels.reductions import aggregate, masked_mean
from rl_jax.methods import _refinement, _workspaces, policy_gradient
from rl_jax.methods.method import Loss, Method, Outputs, Signal, Streams, Term, check_answers
from rl_jax.rollouts.refinement import with_refinement
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The paper's alpha, shares and drafts; bounds and sizes of the workspace are not in it."""
  return _workspaces.options() | {
    "refined_share": 0.5,  # of an iteration's prompts, and of the loss; 0: plain responses alone
    "drafts": 4,  # M
    "alpha": 0.1,  # of the imitation of right responses
    "clip_low": 1.0,  # the lower side is open
    "clip_high": 0.28,
    "ddof": 0,
    "epsilon": 1e-6,
    **_refinement.options(),
  }


RANGES = _workspaces.RANGES | {
  "refined_share": SHARE, "drafts": COUNT, "alpha": NOT_NEGATIVE, "clip_low": SHARE, "clip_high": NOT_NEGATIVE,
  "ddof": Range(0, 1, whole=True), "epsilon": NOT_NEGATIVE,
}  # fmt: skip


def build(config: ConfigDict, task: Task) -> Method:
  """PDR from its section of a config. Raises ValueError for options, and for a task with turns."""
  check_answers(config)
  m, share, operator = config.method, config.method.refined_share, _workspaces.operator(config, task)
  if share and m.drafts < m.k:
    raise ValueError(f"method.drafts={m.drafts} cannot fill a workspace of method.k={m.k}: write more, or show fewer")

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    scored, refined = trajectories.scored, trajectories.extras["refined"]
    rewards = 2.0 * trajectories.correct - 1.0
    advantages = grpo(rewards, trajectories.group_ids, scored, ddof=m.ddof, eps=m.epsilon, singleton="zero")
    halves = {"trace": ~refined, "refined": refined}
    metrics = {f"{name}_reward": masked_mean(trajectories.rewards, half & scored) for name, half in halves.items()}
    return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)}, metrics)

  def loss(outputs: Outputs, trajectories: Trajectories, streams: Streams) -> Loss:
    stream, out = streams["policy"], outputs["policy"]
    found = pdr_loss(
      out["logprobs"], trajectories.old_logprobs, stream.targets, trajectories.correct,
      trajectories.extras["refined"], stream.weights, clip_low=m.clip_low, clip_high=m.clip_high,
    )  # fmt: skip
    terms = {}
    for half, part, weight in (("trace", found.trace, 1 - share), ("refined", found.operator, share)):
      terms[f"{half}_policy"] = Term(part.policy, weight, "policy")
      terms[f"{half}_imitation"] = Term(part.imitation, weight * m.alpha, "policy")
    return Loss(terms, {"entropy": aggregate(out["entropies"], stream.weights, mode="token_mean")})

  rows = {"refined_prompts": _workspaces.refined_prompts(config), "drafts": m.drafts}
  return Method(
    curriculum=uniform(config.prompts_per_iteration, config.completions_per_prompt),
    rollout=with_refinement(task, config.completions_per_prompt, sampling_from(config), operator, **rows),
    signal=signal,
    loss=loss,
    evaluations=_refinement.evaluations(config, task, operator),
    requires=("refined",),
    papers=("2510.01123",),
  )
