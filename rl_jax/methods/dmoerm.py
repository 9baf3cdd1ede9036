"""DMoERM: a reward model of experts by task and by capability, trained from preferences (arXiv 2403.01197).

Idea: one reward model of everything learns poorly, as tasks disturb each other and as people agree on an overall
judgement only 60 to 75 % of the time. An outer router sends a prompt to the inner model of its task, sparsely. An inner
model asks simpler questions, whose labels are more consistent: each of its experts has learned one capability, and all
of them are fused, densely. The model is rl_jax/models/reward_experts.py. Its phases are stages, one entry of the
parameters each, while all others are frozen:

  router    p = softmax(W z + b) of the prompt, cross-entropy with its task; later the task is argmax p  (formula 1)
  head      every member, with a head w . z + b, on the labels of its own task                        (phase 1)
  experts   low-rank adapters with heads that start as copies of the first one, one per capability,
            on the labels of that capability                                                          (phase 2)
  fusion    an MLP over the experts' last states, without their heads, on overall labels              (phase 3)

  loss = mean over prompts of the mean over pairs of -log sigmoid(r_better - r_worse)                 (formula 6)

from `part` of the pairs: by the paper the first 60 % for phase 1 and the last 40 % for phase 3. A pair without a better
response has no loss. Tasks and labels come from rl_jax/tasks/tastes.py or another task with `preferences`. An ensemble
is the same model without a router: each member then learns from all pairs.

Members and router start as the policy, and the stages as each other, by `reward.init_from`. A policy then learns from
the frozen reward in learned_reward.py.

Inferred: phase 2 has the pairs of phase 1; the router's task, not the label, picks the member in all phases; each phase
ends after its iterations instead of at the best validation; no dropout. The released code is not followed where it
contradicts its own loss: it takes the softmax twice, trains on the validation share and leaves the heads of phase 2
untrained.

Metrics:
  loss/ranking, or loss/routing for the router: the loss; log 2 = 0.69 is no knowledge of a pair.
  label_agreement: share of the batch's labels with which the trained rewards agree; routed: share of right tasks.
  pairs/…, best_of/…: on held-out prompts, see `_reward_evaluations.evaluations`.
Config: the stages of experiments/dmoerm.py.
Source: code; phase 3 as in the code, and the direction of ranks from its loss.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from rl_jax.curricula.epochs import epochs
from rl_jax.inputs.ranges import SHARE
from rl_jax.kernels.layers import router_cross_entropy
from rl_jax.kernels.losses.ranking import pairwise_ranking, ranking_consistency
from rl_jax.kernels.reductions import masked_mean
from rl_jax.methods import _reward_evaluations, _rewards
from rl_jax.methods.method import Loss, Method, ModelRole, Outputs, Signal, Streams, Term, one_of
from rl_jax.models import reward_experts
from rl_jax.models.model import Params
from rl_jax.rollouts.comparisons import RESPONSES, comparisons
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

PHASES = ("router", "head", "experts", "fusion")


def get_config() -> dict[str, Any]:
  """Phase 1 of a single member, on all pairs."""
  return _rewards.options() | {
    "phase": "head",  # or "router", "experts", "fusion"
    "part": (0.0, 1.0),  # shares of the pairs, by id, where those of this phase begin and end
  }


RANGES = _rewards.RANGES | {"part": SHARE}


def build(config: ConfigDict, task: Task) -> Method:
  """A phase from its section of a config. Raises ValueError for a model that does not fit the phase or the task."""
  m = config.method
  phase, routed = one_of(m, "phase", PHASES), _rewards.routes(m.reward.model, task)
  readout, label = {"router": ("head", "levels"), "experts": (phase, "aspect_ranks")}.get(phase, (phase, "ranks"))
  if config.completions_per_prompt != RESPONSES:
    raise ValueError(f"completions_per_prompt={config.completions_per_prompt}: pairs have {RESPONSES} responses")
  if phase == "router" and not routed:
    raise ValueError("method.phase='router': method.reward.model has no router: members above 1, combine='routed'")

  def ranking(outputs: Outputs, trajectories: Trajectories, streams: Streams) -> Loss:
    extras = trajectories.extras
    ranks = extras[label].reshape(trajectories.row_mask.shape[0], -1)
    mask = trajectories.row_mask[:, None, None] & extras["members"][:, :, None] & (ranks > 0)[:, None]
    rows = outputs["reward"]["member_rewards"], ranks[:, None], trajectories.group_ids, mask
    agreement = jax.lax.stop_gradient(_rewards.of_each(ranking_consistency, *rows))
    loss = _rewards.of_each(pairwise_ranking, *rows)
    return Loss({"ranking": Term(loss, trains="reward")}, {"label_agreement": agreement})

  def routing(outputs: Outputs, trajectories: Trajectories, streams: Streams) -> Loss:
    logits, tasks, used = outputs["reward"]["task_logits"], trajectories.extras[label], trajectories.row_mask
    term = Term(masked_mean(router_cross_entropy(logits, tasks, used), used), trains="reward")
    return Loss({"routing": term}, {"routed": masked_mean(jnp.argmax(logits, axis=1) == tasks, used)})

  def initial(params: dict[str, Params]) -> dict[str, Params]:
    reward = params["reward"]
    reward = reward if m.reward.init_from else reward_experts.from_policy(reward, params["policy"])
    return params | {"reward": reward_experts.from_heads(reward) if phase == "experts" else reward}

  read = ("task_logits",) if phase == "router" else ("members", "member_rewards")
  scored = {"members": ("reward", "members")} if "members" in read else {}
  role = _rewards.role(config, read, lambda path: path[0] == phase, name=reward_experts.__name__, readout=readout)
  return Method(
    curriculum=epochs(config.prompts_per_iteration, RESPONSES, m.part),
    rollout=comparisons(task),
    signal=lambda trajectories, iteration: Signal({}),
    loss=routing if phase == "router" else ranking,
    models={"policy": ModelRole(trained=False), "reward": role},
    scoring=scored,
    initial=initial,
    evaluations=_reward_evaluations.evaluations(config, task, by="policy"),
    requires=(label, *scored),
    papers=("2403.01197",),
  )
