"""V0.5 (arXiv 2603.10848): prior and samples fused, the stopping rule replayed; V0's loss (arXiv 2602.03584)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.advantages.prior import prior_baseline, v05
from rl_jax.kernels.curricula.stopping import look_ahead_stopping
from rl_jax.kernels.losses.prior_model import v0_loss
from tests.kernels.kernel import quick_jit

FIELDS = {
  "k": "samples",
  "mean": "mean",
  "delta2": "squared_bias",
  "weight": "weight",
  "baseline": "baseline",
  "mse": "error",
}
OPTIONS = {"k_init": "k_init", "k_max": "k_max", "c": "cost", "cost": "cost"}


def compute(case, inputs):
  if "logits" in inputs:
    return prior_model(**inputs)
  options = {"noise_variance": inputs.get("noise_var", 1.0)}
  if "rewards" in inputs:
    return fuse(inputs["rewards"], inputs["prior"], options)
  options |= {option: inputs[name] for name, option in OPTIONS.items() if name in inputs}
  return replay(inputs["reward_stream"], inputs["prior"], options)


def fuse(rewards, prior, options):
  rows = jnp.ones(rewards.shape, bool)
  fused = quick_jit(lambda r: prior_baseline(r, jnp.full_like(r, prior), None, rows, **options))(rewards)
  return {name: getattr(fused, field)[0] for name, field in FIELDS.items()}


def replay(stream, prior, options):
  def run(stream):
    stopping = look_ahead_stopping(
      stream[None], jnp.full_like(stream[:1], prior), jnp.ones((1, stream.size)), **options
    )
    args = stream, jnp.full_like(stream, prior), jnp.full(stream.shape, 7), stopping.used[0]
    noise = {"noise_variance": options["noise_variance"]}
    return stopping, prior_baseline(*args, **noise), v05(*args, **noise)

  stopping, fused, advantages = jax.tree.map(np.asarray, quick_jit(run)(stream))
  used = int(stopping.used.sum())
  first = options.get("k_init", 4) - 1
  return {
    "k_used": used,
    "baseline": fused.baseline[0],
    "advantages": advantages[:used],
    "trace": [
      {name: getattr(stopping.fusions, field)[0, slot] for name, field in FIELDS.items()}
      | {"gain": stopping.gains[0, slot]}
      for slot in range(first, used)
    ],
  }


def prior_model(logits, labels, alpha):
  pairs = logits[0::2], logits[1::2], labels[0::2], labels[1::2]
  loss = quick_jit(lambda pairs: v0_loss(*pairs, jnp.ones(len(pairs[2]), bool), alpha=alpha))(pairs)
  return {"pairwise": loss.pairwise.mean(), "ce": loss.cross_entropy.mean(), "loss": loss.losses.mean()}
