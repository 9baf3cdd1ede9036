"""Does GRPO teach a small pretrained model to write functions that pass their unit tests?

SmolLM2-135M-Instruct on 64 one-line functions, experiments/data/functions.jsonl. The reward is the share of the tests
that the last block of code passes, in the sandbox. `python -m rl_jax.fetch smollm2-135m-instruct` downloads the model,
`make tasks` installs the packages.

Variant "smoke" ends in a few minutes and learns nothing.

Command: rl-jax train smollm2_code --workdir=runs/smollm2_code
Expected: no result yet.
"""

from ml_collections import ConfigDict

from rl_jax.experiments import common, smollm2_grpo


def get_config(variant: str = "") -> ConfigDict:
  """One seed: a task that is scored in Python has a run per seed."""
  config = smollm2_grpo.get_config(variant)
  config.task = {
    "name": "rl_jax.tasks.json_lines",
    "file": common.data("functions.jsonl"),
    "held_out_fraction": 0.25,
    "system_prompt": "You answer with one short Python function in a block of code.",
    "verifier": "rl_jax.tasks.verifiers.programs:unit_tests",
    "verifier_arguments": {"reward": "share"},
    "prompt_tokens": 80,
    "response_tokens": 64,
  }
  config.num_iterations = 40 if not variant else config.num_iterations
  config.evaluation.update({"every_iterations": 20 if not variant else 2, "prompts": 12, "prompts_at_a_time": 12})
  config.checkpoint.every_iterations = config.evaluation.every_iterations
  return config
