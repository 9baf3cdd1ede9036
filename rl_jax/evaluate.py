"""Evaluate a run or a base model on held-out problems: python -m rl_jax.evaluate --workdir=runs/grpo.

With --workdir, or the folder alone, it evaluates a checkpoint of that run: --iteration=newest (the default), best (by
checkpoint.best_metric) or a number. With --config alone it evaluates the model that the experiment starts from: a
pretrained model, another run, or a trained stage in runs/stages. With both, it asks the run's policy the experiment's
problems, also in the other forms of inference of its method, as --config=pdr does. For a run, --config.KEY=VALUE may
change fields of evaluation, sampling, task and mesh; with --config also of method. --output=FILE saves results per
problem; --compare=FILE compares with such a file. Exit status: 0, or 1 after a one-line error.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from rl_jax.configuration import command_line, configs
from rl_jax.configuration.command_line import to_path
from rl_jax.errors import UserError
from rl_jax.launching import initialization
from rl_jax.launching.commands import command
from rl_jax.launching.compilation import keep_programs
from rl_jax.launching.policies import Policies, restored, to_iteration
from rl_jax.methods.method import ModelRole, as_found
from rl_jax.models.model import Params
from rl_jax.runs import evaluations
from rl_jax.runs.directory import find_run
from rl_jax.runs.files import read_json
from rl_jax.training import evaluation, held_out, mesh, state
from rl_jax.training.checkpoints import Checkpoints
from rl_jax.training.experiment import Experiment
from rl_jax.training.held_out import EvaluationResult
from rl_jax.training.seeds import member_seeds
from rl_jax.training.state import TrainState

CHANGEABLE = ("evaluation", "sampling", "task", "mesh")
"""Sections that an evaluation may change; with an experiment's --config also "method", which says how to answer."""

OF_THE_RUN = ("num_seeds", "seed", "learning_rates", "model", "optimizer")
"""Sections that always come from the run, even if --config names another experiment."""


def evaluate(config: ConfigDict, workdir: Path | None, iteration: str = "newest") -> dict[str, Any]:
  """The record of an evaluation (see `rl_jax.runs.evaluations`).

  Args:
    workdir: of a run; None: the start that the config names.
    iteration: "newest", "best" or a number, of the run's checkpoints.

  Raises:
    UserError: one line that says what was got and what to do.
  """
  experiment, device_mesh = initialization.build(config), mesh.make_mesh(config.mesh)
  with contextlib.closing(experiment.task):
    if workdir is None:
      if experiment.method.initial is as_found:
        experiment = _policy_alone(experiment)
      policies = _start(experiment, device_mesh)
    else:
      policies = restored(experiment, device_mesh, workdir, iteration)
    answer, seeds = held_out.answers_of(experiment, device_mesh), held_out.policies(experiment, policies.params)
    answered = answer(seeds, policies.iteration)
    own = _own_evaluations(experiment, device_mesh, seeds, policies.iteration)
    for note in experiment.task.notes():
      print(note, file=sys.stderr)
    return _record(experiment, policies.what, answered, own)


def _own_evaluations(
  experiment: Experiment, device_mesh: jax.sharding.Mesh, seeds: TrainState, iteration: int
) -> dict[str, np.ndarray]:
  """Metrics of the method's own evaluations; of none that ask models beside the policy, which are not restored."""
  names = experiment.method.evaluations
  if names and experiment.models.keys() != {"policy"}:
    print(f"not measured, as models beside the policy are not restored: {', '.join(names)}", file=sys.stderr)
  elif names:
    return held_out.own_evaluations(experiment, device_mesh, seeds, iteration)
  return {}


def _policy_alone(experiment: Experiment) -> Experiment:
  """The experiment with the policy alone, and without adapters, which are added in training."""
  method = experiment.method
  own = method.evaluations if method.models.keys() == {"policy"} else {}
  alone = dataclasses.replace(method, models={"policy": ModelRole()}, evaluations=own)
  return dataclasses.replace(experiment, method=alone, models={"policy": experiment.models["policy"].base})


def _start(experiment: Experiment, device_mesh: jax.sharding.Mesh) -> Policies:
  starts = initialization.find(experiment, Path("runs/evaluated"), _trained_before) or {}
  if "policy" not in starts:
    raise UserError(
      "the config names no start (init_from is empty, its model comes with no parameters): give the --workdir of a run"
    )
  for start in starts.values():
    for warning in start.warnings:
      print(f"{start.origin}: {warning}", file=sys.stderr)
  params = {role: start.params for role, start in starts.items()}
  initial = params if experiment.method.initial is as_found else _initial(experiment, params)
  abstract = held_out.abstract_policy(experiment, device_mesh)
  broadcast = lambda x, like: jax.device_put(jnp.broadcast_to(x, like.shape).astype(like.dtype), like.sharding)
  origins = ", ".join(dict.fromkeys(start.origin for start in starts.values()))
  return Policies(jax.tree.map(broadcast, initial["policy"], abstract), 0, origins)


def _initial(experiment: Experiment, params: dict[str, Params]) -> dict[str, Params]:
  """Policies after the method's `initial`, with a leading axis of seeds."""
  policies = jax.jit(lambda params: state.init(experiment, params).seeds.models["policy"].params)
  return {"policy": policies(params)}


def _trained_before(stage: ConfigDict, folder: Path) -> bool:
  """Return True; raise UserError if the stage is not trained, because evaluation trains nothing."""
  with Checkpoints(folder / "checkpoints") as checkpoints:
    newest = checkpoints.newest_intact() or 0
  if newest < stage.num_iterations:
    raise UserError(
      f"the stage that init_from names is not trained ({folder}): train the experiment first, or name the stage's "
      "folder where it is, as in --config.init_from=elsewhere/stages/warm_start-0123abcd"
    )
  return True


def _record(
  experiment: Experiment, what: str, answered: EvaluationResult, own: dict[str, np.ndarray]
) -> dict[str, Any]:
  config, task, (sampled, greedy) = experiment.config, experiment.task, answered.answers
  if not sampled.scored.any():
    reasons = "; ".join(task.reasons()) or "call its verifier once on a response to see what it lacks"
    raise UserError(f"no response has a verdict, so there is nothing to report: {reasons}")
  counts = sampled.correct.sum(axis=2)
  pass_at: dict[int, Any] = {
    k: np.mean([evaluation.pass_at_k(jnp.asarray(seed), k) for seed in sampled.correct], axis=0, dtype=np.float64)
    for k in sorted({1, *config.evaluation.pass_at})
  }
  right: Any = None if greedy is None else greedy.correct[..., 0].mean(axis=0)
  tokens = sampled.lengths.sum() + (0 if greedy is None else greedy.lengths.sum())
  levels = sampled.levels[0].tolist()
  return {
    "evaluation_format": evaluations.FORMAT,
    "what": what,
    "task": config.task.name,
    "seeds": member_seeds(config).tolist(),
    "samples_per_prompt": config.evaluation.samples_per_prompt,
    "summary": evaluations.summarise(pass_at, right, levels, task.levels),
    "unscored": float(1 - sampled.scored.mean()),
    "truncated": float(sampled.truncated.mean()),
    "response_length": float(sampled.lengths.mean()),
    "tokens_per_second": float(tokens / answered.seconds),
    "own_evaluations": evaluations.by_seed(own),
    "problems": {
      "data": task.fingerprint or _sha256(config.task.to_dict()),
      "ids": np.asarray(evaluation.questions(experiment)).tolist(),
      "levels": [task.levels[level] for level in levels],
      "correct": counts.tolist(),
      "pass_at": {str(k): values.tolist() for k, values in pass_at.items()},
      "greedy": None if right is None else right.tolist(),
    },
  }


def _sha256(values: dict[str, Any]) -> str:
  return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def config_of(flags: command_line.Flags) -> ConfigDict:
  """The resolved config of the evaluation.

  Raises: UserError: neither --config nor --workdir is given, or a field is unknown or may not be changed.
  """
  if flags.workdir is None:
    if flags.config is None:
      raise UserError("nothing to evaluate: give the --workdir of a run, or an experiment's --config")
    return configs.resolve_experiment(flags.config, flags.overrides)
  changeable = CHANGEABLE if flags.config is None else (*CHANGEABLE, "method")
  for override in flags.overrides:
    section = override.partition("=")[0].partition(".")[0]
    if section not in changeable:
      raise UserError(
        f"--config.{override}: a run is evaluated as it was trained; only fields of {', '.join(changeable)} can differ"
      )
  saved = read_json(find_run(flags.workdir).config)
  changes = dict(override.split("=", 1) for override in flags.overrides)
  if flags.config is None:
    return configs.resolve_config(saved, changes)
  values = configs.resolve_experiment(flags.config, flags.overrides).to_dict()
  return configs.resolve_config(values | {key: saved[key] for key in OF_THE_RUN if key in saved})


def _run_alone(flags: command_line.Flags) -> command_line.Flags:
  """Parse the flags; a folder in place of an experiment is taken as --workdir."""
  if flags.config is None or flags.workdir is not None:
    return flags
  folder = os.path.expanduser(flags.config)
  if os.path.isdir(folder):
    no_experiment: Any = None
    return flags._replace(config=no_experiment, workdir=Path(folder))
  return flags


@command("rl_jax.evaluate")
def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  parser = command_line.make_parser("evaluate", __doc__.splitlines()[0], positional=True)
  parser.add_argument("--iteration", metavar="N", type=to_iteration, help="newest (the default), best, or a number")
  parser.add_argument("--format", choices=("text", "json"), default="text", help="of what is printed")
  parser.add_argument("--output", metavar="FILE", type=to_path, help="file for results per problem, as JSON")
  parser.add_argument("--compare", metavar="FILE", type=to_path, help="an --output of another evaluation")
  flags = _run_alone(command_line.parse_flags(argv, parser, required=()))
  options = flags.options
  if options.iteration and flags.workdir is None:
    raise UserError(f"--iteration={options.iteration} is one of a run's checkpoints: give its --workdir")
  other = evaluations.read(options.compare) if options.compare else None
  keep_programs()
  record = evaluate(config_of(flags), flags.workdir, options.iteration or "newest")
  if options.output:
    evaluations.write(options.output, record)
  if other is not None:
    record["comparison"] = evaluations.compare(record, other, str(options.compare))
  print(evaluations.as_json(record) if options.format == "json" else evaluations.text(record))
  return 0


if __name__ == "__main__":
  sys.exit(main())
