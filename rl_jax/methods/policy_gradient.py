"""Base of the policy-gradient family: independent responses, a stream of advantages, clipped loss, KL, entropy.

A method of this family adds a `signal`, its advantage estimator. It may also change prompts and rollout, and add terms
of the loss and models. See grpo.py, dr_grpo.py, dapo.py, ppo.py.

Metrics:
  clip_fraction: share of trained tokens whose ratio was clipped.
  entropy: of the policy, mean over trained tokens.
  kl_to_reference: estimate of KL(policy || reference), where there is a reference.
  importance_weight: mean of the trainer-to-sampler weights, where they are used.
  rejected: share of trained tokens that the correction's rejection leaves out, where there is a correction.
  off_policy: share of trained tokens that the off-policy mask leaves out, where there is one.

What the options are called in other trainers: README.md beside this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from rl_jax.curricula.epochs import epochs
from rl_jax.curricula.uniform import uniform
from rl_jax.inputs.arrays import is_real
from rl_jax.kernels.reductions import per_token, zero_masked
from rl_jax.methods import _clips, _corrections
from rl_jax.methods._clipped_loss import loss_function as loss_function
from rl_jax.methods.method import LossFunction, Method, ModelRole, Signal, Stream, one_of
from rl_jax.rollouts.rollout import Rollout
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.rollouts.turns import responses
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

CURRICULA = {"uniform": uniform, "epochs": epochs}


def get_config() -> dict[str, Any]:
  """PPO's clipped objective (arXiv 1707.06347, eq. 7), averaged over the tokens of the batch."""
  return {
    **_clips.get_config(),
    **_corrections.get_config(),
    "aggregation": "token_mean",  # see AGGREGATIONS in _clipped_loss.py
    "aggregation_constant": None,  # None: the response tokens of the task
    "kl_coefficient": 0.0,  # coefficient of KL(policy || reference); 0: no reference model
    "kl_value": "k3",
    "kl_gradient": None,  # None: the gradient of kl_value
    "entropy_coefficient": 0.0,  # coefficient of the entropy bonus
    "curriculum": "uniform",  # or "epochs": shuffled passes over the problems of a finite task
    "old_logprobs": "sampler",  # or "trainer": scored again before the update
  }


def token_stream(trajectories: Trajectories, advantages: Float[Array, " B"] | Float[Array, "B T"]) -> Stream:
  """Advantages on all trained tokens of scored rows; one number per row is given to all its tokens.

  Raises: ValueError: they are not real numbers, or have another shape, such as a single number for all rows, which
    would push every token alike.
  """
  (rows, tokens_of_row), shape = trajectories.tokens.shape, getattr(advantages, "shape", None)
  per_row_or_token = f"one per row, [{rows}], or one per token, [{rows}, {tokens_of_row}]"
  if shape not in ((rows,), (rows, tokens_of_row)):
    got = f"have shape {shape}" if shape is not None else f"are of type {type(advantages).__name__}"
    raise ValueError(f"advantages {got}: give {per_row_or_token}")
  if not is_real(advantages):
    raise ValueError(f"advantages have dtype {advantages.dtype}: give real numbers, as float32, {per_row_or_token}")
  mask = trajectories.trained & trajectories.scored[:, None]
  tokens = per_token(advantages, mask) if advantages.ndim == 1 else zero_masked(advantages, mask)
  return Stream(targets=tokens, weights=mask.astype(jnp.float32))


def method(
  config: ConfigDict,
  task: Task,
  signal: Callable[[Trajectories, Array], Signal],
  *,
  papers: tuple[str, ...],
  requires: tuple[str, ...] = (),
  prompts: int = 1,
  rollout: Rollout | None = None,
  loss: LossFunction | None = None,
  models: Mapping[str, ModelRole] = {},  # noqa: B006
  scoring: Mapping[str, tuple[str, str]] = {},  # noqa: B006
) -> Method:
  """A method of the family, given its signal.

  Args:
    requires: extras that it reads, see `Method`.
    prompts: number of prompts in a plan for each of the config's `prompts_per_iteration`.
    rollout: its rollout; None: independent responses.
    loss: its loss; None: `loss_function`.
    models, scoring: in addition to those of the family.
  """
  m, completions = config.method, config.completions_per_prompt
  of_family, scored = {"policy": ModelRole()}, {}
  if m.kl_coefficient:
    of_family["reference"] = ModelRole(trained=False, init_from="policy")
    scored["ref_logprobs"] = ("reference", "logprobs")
  if one_of(m, "old_logprobs", ("sampler", "trainer")) == "trainer":
    scored["old_logprobs"] = ("policy", "logprobs")
  curriculum = CURRICULA[one_of(m, "curriculum", CURRICULA)]
  return Method(
    curriculum=curriculum(prompts * config.prompts_per_iteration, completions),
    rollout=rollout or independent(config, task),
    signal=signal,
    loss=loss or loss_function(config, task),
    models={**of_family, **models},
    scoring={**scored, **scoring},
    requires=requires,
    papers=papers,
  )


def independent(config: ConfigDict, task: Task, by: str = "policy") -> Rollout:
  """Independent responses to each prompt, as the config samples them, by the model of a name."""
  return responses(task, config.completions_per_prompt, sampling_from(config), by)
