"""What a method is: five roles over one state, and the models that it names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import flax.struct
from jaxtyping import Array, Float, PRNGKeyArray

from kernels.reductions import Mean
from rl_jax.curricula.curriculum import Curriculum
from rl_jax.models.model import Params
from rl_jax.rollouts.rollout import Models, Rollout
from rl_jax.trajectories import Trajectories


@flax.struct.dataclass
class Stream:
  """What one term of the loss is to push, and how hard, token by token."""

  targets: Float[Array, "B T"]
  """Advantages, value targets, or what else the stream's loss compares with. Constants: no gradient flows in."""
  weights: Float[Array, "B T"]
  """0 where the stream has nothing to say. May be non-zero outside `loss_mask` (hints)."""


class Term(NamedTuple):
  """One term of a loss: `mean` is divided once, after the sum over all rows, then scaled."""

  mean: Mean
  coefficient: float | Array = 1.0


class Signal(NamedTuple):
  """What a method makes of a batch, constants for the gradient."""

  streams: dict[str, Stream]
  """By name; "policy" is what samples and the evaluation of credit show."""
  metrics: dict[str, Mean] = {}  # noqa: RUF012


Streams = Mapping[str, Stream]
"""Streams by name."""

Outputs = Mapping[str, Mapping[str, Float[Array, "B T"]]]
"""Outputs of the trained models by model and output name, e.g. outputs["policy"]["logprobs"]."""


class Loss(NamedTuple):
  """Terms to minimise and metrics to log. Weights depend on trajectories and signal alone, never on outputs, so that
  they can be summed over a minibatch before its micro-batches are differentiated."""

  terms: dict[str, Term]
  metrics: dict[str, Mean]


@dataclasses.dataclass(frozen=True)
class ModelRole:
  """One of the models that a method names.

  Attributes:
    config: fields in which its section `model` differs from the config's, `name` among them; a method reads them from
      its own section, as in method.teacher.model.
    init_from: where its parameters come from: another role of the method (those whose shapes agree; the rest is
      drawn), or a stage or the folder of a run, as in the field `init_from` of a config, with #critic behind it for
      another model than that run's policy. "": a fresh draw, or the checkpoint of a pretrained model. The policy's is
      the config's field.
    outputs: what loss and `Method.scoring` read of it, by name: see rl_jax/models/outputs.py.
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
      of two runs, or the end of a method that ends in one. None: as they are.
    evaluations: by name, (models with the parameters that are evaluated, key) -> metrics, beside the plain responses to
      held-out prompts: other forms of inference, the accuracy of a reward model.
    requires: extras that signal and loss read, beside what `scoring` makes: those of the task's verdicts
      (`Task.provides`) and of the rollout (`Rollout.provides`).
    papers: arXiv ids of the papers that this is.
  """

  curriculum: Curriculum
  rollout: Rollout
  signal: Callable[[Trajectories, Array], Signal]
  loss: Callable[[Outputs, Trajectories, Streams], Loss]
  models: Mapping[str, ModelRole] = dataclasses.field(default_factory=lambda: {"policy": ModelRole()})
  scoring: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
  initial: Callable[[dict[str, Params]], dict[str, Params]] | None = None
  evaluations: Mapping[str, Callable[[Models, PRNGKeyArray], Mapping[str, Mean]]] = dataclasses.field(
    default_factory=dict
  )
  requires: tuple[str, ...] = ()
  papers: tuple[str, ...] = ()


def one_of(m, name: str, known: Iterable[str]) -> str:
  """The value of an option of a config's section `method`; ValueError if it is not one of the known ones."""
  if m[name] not in known:
    raise ValueError(f"method.{name} is one of {', '.join(known)}, got {m[name]!r}")
  return m[name]
