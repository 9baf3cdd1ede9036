"""Interface of a method: five roles over one state, and the models that it names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jaxtyping import Array, PRNGKeyArray
from ml_collections import ConfigDict

from rl_jax.curricula.curriculum import Curriculum
from rl_jax.kernels.reductions import Mean
from rl_jax.methods._ranges import check_answers as check_answers
from rl_jax.methods._ranges import check_options as check_options
from rl_jax.methods._ranges import ranges_of as ranges_of
from rl_jax.methods._streams import Loss as Loss
from rl_jax.methods._streams import Outputs as Outputs
from rl_jax.methods._streams import Signal as Signal
from rl_jax.methods._streams import Stream as Stream
from rl_jax.methods._streams import Streams as Streams
from rl_jax.methods._streams import Term as Term
from rl_jax.models.model import Params
from rl_jax.rollouts.rollout import Models, Rollout
from rl_jax.trajectories import Trajectories

LossFunction = Callable[[Outputs, Trajectories, Streams], Loss]
"""(outputs, trajectories, streams) -> Loss"""
Evaluation = Callable[[Models, PRNGKeyArray], Mapping[str, Mean]]
"""(models with the evaluated parameters, key) -> metrics"""


@dataclasses.dataclass(frozen=True)
class ModelRole:
  """One of the models that a method names.

  Attributes:
    config: fields in which its section `model` differs from the config's, including `name`; a method reads them from
      its own section, as in method.teacher.model.
    init_from: source of its parameters: another role of the method (where shapes agree; the rest is freshly
      initialised), a stage, or the folder of a run, as in a config's `init_from`. #critic after it selects a model
      other than that run's policy. "": freshly initialised, or the checkpoint of a pretrained model. For the policy
      the config's field applies.
    outputs: names of outputs that loss and `Method.scoring` read, see rl_jax/models/outputs.py. A loss reads those of
      the models that it trains, and of other models those that depend on the parameters alone ("readout").
    heads: number of scalars in `values` and `rewards`.
    trained: True if a loss trains it, or path of a parameter -> whether it is trained; a frozen model has no optimiser.
    learning_rate: its learning rate; None: the config's.
    loss: (outputs, trajectories) -> Loss, from the outputs of this model alone. It trains the model before it scores,
      but after all models without their own loss have scored, in as many passes and minibatches as the policy takes
      later. None: the method's `loss` trains it.
  """

  config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  init_from: str = ""
  outputs: tuple[str, ...] = ("logprobs", "entropies")
  heads: int = 1
  trained: bool | Callable[[tuple[str, ...]], bool] = True
  learning_rate: float | None = None
  loss: Callable[[Outputs, Trajectories], Loss] | None = None


def as_found(params: dict[str, Params]) -> dict[str, Params]:
  """Parameters unchanged: each model starts from its `init_from`."""
  return params


@dataclasses.dataclass(frozen=True)
class Method:
  """A method of a paper. The trainer runs its roles and never looks inside their states.

  Attributes:
    curriculum: selects prompts, numbers of samples and length limits.
    rollout: makes trajectories.
    signal: (trajectories, completed iterations) -> Signal. A schedule has its own length, since a run may continue past
      its `num_iterations`.
    loss: (outputs, trajectories, streams) -> Loss, for one minibatch.
    models: models by name, including "policy".
    scoring: array name -> (model, output): teacher-forced over all rows with the parameters before the update, but
      after that of models with their own loss. Names of fields of Trajectories ("old_logprobs", "ref_logprobs") are set
      there, others in its extras.
    initial: parameters by role from `init_from`, for one seed -> parameters that the run starts with, such as a merge
      of two runs. Frozen models that share parameters with a trained one keep doing so.
    evaluations: by name, (models with the evaluated parameters, key) -> metrics, in addition to plain responses to
      held-out prompts: other forms of inference, the accuracy of a reward model.
    requires: extras that signal and loss read, besides those of `scoring`: from the task's verdicts (`Task.provides`)
      or the rollout (`Rollout.provides`).
    papers: arXiv ids of its papers.
  """

  curriculum: Curriculum
  rollout: Rollout
  signal: Callable[[Trajectories, Array], Signal]
  loss: LossFunction
  models: Mapping[str, ModelRole] = dataclasses.field(default_factory=lambda: {"policy": ModelRole()})
  scoring: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
  initial: Callable[[dict[str, Params]], dict[str, Params]] = as_found
  evaluations: Mapping[str, Evaluation] = dataclasses.field(default_factory=dict)
  requires: tuple[str, ...] = ()
  papers: tuple[str, ...] = ()


def one_of(m: ConfigDict, name: str, known: Iterable[str]) -> str:
  """Value of an option in section `method`; ValueError if it is not a known one."""
  if m[name] not in known:
    raise ValueError(f"method.{name} is one of {', '.join(known)}, got {m[name]!r}")
  return m[name]
