"""Turn-level credit against the loops of make_turns.py."""

from __future__ import annotations

from rl_jax.kernels.advantages import bi_level_gae, gigpo, mt_grpo, turn_gae
from tests.kernels.papers.make_turns import MT


def compute(case, inputs):
  return CASES[case](**inputs)


def anchors(turn_rewards, states, group_ids, mask, step_weight, discount):
  run = lambda normalization: gigpo(
    turn_rewards, states, group_ids, mask, step_weight=step_weight, discount=discount, normalization=normalization
  )
  return {
    f"{name}_{normalization}": value
    for normalization in ("none", "std", "leave_one_out")
    for name, value in run(normalization)._asdict().items()
  }


def turns(turn_rewards, group_ids, mask, turn_weight, discount):
  run = lambda estimate, absent, scale: mt_grpo(
    turn_rewards, group_ids, mask, turn_weight=turn_weight, discount=discount,
    estimate=estimate, absent=absent, scale=scale,
  )  # fmt: skip
  return {name: run(*options) for name, options in MT.items()}


def critic_of_turns(**inputs):
  estimate = turn_gae(**inputs, num_turns=3)
  return {"advantages": estimate.advantages, "returns": estimate.returns}


def critic_of_both(**inputs):
  estimate = bi_level_gae(**inputs, num_turns=3)
  return {"advantages": estimate.advantages, "returns": estimate.returns}


CASES = {"gigpo": anchors, "mt_grpo": turns, "turn_gae": critic_of_turns, "bi_level_gae": critic_of_both}
