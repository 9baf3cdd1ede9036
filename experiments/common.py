"""Shared parts of the experiments: every field with its unit, the standard task and model, the warm start, variants.

Plain data. The sections `method`, `task` and `model` list only fields that differ from the defaults of the module that
they name.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict


def base() -> ConfigDict:
  """All fields that every run has."""
  return ConfigDict(
    {
      "seed": 0,  # the first seed; the others count up from it
      "num_seeds": 3,  # run together, shown as mean and spread; counted once per learning rate
      "num_iterations": 100,
      "num_tokens": None,  # token budget per seed (all generated tokens count); ends the run early
      "prompts_per_iteration": 32,
      "completions_per_prompt": 8,
      "epochs": 1,  # passes over one iteration's rows
      "minibatches_per_epoch": 1,  # optimiser updates per pass
      "minibatches_of": "groups",  # all rows of a prompt stay together; "rows": single rows are shuffled
      "rows_per_microbatch": None,  # rows differentiated at a time; None or 0: the whole minibatch
      "length_buckets": 1,  # layouts for rows sorted by length, see training/lengths.py; 1: all rows use all slots
      "staleness": 0,  # iterations by which the sampling policy is behind, as in asynchronous RL; 0: none
      "learning_rate": 3e-4,  # peak, of the policy
      # several rates: every seed is trained with each of them, in parallel in one program; rates of other models scale
      # with the policy's
      "learning_rates": (),
      "optimizer": {
        "schedule": "constant",  # or "linear", "cosine": decay to final_share over the run
        "final_share": 0.1,  # share of the peak at the end
        "warmup_updates": 5,
        "beta1": 0.9,
        "beta2": 0.99,
        "epsilon": 1e-8,
        "weight_decay": 0.0,
        "no_weight_decay": ("scale", "embedding"),  # names of parameters without weight decay
        "max_gradient_norm": 1.0,  # 0: no clipping
        "parameter_average": 0.0,  # decay per update; above 0, evaluation uses the average
        "state_dtype": "float32",  # dtype of the moments between updates
        "master_weights": "float32",  # dtype of the copies of narrower parameters that are updated; or "none"
        "gradient_dtype": "float32",  # dtype in which gradients of micro-batches accumulate
        "max_skipped_updates": 10,  # the run stops after this many non-finite updates in a row
      },
      "sampling": {
        "temperature": 1.0,
        "top_k": 0,  # 0: all
        "top_p": 1.0,
        "min_p": 0.0,
        "stop_sequences": (),  # sequences of token ids; tasks with text also have task.stop_texts
        # Largest mismatch of sampler and trainer in the first iteration, in float32: KL, and |ratio - 1| relative to
        # max(1, |logprob|). A deep pretrained model has larger rounding errors.
        "agreement": 1e-5,
      },
      "evaluation": {
        "every_iterations": 10,  # also at the start and the end; 0: never
        "prompts": 128,  # held-out prompts, the same in every evaluation and for every seed
        "prompts_seed": 0,
        "prompts_at_a_time": None,  # prompts per program, for tasks scored in Python; None: all
        "prompt_blocks": 0,  # number of blocks of these prompts whose accuracies are recorded; studies resample them
        "samples_per_prompt": 4,
        "pass_at": (4,),
        "greedy": True,
        "credit_prompts": 0,  # number of problems on which credit is compared with true values
        "credit_samples": 32,  # completions from each end of a step that estimate its true value
      },
      "checkpoint": {
        "every_iterations": 50,  # also at the end and when stopped; 0: only then
        "keep": 2,  # number of newest checkpoints to keep
        "keep_best": 1,  # number of best checkpoints to keep, by best_metric
        "best_metric": "held_out/sampled_accuracy",
      },
      "logging": {
        "every_iterations": 5,  # iterations per compiled call and progress line
        "samples": 4,  # decoded rows per seed and progress line; 0: none
        "tensorboard": True,
        # further views of the metrics, among "wandb", "mlflow" and "trackio", as in wandb,mlflow; each reads its own
        # environment variables, such as WANDB_MODE=offline or MLFLOW_TRACKING_URI; one that fails is dropped and noted
        "trackers": (),
        "report": True,  # report.png and report.html at the end; `rl-jax report` writes them at any time
        "profile_iteration": None,  # profile the call that contains this iteration
      },
      "mesh": {
        "data": -1,  # number of devices; -1: all remaining ones
        "fsdp": 1,
        "tensor": 1,
        "rules": {},  # changes to the table in rl_jax/training/mesh.py, logical axis: "mesh axes, with commas"
        "rollout_rules": {},  # further changes during generation
      },
      "init_from": "",  # a stage below, or "run directory" or "run directory@hash" of another run
      "stages": {},  # by name: fields that differ from this config
      "method": {"name": ""},
      "task": {"name": "rl_jax.tasks.chain"},
      "model": {
        "name": "rl_jax.models.model",
        "width": 64,
        "layers": 2,
        "heads": 4,
        "key_value_heads": 2,
        "head_width": 16,
        "feed_forward": 256,
      },
    }
  )


def warm_start() -> dict:
  """A stage of supervised learning on the task's imperfect demonstrations; one seed, shared by the experiments."""
  return {
    "method": {"name": "rl_jax.methods.supervised"},
    "seed": 1000,
    "num_seeds": 1,
    "num_iterations": 600,
    "num_tokens": None,
    "prompts_per_iteration": 256,
    "completions_per_prompt": 1,
    "epochs": 1,
    "minibatches_per_epoch": 1,
    "minibatches_of": "groups",
    "rows_per_microbatch": None,
    "staleness": 0,
    "learning_rate": 3e-3,
    "learning_rates": (),
    "optimizer": {"schedule": "cosine", "warmup_updates": 50, "weight_decay": 0.0, "parameter_average": 0.0},
    "evaluation": {"every_iterations": 100, "credit_prompts": 0},
    "checkpoint": {"every_iterations": 100},
    "logging": {"every_iterations": 50},
  }


def critic() -> dict:
  """A stage that trains a critic on the warm start's answers, for methods that use it as "critic#critic"."""
  return warm_start() | {
    "init_from": "warm_start",
    "method": {"name": "rl_jax.methods.value_pretraining"},
    "seed": 3000,
    "num_iterations": 300,
    "prompts_per_iteration": 256,
    "epochs": 2,
    "learning_rate": 2e-3,
  }


def policy_gradient(method: str) -> ConfigDict:
  """Config of the standard comparison: four operations modulo 10, from the shared warm start."""
  config = base()
  config.method.name = method
  config.task.levels = {"four": {"operations": 4, "operators": "+-*", "modulus": 10}}
  config.stages = {"warm_start": warm_start(), "critic": critic()}
  config.init_from = "warm_start"
  return config


LEVELS = {
  "easy": {"operations": 2, "operators": "+-", "modulus": 10},
  "hard": {"operations": 16, "operators": "+-*", "modulus": 97},
}
"""Easiest and hardest setting of the chain task."""


DECEPTIVE = {
  "lure_operator": "-",
  "step_error_rate": 0.05,
  "skip_rate": 0.0,
  "recheck_rate": 0.05,
}
"""Chains whose demonstrations lure into a wrong step: success is rare, and the most likely response is wrong. Above a
`lure_rate` of one half the likeliest step is wrong, at one half it is a tie."""

HORIZONS: dict[str, dict[str, Any]] = {
  "deceptive_4": {"level": "four", "operations": 4, "prompts": 16, "rates": {"lure_rate": 0.7}},
  "deceptive": {"level": "eight", "operations": 8, "prompts": 16, "rates": {"lure_rate": 0.7}},
  "deceptive_16": {
    "level": "sixteen",
    "operations": 16,
    "prompts": 32,
    "rates": {"lure_rate": 0.5, "step_error_rate": 0.02, "recheck_rate": 0.02},
  },
}
"""Lengths and rates of deceptive chains and numbers of prompts per iteration, by variant. Sixteen steps are rarely all
right, so their demonstrations slip less."""


def deceptive(config: ConfigDict, name: str = "deceptive") -> ConfigDict:
  """The config on deceptive chains, from a warm start long enough to match its demonstrations."""
  horizon = HORIZONS[name]
  config.task = {
    "name": config.task.name,
    "levels": {horizon["level"]: {"operations": horizon["operations"], "operators": "+-", "modulus": 10}},
    **DECEPTIVE,
    **horizon["rates"],
  }
  config.prompts_per_iteration = horizon["prompts"]
  config.minibatches_per_epoch = 4
  config.learning_rate = 2e-4  # best for the oracle, near the best for GRPO: studies/settings.py
  config.num_iterations = 60
  config.stages.warm_start.update({"num_iterations": 1200, "prompts_per_iteration": 128})
  if horizon["operations"] > 8:
    _start_on_short_chains(config, horizon["level"])
  return config


def _start_on_short_chains(config: ConfigDict, level: str):
  """Let the warm start go on from one policy that has learned eight operations, then these.

  From nothing it learns the form of a response alone, and guesses; and of six that went on from eight operations by
  themselves, two had not learned all steps in 600 iterations (a trial, not kept). So starts share what they know and
  differ by the data of the last 150 iterations.
  """
  one = config.stages.warm_start.to_dict()
  short = {"levels": {level: {"operations": 8}}, **DECEPTIVE, **HORIZONS["deceptive"]["rates"]}
  config.stages.short_start = {**one, "task": short}
  config.stages.long_start = {**one, "init_from": "short_start", "num_iterations": 600}
  config.stages.warm_start.update({"init_from": "long_start", "seed": 1100, "num_iterations": 150})
  config.sampling.agreement = 1e-4  # over responses of this length the largest rounding error exceeds 1e-5


def tuned(method: str) -> dict:
  """A stage of sixty iterations of a method from the warm start, one seed."""
  return {
    "init_from": "warm_start",
    "method": {"name": method},
    "seed": 2000,
    "num_seeds": 1,
    "num_iterations": 60,
    "num_tokens": None,
    "completions_per_prompt": 8,
    "epochs": 1,
    "minibatches_per_epoch": 4,
    "rows_per_microbatch": None,
    "staleness": 0,
    "learning_rate": 1e-4,
    "learning_rates": (),
    "optimizer": {"warmup_updates": 5},
    "evaluation": {"every_iterations": 20, "credit_prompts": 0},
    "checkpoint": {"every_iterations": 60},
    "logging": {"every_iterations": 20},
  }


def half_way(config: ConfigDict) -> ConfigDict:
  """The config on deceptive chains, from the policy after 60 iterations of GRPO, about 150,000 tokens."""
  config = deceptive(config)
  config.stages.half_way = tuned("rl_jax.methods.grpo")
  config.init_from = "half_way"
  return config


VERBOSE = {"recheck_rate": 0.6, "skip_rate": 0.15, "spare_tokens": 11}
"""Rates and limit of verbose chains: four operations take 11 tokens written once, 19 written twice; the limit is 22."""


def verbose(config: ConfigDict) -> ConfigDict:
  """The config with responses of free length: the start writes most steps twice and leaves out some.

  A second copy of a step adds nothing new and costs two tokens. A step that is left out saves two tokens, and the next
  step takes two operations at once. On four operations modulo 10 the start writes 6 to 19 tokens, 14 on average, and
  45 % of its responses are right: about 10 % at 9 tokens, 30 % at 11 to 13, 60 % at 15 to 17.
  """
  config.task.update(VERBOSE)
  return config


def smoke(config: ConfigDict) -> ConfigDict:
  """The config made to end in seconds: four iterations of a tiny model on chains modulo 2, whose answer is 0 or 1.

  A warm start of one second teaches the form of a response and little arithmetic, so the policy is right about half of
  the time: groups have right and wrong answers, and every iteration has a gradient. In forty iterations accuracy rises
  from 0.5 to 0.7, as the policy becomes more certain of the form and learns that 0 is the more frequent answer.
  """
  config.num_seeds = 2
  config.num_iterations = 4
  config.prompts_per_iteration = 4
  config.completions_per_prompt = 8
  config.learning_rate = 1e-2
  config.evaluation.update({"every_iterations": 2, "prompts": 32})
  config.checkpoint.every_iterations = 2
  config.logging.every_iterations = 2
  config.model.update({"width": 16, "layers": 1, "heads": 2, "key_value_heads": 1, "head_width": 8, "feed_forward": 32})
  if config.task.name == "rl_jax.tasks.chain":
    for level in config.task.levels.values():
      level.modulus = 2
  of_start = {"num_iterations": 40, "prompts_per_iteration": 64, "learning_rate": 3e-2}
  for name, stage in config.stages.items():
    stage.update(of_start if name == "warm_start" else {"num_iterations": 20, "prompts_per_iteration": 8})
    stage.optimizer.warmup_updates = 10
    for section in ("evaluation", "checkpoint", "logging"):
      stage[section].every_iterations = 20
  return config


VARIANTS: dict[str, Callable[[ConfigDict], ConfigDict]] = {
  "smoke": smoke,
  **{name: functools.partial(deceptive, name=name) for name in HORIZONS},
  "half_way": half_way,
  "verbose": verbose,
}
"""Changes to a config by the name of the variant; the variants "easy" and "hard" are separate."""


def variant(config: ConfigDict, name: str) -> ConfigDict:
  """The variant of a config: "" leaves it as it is; "smoke" ends in seconds; "easy" and "hard" are the easiest and the
  hardest setting of the task. "deceptive", "deceptive_4" and "deceptive_16" start with a wrong most likely response,
  "half_way" from a partly trained policy on "deceptive", and "verbose" with responses of free length."""
  if name in VARIANTS:
    return VARIANTS[name](config)
  if name in LEVELS:
    config.task.levels = {name: LEVELS[name]}
  elif name != "":
    known = ", ".join(f'"{known}"' for known in (*VARIANTS, *LEVELS))
    raise ValueError(f"variant {name!r} is not known: leave it out, or take one of {known}")
  return config


def data(name: str) -> str:
  """The path of a file in experiments/data: relative to the current folder if it is below, as in a checkout."""
  file = Path(__file__).resolve().parent / "data" / name
  return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)
