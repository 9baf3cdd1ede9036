"""Turn GAE in two rooms, with a reward for each key (rl_jax/methods/turn_gae.py, arXiv 2504.20073).

Question: what does a critic of turns gain over a critic of tokens, and over group baselines?

method.name=rl_jax.methods.ppo has the critic of tokens. The variants are those of experiments/grpo_rooms.py.

Command: rl-jax train turn_gae --workdir=runs/turn_gae
Expected: no result yet.
"""

from rl_jax.experiments import grpo_rooms


def get_config(variant: str = ""):
  config = grpo_rooms.in_rooms("rl_jax.methods.turn_gae", variant)
  config.task.key_reward = 0.25
  config.method.critic_learning_rate = 1e-3
  return config
