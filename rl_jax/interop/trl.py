"""Estimators in TRL's GRPOTrainer: a subclass whose batches carry the advantages of a kernel.

TRL has no option for an estimator. The subclass intercepts the rewards of all processes where the trainer computes
them, and replaces this process's advantages in the batch that the trainer generates. Both methods are those of
GRPOTrainer as of July 2026; if a later version renames them, the class is refused.
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
    estimator: (rewards [B], num_generations) -> advantages [B], as from `arrays.group_estimator`. A reward is the
      weighted sum over the reward functions, NaN if none of them returned one.

  Raises: ValueError: the class lacks one of these methods.
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
  """Weighted sum over the reward functions that returned a reward, as in TRL; NaN if none did.

  Args:
    by_function: tensor [B, K] of rewards, NaN where a function returned none.
    weights: tensor [K].
  """
  rewards, factors = (np.asarray(tensor.detach().cpu().float().numpy()) for tensor in (by_function, weights))
  return np.where(np.isnan(rewards).all(axis=1), np.nan, np.nansum(rewards * factors, axis=1))
