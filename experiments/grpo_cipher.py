"""GRPO on words in cipher (rl_jax/methods/grpo.py, rl_jax/tasks/cipher.py): one number for a whole response.

Question: how fast is a partly additive outcome learned without credit for its parts?

Command: rl-jax train grpo_cipher --workdir=runs/grpo_cipher
Study: rl-jax study scar --only=grpo --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 11 s.
Expected: held_out/sampled_accuracy after 40,000 tokens: grpo 0.791 ± 0.159; 6 seeds (results/scar.json).
"""

from rl_jax.experiments import scar


def get_config(variant: str = ""):
  return scar.on_cipher("rl_jax.methods.grpo", variant)
