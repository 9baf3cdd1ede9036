"""COPO: local and global losses, blended by how far answers agree (arXiv 2508.04138).

Idea: a prompt whose responses all succeed or all fail has no gradient under GRPO. A second, global advantage compares
the prompts of the batch. Its weight depends on the agreement of the final answers to a prompt: where they differ the
local loss dominates, where they agree the global loss does. With frequencies p(a) of the answers in the group

  H = -sum_a p(a) log2 p(a),  w = sigmoid(gamma (H - rho))                                        (in bits)
  A_i = (r_i - mean_j r_j) / (std_j r_j + eps),  A^g = (R - mean R) / (std R + eps)               (eq. 6)
  loss = mean_i mean_t [ W_i l(rho_t, A_i) + (1 - W_i) l(rho_t, A^g) ]                            (eq. 9 to 11)

where R is the mean reward of a prompt, its mean and std are over the prompts of the iteration, each counted once, and l
is the clipped loss with dual clip. Losses are blended, not advantages: advantages of different signs are clipped at
different sides. `blend` gives W, by the names of the authors' code:
  no global: 1, which is GRPO; only global: 0; only soft: w.
  only forced, soft with forced: 1 and w where A_i is not 0, else 0: groups of equal rewards are global.
  only zero, soft with zero: 1 and w where r_i is not 0, else 0, as in its scripts; wrong responses are then global in
    every group, and gain probability where the prompt is easier than the others.
  soft with zero group: w where any reward of the group is not 0: the paper's reason for the rule before (inferred).

The formulas are those of the code; the paper is known at second hand. The code's scripts have gamma 20, rho 1.5 with
"soft with zero" and KL 0.001, or gamma 5, rho 1 without KL; here it is "soft with forced" without KL. Inferred: one
prompt in an iteration has A^g = 0 (NaN in the code), and responses without an answer agree with each other.

Metrics: those of policy_gradient.py, of which clip_fraction is that of the local loss, and
  answer_entropy: H over scored rows.
  local_weight: W over scored rows.
  no_gradient: share of scored rows whose W A_i and (1 - W) A^g are both 0.
Config: experiments/copo.py.
Source: authors' code; paper second hand.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import FINITE, NOT_NEGATIVE
from rl_jax.kernels.advantages.consistency import blend_weights, copo
from rl_jax.kernels.reductions import group_sum, masked_mean
from rl_jax.methods import grpo, policy_gradient
from rl_jax.methods.method import Loss, Method, Outputs, Signal, Streams, check_answers, one_of
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

BLENDS = {
  "no global": ("all", False), "only global": ("none", False), "only soft": ("all", True),
  "only forced": ("advantage", False), "soft with forced": ("advantage", True),
  "only zero": ("reward", False), "soft with zero": ("reward", True), "soft with zero group": ("group", True),
}  # fmt: skip
"""Rows with a local loss, and whether the entropy weights it."""


def get_config() -> dict[str, Any]:
  """The paper's best gamma and rho, for groups of six."""
  return policy_gradient.get_config() | {
    "blend": "soft with forced",
    "gamma": 20.0,
    "rho": 1.5,  # bits; at most log2 G for G answers
    "prompt_reward": "mean",  # or "consistent": times 1 - H (1 - 1/G) / log2 G, off in the code's scripts
    "aggregation": "sequence_mean_token_mean",
    "dual_clip": 3.0,
    "ddof": 1,
    "epsilon": 1e-6,
  }


RANGES = grpo.RANGES | {"gamma": NOT_NEGATIVE, "rho": FINITE}


def build(config: ConfigDict, task: Task) -> Method:
  """COPO from its section of a config."""
  check_answers(config)
  m, clipped = config.method, policy_gradient.loss_function(config, task)
  rule, soft = BLENDS[one_of(m, "blend", BLENDS)]
  consistent = one_of(m, "prompt_reward", ("mean", "consistent")) == "consistent"

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    rewards, ids, scored = trajectories.rewards, trajectories.group_ids, trajectories.scored
    options = {"scale_by_consistency": consistent, "ddof": m.ddof, "eps": m.epsilon}
    result = copo(rewards, trajectories.extras["answer_ids"], ids, scored, **options)
    chosen = {
      "all": scored, "none": ~scored, "advantage": result.local != 0, "reward": rewards != 0,
      "group": group_sum(rewards != 0, ids, scored) > 0,
    }[rule]  # fmt: skip
    weights = blend_weights(result.entropy, chosen, scored, gamma=m.gamma, rho=m.rho, soft=soft)
    # The loss of c A is c times that of A for c >= 0.
    local, between = weights * result.local, (1 - weights) * result.between
    parts = {"policy": local + between, "local": local, "global": between}
    metrics = {"answer_entropy": result.entropy, "local_weight": weights, "no_gradient": (local == 0) & (between == 0)}
    return Signal(
      {name: policy_gradient.token_stream(trajectories, part) for name, part in parts.items()},
      {name: masked_mean(x, scored) for name, x in metrics.items()},
    )

  def loss(outputs: Outputs, trajectories: Trajectories, streams: Streams) -> Loss:
    terms, metrics = clipped(outputs, trajectories, {"policy": streams["local"]})
    between = clipped(outputs, trajectories, {"policy": streams["global"]}).terms["policy"]
    return Loss({**terms, "global": between}, metrics)

  requires = ("answer_ids",)
  return policy_gradient.method(config, task, signal, papers=("2508.04138",), requires=requires, loss=loss)
