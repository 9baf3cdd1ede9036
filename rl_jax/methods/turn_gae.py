"""Turn GAE: a critic of turns, with generalised advantage estimation over turns (RAGEN, arXiv 2504.20073).

Idea: the environment responds once per turn, so value changes once per turn as well. A turn is treated as one action:
it has one value, that of the state before it, and one advantage, on all its tokens.

  delta_k = r_k + gamma V_{k+1} - V_k,   A_k = delta_k + gamma lambda A_{k+1}      over turns; V = 0 after the last one

With `level` "turn" this is the whole method, and the critic learns A_k + V_k on a turn's first token. "bi_level" is the
form of RAGEN and VAGEN: V_k is the value at a turn's last token, A_k that token's advantage, and from there GAE over
the turn's tokens runs backwards with `token_discount` and `token_lam`. Losses, whitening and critic are as in ppo.py.

Metrics: those of ppo.py, over the tokens whose value the critic learns.
Config: experiments/turn_gae.py.
Source: official code; one value at the start of a turn inferred.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import SHARE
from rl_jax.kernels.advantages.returns import bi_level_gae, turn_gae
from rl_jax.kernels.reductions import whiten
from rl_jax.methods import _critics, policy_gradient, ppo
from rl_jax.methods.method import Method, Signal, Stream, one_of
from rl_jax.rollouts.turns import required_turns
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """PPO's options, with discount and lambda per turn."""
  return ppo.get_config() | {
    "level": "turn",  # or "bi_level"
    "discount": 1.0,  # per turn
    "lam": 1.0,  # per turn; 1 is Monte Carlo
    "token_discount": 1.0,  # within a turn, for "bi_level"
    "token_lam": 1.0,
  }


RANGES = ppo.RANGES | {"token_discount": SHARE, "token_lam": SHARE}


def build(config: ConfigDict, task: Task) -> Method:
  """Turn GAE from its section of a config."""
  m = config.method
  one_of(m, "level", ("turn", "bi_level"))
  options: dict[str, Any] = {"num_turns": required_turns(task).max_turns, "discount": m.discount, "lam": m.lam}
  within: dict[str, Any] = {"token_discount": m.token_discount, "token_lam": m.token_lam}

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    mask = trajectories.trained & trajectories.scored[:, None]
    given = ppo.token_rewards(trajectories), trajectories.extras["values"], trajectories.turn_ids, mask
    estimate = turn_gae(*given, **options) if m.level == "turn" else bi_level_gae(*given, **(options | within))
    advantages = whiten(estimate.advantages, mask) if m.whiten else estimate.advantages
    streams = {
      "policy": policy_gradient.token_stream(trajectories, advantages),
      "value": Stream(targets=estimate.returns, weights=estimate.has_target.astype(jnp.float32)),
    }
    valued = trajectories.replace(loss_mask=trajectories.loss_mask & estimate.has_target)
    return Signal(streams, _critics.value_metrics(task, valued, streams["value"]))

  loss = ppo.loss_function(config, task)
  return policy_gradient.method(config, task, signal, papers=("2504.20073",), loss=loss, **_critics.critic(m))
