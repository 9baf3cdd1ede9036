"""Does GRPO make a real pretrained model better at easy arithmetic that it half knows?

SmolLM2-135M-Instruct on sums, products and greatest common divisors of small numbers from reasoning-gym, scored only by
the data sets' own scorers. `python -m rl_jax.fetch smollm2-135m-instruct` downloads the model.

Variant "smoke" ends in a minute and learns nothing; "lora" trains low-rank adapters.

Command: python -m rl_jax.train --config=experiments/smollm2_grpo.py --workdir=runs/smollm2_0 --config.seed=0
Hardware: 2 threads of an AMD EPYC; 1,270 s.
Expected: held_out/sampled_accuracy at iteration 50: 0.625; 1 seed (results/smollm2_grpo_seed0.json). With
  --config.seed=1: held_out/sampled_accuracy at iteration 50: 0.547; 1 seed (results/smollm2_grpo_seed1.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments import common

LEVELS = {
  "sum": {"dataset": "chain_sum", "min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1},
  "long_sum": {"dataset": "chain_sum", "min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 2, "weight": 0.5},
  "product": {"dataset": "products", "min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1},
  "gcd": {"dataset": "gcd", "min_value": 1, "max_value": 9, "weight": 0.5},
}


def get_config(variant: str = "") -> ConfigDict:
  """One seed: a task that is scored in Python has a run per seed."""
  config = common.base()
  config.method = {"name": "rl_jax.methods.grpo", "kl_coefficient": 0.0, "curriculum": "epochs"}
  config.model = {"name": "rl_jax.models.pretrained", "checkpoint": "smollm2-135m-instruct"}
  config.task = {
    "name": "rl_jax.tasks.reasoning_gym",
    "levels": LEVELS,
    "problems": 4096,
    "held_out_fraction": 0.25,
    "answer": "number",
    "system_prompt": "You answer with one number.",
    "prompt_tokens": 48,
    "response_tokens": 16,
  }
  config.num_seeds = 1
  config.num_iterations = 50
  config.prompts_per_iteration = 6
  config.completions_per_prompt = 8
  config.rows_per_microbatch = 16
  config.sampling.update({"temperature": 0.6, "agreement": 1e-4})  # 2.8e-5 was seen: 30 layers of rounding
  config.learning_rate = 2e-5
  config.optimizer.warmup_updates = 5
  config.evaluation.update({"every_iterations": 25, "prompts": 96, "prompts_at_a_time": 48})
  config.checkpoint.update({"every_iterations": 25, "keep": 1})
  config.logging.every_iterations = 1
  if variant == "lora":
    config.model.lora_rank = 16
    config.learning_rate = 3e-4
  elif variant == "smoke":
    config.num_iterations, config.prompts_per_iteration, config.completions_per_prompt = 2, 2, 4
    config.rows_per_microbatch = None
    config.evaluation.update({"every_iterations": 2, "prompts": 4, "samples_per_prompt": 2, "pass_at": (2,)})
    config.checkpoint.every_iterations = 2
  elif variant:
    raise ValueError(f'variant {variant!r} is not known: leave it out, or take one of "smoke", "lora"')
  return config
