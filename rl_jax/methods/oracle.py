"""Oracle: true values of steps as advantages, the best that dense credit could do; a control for studies.

Idea: the advantage of a step is the change that it makes in the probability of success,

  A = V(text after the step) - V(text before it),   on all tokens of the step                 (no other credit)

with V from the task if it has exact values (see rl_jax/tasks/chain_values.py), else the mean reward of completions of
the policy, whose tokens do not count.

Metrics: those of policy_gradient.py. Config: experiments/oracle.py.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import COUNT
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Method, Signal, one_of
from rl_jax.rollouts import step_values
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

TRUTHS = ("task", "exact", "completions")


def get_config() -> dict[str, Any]:
  """Exact values, if the task has them."""
  return policy_gradient.get_config() | {
    "truth": "task",  # "exact" if the task has them, else "completions"
    "completions": 32,  # from the start of each step
    "max_steps": 16,  # with completions of their own
  }


RANGES = {"completions": COUNT, "max_steps": COUNT}


def build(config: ConfigDict, task: Task) -> Method:
  """The oracle from its section of a config. ValueError: exact values of a task that knows none."""
  m = config.method
  one_of(m, "truth", TRUTHS)
  is_exact = m.truth == "exact" or (m.truth == "task" and task.step_values is not None)
  if is_exact and task.step_values is None:
    raise ValueError("method.truth='exact': the task has no exact values of steps; use 'completions'")

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    values = step_values.exact(task, trajectories) if is_exact else step_values.from_completions(trajectories)
    return Signal({"policy": policy_gradient.token_stream(trajectories, values.after - values.before)})

  rollout = policy_gradient.independent(config, task)
  requires: tuple[str, ...] = ()
  if not is_exact:
    requires = step_values.READ
    rollout = step_values.with_completions(rollout, task, m.completions, m.max_steps, sampling_from(config))
  return policy_gradient.method(config, task, signal, papers=(), requires=requires, rollout=rollout)
