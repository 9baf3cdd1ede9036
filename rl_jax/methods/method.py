"""The interface of a method: five roles over one state, and the models that it names."""

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


@dataclasses.dataclass(frozen=True)
class ModelRole:
  """One of the models that a method names.

  Attributes:
    config: fields in which its section `model` differs from the config's, `name` among them; a method reads them from
      its own section, as in method.teacher.model.
    init_from: where its parameters come from: another role of the method (those whose shapes agree; the rest is
      drawn), or a stage or the folder of a run, as in the field `init_from` of a config, with #critic after it for
      another model than that run's policy. "": a fresh draw, or the checkpoint of a pretrained model. The policy's is
      the config's field.
    outputs: what loss and `Method.scoring` read of it, by name: see rl_jax/models/outputs.py. A loss reads those of the
      models that it trains, and of others those that are of the parameters alone ("readout").
    heads: numbers that `values` and `rewards` hold.
    trained: whether a loss trains it, or path of a parameter -> whether it does; a frozen model carries no optimiser.
    learning_rate: None: that of the config.
    loss: (outputs, trajectories) -> Loss, with the outputs of this model alone: trains it before it scores, but after
      all models without one have, in as many passes and minibatches as the policy takes later. None: the method's
      `loss` trains it.
  """

  config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  init_from: str = ""
  outputs: tuple[str, ...] = ("logprobs", "entropies")
  heads: int = 1
  trained: bool | Callable[[tuple[str, ...]], bool] = True
  learning_rate: float | None = None
  loss: Callable[[Outputs, Trajectories], Loss] | None = None


def as_found(params: dict[str, Params]) -> dict[str, Params]:
  """Parameters unchanged: each model starts where its `init_from` leads."""
  return params


@dataclasses.dataclass(frozen=True)
class Method:
  """A method of a paper. The trainer runs its roles and never looks inside their states.

  Attributes:
    curriculum: which prompts, how many samples, how long.
    rollout: how trajectories are made.
    signal: (trajectories, iterations done) -> Signal. A schedule states its own length: a run may be continued past its
      `num_iterations`.
    loss: (outputs, trajectories, streams) -> Loss, for one minibatch.
    models: the models by name, "policy" among them.
    scoring: array name -> (model, output): teacher-forced over all rows with the parameters before the update, but
      after that of models with a loss of their own. Those that name a field of Trajectories are set there
      ("old_logprobs", "ref_logprobs"), others in its extras.
    initial: parameters by role, as their `init_from` gave them, for one seed -> those that the run starts with. A merge
      of two runs, or the end of a method that ends in one. Frozen models that borrow from a trained one keep doing so.
    evaluations: by name, (models with the parameters that are evaluated, key) -> metrics, beside the plain responses to
      held-out prompts: other forms of inference, the accuracy of a reward model.
    requires: extras that signal and loss read, beside what `scoring` makes: those of the task's verdicts
      (`Task.provides`) and of the rollout (`Rollout.provides`).
    papers: arXiv ids of the papers that this is.
  """

  curriculum: Curriculum
  rollout: Rollout
  signal: Callable[[Trajectories, Array], Signal]
  loss: LossFunction
  models: Mapping[str, ModelRole] = dataclasses.field(default_factory=lambda: {"policy": ModelRole()})
  scoring: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
  initial: Callable[[dict[str, Params]], dict[str, Params]] = as_found
  evaluations: Mapping[str, Callable[[Models, PRNGKeyArray], Mapping[str, Mean]]] = dataclasses.field(
    default_factory=dict
  )
  requires: tuple[str, ...] = ()
  papers: tuple[str, ...] = ()


def one_of(m: ConfigDict, name: str, known: Iterable[str]) -> str:
  """The value of an option of a config's section `method`; ValueError if it is not one of the known ones."""
  if m[name] not in known:
    raise ValueError(f"method.{name} is one of {', '.join(known)}, got {m[name]!r}")
  return m[name]
