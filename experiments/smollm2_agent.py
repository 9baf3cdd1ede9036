"""Does credit of turns teach a real model to use a calculator faster than credit of episodes?

SmolLM2-135M-Instruct on sums from reasoning-gym that it rarely solves without help, with a calculator that it may call
once before it answers. Information gain of turns (IGPO, rl_jax/methods/igpo.py) is compared with GRPO, the variant
"grpo".
`python -m rl_jax.fetch smollm2-135m-instruct` downloads the model, `make tasks` installs the packages.

Variant "smoke" ends in a minute or two and learns nothing.

Command: python -m rl_jax.train smollm2_agent --workdir=runs/smollm2_agent_seed0 --config.seed=0
Hardware: 2 threads of an AMD EPYC; 527 s.
Expected: held_out/sampled_accuracy at iteration 8: 1.000; 1 seed (results/smollm2_agent_seed0.json). With
  --config.seed=1: held_out/sampled_accuracy at iteration 8: 0.979; 1 seed (results/smollm2_agent_seed1.json). Variant
  "grpo": held_out/sampled_accuracy at iteration 8: 0.990; 1 seed (results/smollm2_agent_grpo_seed0.json). With both:
  held_out/sampled_accuracy at iteration 8: 0.990; 1 seed (results/smollm2_agent_grpo_seed1.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments import smollm2_grpo

LEVELS = {
  "two": {"dataset": "chain_sum", "min_terms": 2, "max_terms": 2, "min_digits": 2, "max_digits": 3},
  "three": {"dataset": "chain_sum", "min_terms": 3, "max_terms": 3, "min_digits": 2, "max_digits": 3},
}
PROMPT = "You solve problems with a calculator."
EXAMPLE = """State the final answer to the following arithmetic problem: 312 + 30 =<|im_end|>
<|im_start|>assistant
<tool>312 + 30</tool>
<result>342</result>
342<|im_end|>
<|im_start|>user
{question}"""
"""An example of a call before the question: without it the model almost never makes one."""


def get_config(variant: str = "") -> ConfigDict:
  """One seed: a task that is scored in Python has a run per seed."""
  config = smollm2_grpo.get_config("smoke" if variant == "smoke" else "")
  method = "grpo" if variant == "grpo" else "igpo"
  config.method = {"name": f"rl_jax.methods.{method}", "kl_coefficient": 0.0, "curriculum": "epochs"}
  config.task = {
    "name": "rl_jax.tasks.tool_use",
    "source": "reasoning_gym",
    "tool": "calculator",
    "levels": LEVELS,
    "problems": 4096,
    "held_out_fraction": 0.25,
    "answer": "number",
    "system_prompt": PROMPT,
    "question_template": EXAMPLE,
    "prompt_tokens": 128,
    "max_turns": 2,
    "turn_tokens": 24,
    "observation_tokens": 16,
    "forced_answer_tokens": 8,
  }
  if variant != "smoke":
    config.num_iterations = config.checkpoint.every_iterations = 8
    config.evaluation.update({"every_iterations": 2, "samples_per_prompt": 1, "pass_at": (), "greedy": False})
  if variant not in ("", "grpo", "smoke"):
    raise ValueError(f'variant {variant!r} is not known: leave it out, or take one of "grpo", "smoke"')
  return config
