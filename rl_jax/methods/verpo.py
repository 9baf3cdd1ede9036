"""VeRPO: unit tests of every turn, weighted by how rarely the group passes them (arXiv 2601.03525).

Idea: the reward "passes all tests" is the same for all attempts in most groups, and then gives no gradient. The share
of passed tests is dense, but most tests are easy and alike, and it mostly teaches those. VeRPO weights each test by its
difficulty in the current group, and divides the weight by the number of tests of about the same difficulty. With rho_j
the pass rate of test j over all executed turns of a prompt's group,

  w_j = exp(-alpha rho_j) / (N_j + delta),  N_j = sum_j' exp(-(rho_j - rho_j')^2 / (2 sigma^2))   (eq. 3, 7 to 9)
  r_it = sum_j w_j [turn t of response i passes test j]                                           (eq. 10)
  R_i = gamma^{n_i} [the last turn of i passes every test],  n_i the number of turns of i         (eq. 11)
  A_it = R_i - mean_i R + beta (r_it - mean r),  the second mean over all turns of the group      (eq. 12 to 14)

on every token of turn t. A test that all turns pass, or none, cancels out. `weights`:
  verpo: as above.
  difficulty, density: only one of the two factors.
  pass_rate: 1 over the number of tests, the dense reward that VeRPO is compared with.
These are ablations of the paper. So are beta 0 (only the outcome), full_pass_reward 0 (only the tests) and scale
"group" (each of the two parts is divided by its own std).

The paper is known at second hand. Inferred: sigma, delta, beta, gamma, the clip range 0.2, and the std's ddof and eps,
for which the sources give no value; and the task's rule that an episode ends with the attempt that passes all tests.
The loss is PPO's, mean over tokens.

Metrics: those of policy_gradient.py, and
  degenerate_rows: share of scored rows in groups whose advantages are all 0.
  pass_rate: share of tests passed, mean over turns.
  full_pass: share of scored rows whose last turn passes every test.
Config: experiments/verpo.py, with experiments/grpo_checks.py for comparison, on
rl_jax/tasks/environments/duplicate_checks.py.
Source: second hand; constants inferred.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import NOT_NEGATIVE, POSITIVE, SHARE
from rl_jax.kernels.advantages.outcome import degenerate_groups, verpo
from rl_jax.kernels.reductions import masked_mean
from rl_jax.kernels.rewards.unit_tests import KINDS, full_pass_outcome, unit_test_weights, weighted_passes
from rl_jax.kernels.segments import on_tokens, segment_lengths
from rl_jax.methods import grpo, policy_gradient
from rl_jax.methods.method import Method, Signal, check_answers, one_of
from rl_jax.rollouts.turns import required_turns
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The paper's alpha; the other constants are inferred."""
  return policy_gradient.get_config() | {
    "weights": "verpo",  # or "difficulty", "density", "pass_rate"
    "alpha": 2.0,
    "sigma": 0.1,  # pass rates this far apart count as about the same
    "delta": 1e-6,
    "beta": 1.0,  # coefficient of the advantages of turns
    "gamma": 0.95,  # decay of the reward of a full pass, per turn
    "full_pass_reward": 1.0,  # reward of a last attempt that passes all tests; 0: only the tests count
    "scale": "none",  # or "group": each part over its std in the group
    "ddof": 1,
    "epsilon": 1e-6,
  }


RANGES = grpo.RANGES | {
  "alpha": NOT_NEGATIVE, "sigma": POSITIVE, "delta": NOT_NEGATIVE, "beta": NOT_NEGATIVE, "gamma": SHARE,
  "full_pass_reward": NOT_NEGATIVE,
}  # fmt: skip


def build(config: ConfigDict, task: Task) -> Method:
  """VeRPO from its section of a config. Raises ValueError for a task without turns."""
  check_answers(config)
  m, max_turns = config.method, required_turns(task).max_turns
  weighting = {"kind": one_of(m, "weights", KINDS), "alpha": m.alpha, "sigma": m.sigma, "delta": m.delta}
  relative = {"beta": m.beta, "scale": one_of(m, "scale", ("none", "group")), "ddof": m.ddof, "eps": m.epsilon}

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    passes, ids, scored = trajectories.extras["passes"], trajectories.group_ids, trajectories.scored
    mask = trajectories.trained & scored[:, None]
    executed = segment_lengths(trajectories.turn_ids, mask, num_segments=max_turns) > 0
    tests = jnp.ones(passes.shape[::2], bool)
    weights = unit_test_weights(passes, ids, executed, tests, **weighting).weights
    outcome = full_pass_outcome(passes, executed, tests, discount=m.gamma)
    full_pass_rewards = m.full_pass_reward * outcome.discounted
    advantages = verpo(
      weighted_passes(passes, weights, executed), full_pass_rewards, ids, executed, **relative
    ).advantages
    metrics = {
      "degenerate_rows": masked_mean(degenerate_groups(advantages, ids, executed), scored),
      "pass_rate": masked_mean(passes.mean(axis=2), executed),
      "full_pass": masked_mean(outcome.rewards, scored),
    }
    stream = policy_gradient.token_stream(trajectories, on_tokens(advantages, trajectories.turn_ids, mask))
    return Signal({"policy": stream}, metrics)

  return policy_gradient.method(config, task, signal, papers=("2601.03525",), requires=("passes",))
