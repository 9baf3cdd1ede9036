"""Estimators in TRL's GRPOTrainer: a subclass whose batches carry the advantages of a kernel.

TRL has no option for an estimator. The subclass takes the rewards where the trainer computes them, which are those of
all processes, and replaces the advantages of this process in what the trainer generates. Both places are methods of
GRPOTrainer of July 2026, which a later version may rename: the class is then refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

REWARDS, BATCH = "_calculate_rewards", "_generate_and_score_completions"
"""Methods of the trainer that are extended."""


def with_estimator(trainer: type, estimator: Callable[..., np.ndarray]) -> type:
  """A subclass of a trainer that uses an estimator.

  Args:
    trainer: trl.GRPOTrainer, or a class of yours that extends it.
    estimator: (rewards [B], num_generations) -> advantages [B], as of `arrays.group_estimator`. A reward is the
      weighted sum over the reward functions, NaN where none of them has one.

  Raises: ValueError: the class has no such methods.
  """
  missing = [name for name in (REWARDS, BATCH) if not hasattr(trainer, name)]
  if missing:
    raise ValueError(f"{trainer.__name__} has no method {missing[0]}: expected trl.GRPOTrainer as of July 2026")

  def calculate_rewards(self: Any, *args: Any, **kwargs: Any) -> Any:
    self._rl_jax_rewards = getattr(super(subclass, self), REWARDS)(*args, **kwargs)
    return self._rl_jax_rewards

  def generate(self: Any, inputs: Any) -> Any:
    batch = getattr(super(subclass, self), BATCH)(inputs)
    generations = self.num_generations if self.model.training else self.num_generations_eval
    advantages = estimator(total_rewards(self._rl_jax_rewards, self.reward_weights), generations)
    own = batch["advantages"]
    first = self.accelerator.process_index * len(own)
    return batch | {"advantages": own.new_tensor(advantages[first : first + len(own)])}

  subclass: type = type(f"{trainer.__name__}WithEstimator", (trainer,), {REWARDS: calculate_rewards, BATCH: generate})
  return subclass


def total_rewards(by_function: Any, weights: Any) -> np.ndarray:
  """Weighted sum over the reward functions that returned one, as TRL has it; NaN where none did.

  Args:
    by_function: tensor [B, K] of rewards, NaN where a function returned none.
    weights: tensor [K].
  """
  rewards, factors = (np.asarray(tensor.detach().cpu().float().numpy()) for tensor in (by_function, weights))
  return np.where(np.isnan(rewards).all(axis=1), np.nan, np.nansum(rewards * factors, axis=1))
