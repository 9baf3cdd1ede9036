"""CANON: advantages against half of a group, by length or entropy (arXiv 2509.23962).

Idea: a comparison with the mean of all other answers ignores the length or entropy of an answer. CANON splits the
answers of a prompt at the median of such a metric into a low half C- and a high half C+, which has the extra answer of
an odd group. Compared with the other half, the trend with more reward is reinforced, whichever it is; compared with the
own half, the best answers within a trend. For an answer i in C+ (in C- with the signs + and - exchanged)

  inter_i = r_i - m-,  m+ and m- the mean rewards of C+ and C-                                     (eq. 3)
  intra_i = r_i - m+                                                                               (eq. 4)
  A_i = mu inter_i + (1 - mu) intra_i                                                              (eq. 5)
  loss = 1/B sum_i 1/L sum_t -min(rho_t A_i, clip(rho_t, 1 - 0.2, 1 + 0.28) A_i),  L the response limit

With mu 1/2 and equal halves this is Dr. GRPO (eq. 7). alpha tilts the competition: inter is alpha r_i - m- in C+ and
r_i - alpha m+ in C- (eq. 9). CANON-Eff, with metric "length", mu 1/2 and alpha slightly below 1, shortens answers:
groups of right answers push towards the shorter half. The code weights C- instead if the metric is the entropy
(`weighted` "lower"), and adds beta to inter in C+ and subtracts it in C-.

mu is constant (1: CANON-Inter, 0: CANON-Intra), or 1 - mean reward of the batch (mixing "accuracy"), or a cosine with
restarts after a warm-up (mixing "cosine"), falling from inter to intra; with `first` "intra" the other way round.

The entropy is that of the policy before the update, at the temperature of the rollout, over the tokens of the answer;
it costs one forward pass over all rows. Metric "random", the control of the paper, draws new halves in each iteration,
the same for all seeds. The lower clip of 0.2 and the dual clip are defaults of the authors' code, not in the paper. In
a group with a single scored answer both means are 0, as in the code.

Metrics: those of policy_gradient.py, and
  mu: its value in this iteration.
  reward_upper, reward_lower: mean rewards of C+ and C-; their difference shows which trend earns more.
Config: experiments/canon.py.
Source: paper and code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import COUNT, FINITE, POSITIVE, SHARE, WHOLE
from rl_jax.kernels.advantages import conditional
from rl_jax.kernels.advantages.difficulty import batch_success_rate
from rl_jax.kernels.reductions import Mean, masked_mean
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Method, Signal, check_answers, one_of
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """CANON-Inter by entropy, with Dr. GRPO's loss and the paper's clip."""
  return policy_gradient.get_config() | {
    "clip_high": 0.28,
    "dual_clip": 3.0,
    "aggregation": "sequence_mean_constant",
    "metric": "entropy",  # or "length", "random"
    "mixing": "constant",  # or "accuracy", "cosine"
    "mu": 1.0,  # share of inter, for "constant"
    "first": "inter",  # first part of schedules; or "intra"
    "schedule_iterations": 150,  # length of "cosine", with its warm-up
    "warmup_iterations": 30,
    "cycles": 3,
    "alpha": 1.0,  # weight of one half's rewards in inter
    "weighted": "upper",  # half weighted by alpha; or "lower"
    "beta": 0.0,
  }


RANGES = {
  "mu": SHARE, "alpha": POSITIVE, "beta": FINITE,
  "schedule_iterations": COUNT, "warmup_iterations": WHOLE, "cycles": COUNT,
}  # fmt: skip


def build(config: ConfigDict, task: Task) -> Method:
  """CANON from its section of a config. Raises ValueError for options."""
  check_answers(config)
  m = config.method
  one_of(m, "weighted", conditional.HALVES)
  one_of(m, "first", conditional.ORDERS)
  steps = {"total": m.schedule_iterations, "warmup": m.warmup_iterations, "cycles": m.cycles}
  if m.schedule_iterations - m.warmup_iterations < m.cycles:
    raise ValueError(f"method.schedule_iterations={m.schedule_iterations}: too few for method.cycles after the warm-up")
  success = lambda rows: batch_success_rate(rows.rewards, rows.scored)
  mixtures: dict[str, Callable[[Trajectories, Array], Any]] = {
    "constant": lambda rows, iteration: m.mu,
    "accuracy": lambda rows, iteration: conditional.mixing_by_accuracy(success(rows), first=m.first),
    "cosine": lambda rows, iteration: conditional.mixing_by_cosine(iteration, first=m.first, **steps),
  }
  metrics: dict[str, Callable[[Trajectories, Array], Array]] = {
    "length": lambda rows, iteration: rows.response_lengths,
    "entropy": lambda rows, iteration: conditional.mean_entropy(rows.extras["old_entropies"], rows.trained),
    "random": lambda rows, iteration: jax.random.uniform(jax.random.key(iteration), rows.rewards.shape),
  }
  mixture, metric = mixtures[one_of(m, "mixing", mixtures)], metrics[one_of(m, "metric", metrics)]

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    rewards, scored, mu = trajectories.rewards, trajectories.scored, mixture(trajectories, iteration)
    options = {"mu": mu, "alpha": m.alpha, "weighted": m.weighted, "beta": m.beta, "singleton": "zero"}
    split = conditional.canon(rewards, metric(trajectories, iteration), trajectories.group_ids, scored, **options)
    halves = {
      "mu": Mean(jnp.asarray(mu, jnp.float32), jnp.float32(1.0)),
      "reward_upper": masked_mean(rewards, split.upper),
      "reward_lower": masked_mean(rewards, scored & ~split.upper),
    }
    return Signal({"policy": policy_gradient.token_stream(trajectories, split.advantages)}, halves)

  scoring = {"old_entropies": ("policy", "entropies")} if m.metric == "entropy" else {}
  return policy_gradient.method(config, task, signal, papers=("2509.23962",), scoring=scoring)
