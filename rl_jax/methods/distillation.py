"""Distillation: over the whole vocabulary, on the student's responses or the teacher's (arXiv 2605.12483).

Idea: a teacher's distribution at a state says more than the token that it drew there. `rollout_by` says whose states:
the teacher's for the bridge that a student crosses first, where its own responses are too poor to be worth correcting;
the student's afterwards, as these are the states that it will be in. The states are constants, no gradient goes through
the sampling. With S and T at one state, M = beta T + (1 - beta) S, and the mean over the tokens of the batch:

  forward_kl   KL(T || S)                                                                   the bridge, stage 2a
  reverse_kl   KL(S || T)                                                  on-policy distillation, eq. 4, stage 2b
  jsd          beta KL(T || M) + (1 - beta) KL(S || M)     GKD (2306.13649); beta 0 and 1 are the two above, not limits
  nll          -log S(token)                                          the teacher's samples as hard labels, a control

Neither model's logits exist: a divergence is made of hidden states and output matrices, block by block of the
vocabulary. What is kept of the teacher is its hidden states [B, T, width], scored once before the update. With
model.logprobs "recomputed" the student's logits, which metrics need otherwise, do not exist either.

Inferred: the teacher's responses are new ones in every iteration, not a set that was sampled once; both temperatures
are the sampler's. GKD's mixture of data sets is left out, and so are the top-k forms of other recipes.

Metrics:
  loss/<form>: the divergence, mean over trained tokens.
  entropy: of the student, mean over trained tokens.
  reverse_kl on the student's responses, forward_kl on the teacher's: exact; of all forms but nll.
  teacher/reverse_kl, teacher/forward_kl: the same on answers to held-out prompts; see `_teachers.evaluations`.
Config: the stage `bridge` of experiments/opd.py.
"""

from __future__ import annotations

from typing import Any

import jax
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import SHARE
from rl_jax.kernels.reductions import aggregate
from rl_jax.methods import _teachers, supervised
from rl_jax.methods.method import Loss, Method, ModelRole, Outputs, Streams, Term, one_of
from rl_jax.methods.policy_gradient import CURRICULA, independent
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

OWN = {"policy": "reverse_kl", "teacher": "forward_kl"}
"""The divergence whose states are a writer's."""


def get_config() -> dict[str, Any]:
  """On-policy distillation by the reverse KL."""
  return _teachers.options() | {
    "form": "reverse_kl",  # or "forward_kl", "jsd", "nll"
    "beta": 0.5,  # of "jsd": the teacher's share of the mixture
    "rollout_by": "policy",  # or "teacher"
    "curriculum": "uniform",  # or "epochs"
  }


RANGES = _teachers.RANGES | {"beta": SHARE}


def build(config: ConfigDict, task: Task) -> Method:
  """Distillation from its section of a config. Raises ValueError for a student that is its own label."""
  m = config.method
  betas = {"forward_kl": 0.0, "reverse_kl": 1.0, "jsd": m.beta}
  form, writer = one_of(m, "form", (*betas, "nll")), one_of(m, "rollout_by", OWN)
  if form == "nll" and writer == "policy":
    raise ValueError("method.form='nll' learns what the teacher writes: method.rollout_by='teacher'")

  def divergence(outputs: Outputs, trajectories: Trajectories, streams: Streams) -> Loss:
    weights, student = streams["demonstrations"].weights, outputs["policy"]
    teacher = {"hidden": trajectories.extras["teacher_hidden"], **outputs["teacher"]}
    temperature = config.sampling.temperature

    def mean(name: str):
      found = _teachers.divergences(student, teacher, trajectories, beta=betas[name], temperature=temperature)
      return aggregate(found, weights, mode="token_mean")

    learned, own = mean(form), OWN[writer]
    metrics = {own: learned if form == own else mean(own)}
    metrics["entropy"] = aggregate(student["entropies"], weights, mode="token_mean")
    return Loss({form: Term(learned, trains="policy")}, jax.lax.stop_gradient(metrics))

  gkd = ("2306.13649",) if form == "jsd" else ()
  hard = form == "nll"
  scored = {} if hard else {"teacher_hidden": ("teacher", "hidden")}
  states: tuple[str, ...] = () if hard else _teachers.STATES
  return Method(
    curriculum=CURRICULA[one_of(m, "curriculum", CURRICULA)](
      config.prompts_per_iteration, config.completions_per_prompt
    ),
    rollout=independent(config, task, by=writer),
    signal=supervised.signal,
    loss=supervised.loss if hard else divergence,
    models={
      "policy": ModelRole(outputs=("logprobs", "entropies", *states)),
      "teacher": _teachers.role(config, *(states or ("logprobs",))),
    },
    scoring=scored,
    evaluations=_teachers.evaluations(config, task),
    requires=tuple(scored),
    papers=("2605.12483", *gkd),
  )
