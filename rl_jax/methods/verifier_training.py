"""PAV's verifier: a model of the prover's chance of success from every prefix (arXiv 2410.08146).

Idea: sampling completions from each prefix of every training response is too expensive. They are therefore sampled
once, from responses of the prover itself, and a model learns to predict their outcomes; it then judges the steps of
another policy. With q_h the mean outcome of N completions from the beginning of step h, and z_h the head before its
first token

  loss = mean over prefixes of c_h [ -q_h log sigmoid(z_h) - (1 - q_h) log sigmoid(-z_h) ]

c_h gives the classes q < 1/2 and q >= 1/2 equal weight, like the paper's balanced sampling. In a failing response the
prefixes after its first pit (the first of value 0 after one of `pit_threshold`) are left out.

It is a stage of another method's config. The stage starts from the prover, which is frozen, and PAV uses the verifier
through `prover_init_from`, as in "verifier#verifier". Inferred: the binary form with soft labels, the pit threshold.

Metrics:
  verifier_error: mean square of sigmoid(z) - q over the prefixes, by their weights.
  promising: share of prefixes with q >= 1/2, before they are balanced.
Config: the stage `verifier` of experiments/pav.py.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import COUNT, NOT_NEGATIVE
from rl_jax.kernels.losses.reward_model import binary_cross_entropy, class_balanced_weights
from rl_jax.kernels.reductions import aggregate, masked_mean
from rl_jax.kernels.rewards.process import first_pit
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Loss, Method, ModelRole, Outputs, Signal, Stream, Streams, Term
from rl_jax.rollouts import step_values
from rl_jax.rollouts.branches import branches
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

HALF = 0.5
"""Threshold between the two classes of prefixes."""


def get_config() -> dict[str, Any]:
  """Options: the paper's number of completions; the verifier starts as the prover."""
  return {
    "completions": 20,  # N, from the beginning of each step
    "max_steps": 16,  # number of steps of a response with completions
    "pit_threshold": 0.5,  # above 1: no prefix is left out
    "verifier_init_from": "policy",
  }


RANGES = {"completions": COUNT, "max_steps": COUNT, "pit_threshold": NOT_NEGATIVE}


def build(config: ConfigDict, task: Task) -> Method:
  """Frozen prover as policy of the stage, and a learning verifier."""
  m, episodes = config.method, policy_gradient.independent(config, task)
  starts = step_values.starts_of_steps(task, m.max_steps)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    extras, failed = trajectories.extras, trajectories.scored & ~trajectories.correct
    values, exists = extras["cut_values"], extras["cut_mask"] & trajectories.scored[:, None]
    kept = jnp.where(failed[:, None], first_pit(values, exists, high=m.pit_threshold).keep, exists)
    weights = class_balanced_weights(values.ravel(), kept.ravel(), threshold=HALF).reshape(kept.shape)
    on_slots = jnp.where(kept, extras["cut_starts"] + trajectories.prompt_width, trajectories.tokens.shape[1])
    rows, empty = jnp.arange(kept.shape[0])[:, None], jnp.zeros(trajectories.tokens.shape)
    scattered = lambda x: empty.at[rows, on_slots].set(x, mode="drop")
    labels = Stream(targets=scattered(values), weights=scattered(weights))
    return Signal({"verifier": labels}, {"promising": masked_mean(values >= HALF, kept)})

  def loss(outputs: Outputs, trajectories: Trajectories, streams: Streams) -> Loss:
    logits, stream = outputs["verifier"]["values"], streams["verifier"]
    labels, prefixes = stream.targets, stream.weights > 0
    mean = lambda x: aggregate(x, stream.weights, mode="token_mean")
    error = jnp.where(prefixes, jnp.square(jax.nn.sigmoid(logits) - labels), 0.0)
    term = Term(mean(binary_cross_entropy(logits, labels, prefixes)), trains="verifier")
    return Loss({"verifier": term}, {"verifier_error": jax.lax.stop_gradient(mean(error))})

  return Method(
    curriculum=policy_gradient.CURRICULA["uniform"](config.prompts_per_iteration, config.completions_per_prompt),
    rollout=branches(task, episodes, starts, m.completions, sampling_from(config)),
    signal=signal,
    loss=loss,
    models={
      "policy": ModelRole(trained=False),
      "verifier": ModelRole(outputs=("values",), init_from=m.verifier_init_from),
    },
    requires=(*step_values.READ, "cut_starts"),
    papers=("2410.08146",),
  )
