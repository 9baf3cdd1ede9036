"""HiPER: hierarchical advantages of a planner and an executor (arXiv 2602.16165).

Idea: each turn of an agent keeps its sub-goal or switches to another one, names it, and acts. The turns from one switch
to the next form a segment. Each of the three decisions has an advantage of its own, on the tokens that made it:

  action    A_low(t)  = delta_t + gamma lambda A_low(t+1),  delta_t = r_t + gamma V_low(t+1) - V_low(t), in a segment;
                        after the segment's last turn V_high of the next segment stands for V_low, and A_low restarts
  sub-goal  A_high(b) = delta_b + gamma^d lambda_seg A_high(b'),  delta_b = R_b + gamma^d V_high(b') - V_high(b),
                        for a segment of d turns that starts at b, with rewards R_b; the next segment starts at b'
  decision  A_switch(t) = G_t - V_switch(t),  G_t = r_t + gamma G_{t+1} in a segment, then V_high of the next

A critic with three heads estimates V_high and V_switch before a turn, and V_low after its sub-goal. Each advantage is
normalised over the turns that have such tokens. A sub-goal that is only kept is not trained, nor is text outside the
three spans; a turn without a plan counts as all action. The loss is PPO's with a dual clip. Turns that keep their
sub-goal, that keep it but name another one, or that have no plan may be penalised before advantages are computed.

The form of A_switch, the third head and all options are those of the authors' code. The paper has two heads and
A_switch = (q - beta) (V_high - V_low under the previous sub-goal), which takes another pass over the rows; the kernel
`advantages.switch_gain` implements it. Inferred: an invalid turn is a turn without a plan; the turn limit has cut an
episode if it has all turns and does not solve the problem.

The task reports the decisions of each turn: see rl_jax/tasks/environments/planned.py.

Metrics: those of policy_gradient.py, and
  switches: share of turns that switch their sub-goal.
  segment_turns: number of turns of a segment.
  low_value_error, high_value_error, switch_value_error: mean square of V_old - target, over the turns that train it.
Config: experiments/hiper.py, on rl_jax/tasks/environments/rooms.py.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import FINITE, SHARE
from rl_jax.kernels.advantages import hierarchy
from rl_jax.kernels.reductions import Mean, masked_mean
from rl_jax.kernels.rewards.subgoals import subgoal_shaping
from rl_jax.methods import _critics, policy_gradient, ppo
from rl_jax.methods._plans import HEADS, READ, spans_of, turns_of, value_streams
from rl_jax.methods.method import Loss, Method, Outputs, Signal, Stream, Streams, one_of
from rl_jax.rollouts.turns import required_turns
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

ENDS, LAMBDAS = ("discount", "bootstrap_truncated"), ("lam_turn", "lam_segment")
PENALTIES = ("keep_penalty", "keep_mode", "inconsistency_penalty", "invalid_penalty")
CRITIC = ("value_coefficient", "value_clip", "critic_learning_rate", "critic_init_from")


def get_config() -> dict[str, Any]:
  """The authors' options, without the penalties of their tasks, where success is worth 10."""
  return policy_gradient.get_config() | {
    "dual_clip": 3.0,
    "kl_coefficient": 0.01,
    "entropy_coefficient": 0.001,
    "discount": 1.0,  # per turn
    "lam_turn": 1.0,  # lambda; 1 is Monte Carlo up to the next segment
    "lam_segment": 0.95,
    "normalize": True,  # each of the three advantages
    "bootstrap_truncated": False,  # True: an episode cut by the turn limit ends on its last value, not on 0
    "keep_penalty": 0.0,  # -0.3 in ALFWorld, -3.5 in WebShop
    "keep_mode": "normalized",  # the penalty times an episode's share of such turns; "fixed": the full penalty per turn
    "inconsistency_penalty": 0.0,  # -0.3 in both
    "invalid_penalty": 0.0,  # -0.1 in both
    **{name: ppo.get_config()[name] for name in CRITIC},
  }


RANGES = {name: ppo.RANGES[name] for name in (*CRITIC[:-1], "discount")} | {
  **dict.fromkeys(LAMBDAS, SHARE), "keep_penalty": FINITE, "inconsistency_penalty": FINITE, "invalid_penalty": FINITE
}  # fmt: skip


def build(config: ConfigDict, task: Task) -> Method:
  """HiPER from its section of a config. Raises ValueError for a task without turns."""
  m, layout = config.method, required_turns(task)
  one_of(m, "keep_mode", ("normalized", "fixed"))
  ends, lambdas, penalties = ({name: m[name] for name in names} for names in (ENDS, LAMBDAS, PENALTIES))
  clip = m.value_clip or None
  policy_loss = policy_gradient.loss_function(config, task)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    ids, spans = trajectories.turn_ids, spans_of(trajectories, layout)
    turns = turns_of(trajectories, spans, layout.max_turns)
    exists, subgoals = turns.exists, turns.subgoal_ids
    shaped = subgoal_shaping(turns.rewards, turns.switches, subgoals, subgoals >= 0, exists, **penalties)
    rewards = shaped, turns.switches, turns.terminated
    low, high, boundaries = hierarchy.hae(*rewards, turns.low_values, turns.high_values, exists, **(lambdas | ends))
    switch = hierarchy.switch_estimate(*rewards, turns.high_values, turns.switch_values, exists, **ends)
    places = spans.action, spans.subgoal, spans.switch
    advantages = low.advantages, high.advantages, switch.advantages, boundaries, exists
    placed = hierarchy.hierarchy_on_tokens(*advantages, ids, *places, normalize=m.normalize)
    values = value_streams(ids, spans, (low, high, switch), (exists, boundaries, exists))
    metrics = _critics.value_errors(trajectories, values, HEADS) | {"switches": masked_mean(turns.switches, exists)}
    metrics["segment_turns"] = Mean(exists.sum(dtype=jnp.float32), boundaries.sum(dtype=jnp.float32))
    return Signal({"policy": Stream(placed.advantages, placed.mask.astype(jnp.float32)), **values}, metrics)

  def loss(outputs: Outputs, trajectories: Trajectories, streams: Streams) -> Loss:
    terms, metrics = policy_loss(outputs, trajectories, streams)
    return Loss(terms | _critics.value_terms(m, outputs, trajectories, streams, HEADS, clip=clip), metrics)

  critic = _critics.critic(m, heads=len(HEADS), extras=READ)
  return policy_gradient.method(config, task, signal, papers=("2602.16165",), loss=loss, **critic)
