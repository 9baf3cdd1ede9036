"""Small experiments of all methods of the package, found by listing, with a verifier that half pleases any policy."""

from __future__ import annotations

import dataclasses
import pkgutil
from pathlib import Path

import jax

from rl_jax import methods
from rl_jax.configuration import configs, parts
from rl_jax.launching import initialization
from rl_jax.training import iteration, mesh
from rl_jax.training.experiment import Experiment
from rl_jax.training.trainer import Trainer
from tests.methods.two_iterations import even

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
METHODS = [
  info.name
  for info in pkgutil.iter_modules(methods.__path__)
  if hasattr(parts.load(f"{methods.__name__}.{info.name}"), "build")
]
STAGE = {
  "supervised": ("grpo", "warm_start"),
  "value_pretraining": ("grpo", "critic"),
  "verifier_training": ("pav", "verifier"),
  "refinement_start": ("pdr", "reading"),
  "opd": ("opd", "distillation"),
  "distillation": ("opd", "bridge"),
  "dmoerm": ("dmoerm", "experts"),
  "learned_reward": ("dmoerm", ""),
}
"""Methods that no experiment is named after: an experiment, and the stage of it, or "" for the run itself."""
DIGITS_END = f"sampling.stop_sequences={tuple((token,) for token in range(2, 10))}"
"""An untrained policy ends few turns."""
OF_METHOD = {
  "oracle": ("method.truth=completions", "method.completions=2", "method.max_steps=2"),  # exact ones are 0 of garbage
  "tppo": ("method.critic_init_from=policy",),
  "spae": ("method.max_steps=2",),
  "spo_tree": ("method.branching=(2, 2)", "method.segment_tokens=3"),
  "dump": ("task.levels={'two': {'operations': 2}, 'three': {'operations': 3}}",),
  "igpo": ("task.levels={'one': {'hops': 1}}",),
  "gigpo": ("task.max_turns=2", "method.normalization=leave_one_out"),
  "mt_grpo": ("task.max_turns=2",),
  "turn_gae": ("task.max_turns=2",),
  "dler": ("method.target_shares=(1.0,)",),  # an untrained policy seldom ends sooner
  "dler_merge": ("method.target_shares=(1.0,)", "method.base_init_from=policy"),
  "aspo": ("task.thinking=2",),
  "v05": ("method.prior=regression",),
  "adhint": ("method.w_min=0.4",),  # even a prompt that is always solved has a hint
  "pdr": ("method.drafts=3", "method.k=2"),  # more drafts than a workspace shows
  "r3": ("method.reflect_below=1.0",),  # whatever is wrong is asked again
  "opd": ("method.teacher.init_from=",),
  "distillation": ("method.teacher.init_from=",),
  "dmoerm": ("method.reward.init_from=", "method.reward.model.combine=mean"),  # an untrained router spares some members
  "learned_reward": ("method.reward.init_from=elsewhere#reward",),  # drawn, as no start is given
  "slate": (DIGITS_END,),
  "cm2": ("task.flip_rate=0.4",),  # an untrained policy seldom satisfies an item that is judged rightly
  "scar": ("method.orders=2", "method.kl_in_reward=0.1"),  # orders are drawn, and a reference is kept
}
UNSEEN = {"dmoerm": ("['experts']['bias']",)}
"""Trained parameters without a gradient: a bias is the same for both responses of a pair."""
SMALL = (
  "num_seeds=1",
  "prompts_per_iteration=4",
  "logging.every_iterations=1",
  "logging.samples=16",
  "learning_rate=0.01",
  "optimizer.warmup_updates=0",
  "optimizer.epsilon=1e-2",  # Adam's first step is the sign of the gradient, else, and rounding rules where that is 0
  "model.width=16",
  "model.heads=8",
  "model.key_value_heads=8",
  "model.head_width=2",
  "model.feed_forward=16",
)


def config_of(name: str, *overrides: str):
  """The variant "smoke" of a method's experiment, or of a stage of one, made smaller yet."""
  experiment, stage = STAGE.get(name, (name, ""))
  config = configs.resolve(f"{EXPERIMENTS / experiment}.py:smoke")
  shorter = ["task.levels.four.operations=2"] if "four" in config.task.get("levels", {}) else []
  if stage:
    config = initialization.stage_config(config, stage)
  plain = config.to_dict() | {"init_from": "", "stages": {}}
  changes = [*SMALL, *shorter, *OF_METHOD.get(name, ()), *overrides]
  return configs.resolve_config(plain, dict(change.split("=", 1) for change in changes))


def built(config) -> Experiment:
  """The parts of a config, with a verifier that likes responses whose tokens add up to an even number."""
  experiment = initialization.build(config)
  return dataclasses.replace(experiment, task=even(experiment.task))


def trainer_of(experiment: Experiment, given=None) -> Trainer:
  """A trainer that can advance, and not evaluate, which takes as long to compile."""
  trainer = Trainer(experiment, mesh.make_mesh(experiment.config.mesh), given)
  run = jax.jit(lambda state: iteration.run(experiment, state), out_shardings=(trainer._shardings, None))
  trainer.loop.programs = {"run": run}
  return trainer
