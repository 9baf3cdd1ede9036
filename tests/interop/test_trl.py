"""A TRL trainer with an estimator, by stand-ins for the trainer and its tensors."""

from __future__ import annotations

import types

import numpy as np
import pytest

from rl_jax.interop.arrays import group_estimator
from rl_jax.interop.trl import total_rewards, with_estimator
from rl_jax.kernels.advantages import dr_grpo


class Tensor:
  """The methods of a torch tensor that are used."""

  def __init__(self, values):
    self.values = np.asarray(values, np.float32)

  def detach(self):
    return self

  cpu = float = detach

  def numpy(self):
    return self.values

  def new_tensor(self, values):
    return Tensor(values)

  def __len__(self):
    return len(self.values)


REWARDS = [[1.0, 1.0], [0.0, np.nan], [np.nan, np.nan], [0.0, 4.0]]
"""Of two reward functions: totals 1.5, 0, none and 2 by the weights 1 and 0.5."""


class GRPOTrainer:
  """Process `index` of two, which has two of the four rows that both gather."""

  num_generations, num_generations_eval = 4, 2
  reward_weights = Tensor([1.0, 0.5])

  def __init__(self, index=0, training=True):
    self.accelerator = types.SimpleNamespace(process_index=index)
    self.model = types.SimpleNamespace(training=training)

  def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
    return Tensor(REWARDS)

  def _generate_and_score_completions(self, inputs):
    self._calculate_rewards(inputs, [], [], completion_ids_list=[])
    return {"prompt_ids": inputs, "advantages": Tensor([9.0, 9.0])}


def advantages(**arguments):
  trainer = with_estimator(GRPOTrainer, group_estimator(dr_grpo))(**arguments)
  batch = trainer._generate_and_score_completions("rows")
  assert batch["prompt_ids"] == "rows"
  return batch["advantages"].values


def test_totals_are_weighted_and_unscored_where_no_function_paid():
  np.testing.assert_array_equal(total_rewards(Tensor(REWARDS), Tensor([1.0, 0.5])), [1.5, 0.0, np.nan, 2.0])


def test_each_process_gets_its_rows():
  mean = (1.5 + 0.0 + 2.0) / 3
  np.testing.assert_allclose(advantages(index=0), [1.5 - mean, 0 - mean], rtol=1e-6)
  np.testing.assert_allclose(advantages(index=1), [0, 2.0 - mean], rtol=1e-6)


def test_evaluation_has_groups_of_its_own_size():
  np.testing.assert_allclose(advantages(index=0, training=False), [0.75, -0.75], rtol=1e-6)


def test_a_class_of_yours_is_extended():
  class Mine(GRPOTrainer):
    def _calculate_rewards(self, *args, **kwargs):
      return Tensor([[4.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])

  trainer = with_estimator(Mine, group_estimator(dr_grpo))()
  assert isinstance(trainer, Mine) and type(trainer).__name__ == "MineWithEstimator"
  np.testing.assert_array_equal(trainer._generate_and_score_completions("")["advantages"].values, [3.0, -1.0])


def test_another_class_is_refused():
  with pytest.raises(ValueError, match="dict has no method _calculate_rewards: expected trl.GRPOTrainer"):
    with_estimator(dict, group_estimator(dr_grpo))
