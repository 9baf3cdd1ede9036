"""Agreement of a method's step advantages with Monte Carlo estimates of the true ones.

The truth of a step is V(text after it) - V(text before it). V is the mean reward of completions that the current
policy samples (`evaluation.credit_samples` of them at each boundary); after the last step of a finished response it is
the response's own reward. A method's credit of a step is the mean of its stream "policy" over the tokens of the step
that it trains, 0 if it trains none. Steps are the verifier's (`step_ids`). In rows with only a part of a response (an
edge of a tree, a window), the steps and parts of steps in the row's own tokens are compared. Replayed, demonstrated and
unscored rows are left out. A model with its own loss scores before its update.

The rows are drawn with keys of the seed alone. Methods that begin with plain responses to the same number of prompts
are therefore compared on the same rows if their policies are equal, as in experiments/studies/credit_rows.py.

Metrics, over all steps of up to `evaluation.credit_prompts` x `completions_per_prompt` rows:
  credit/unexplained: 1 - cos^2 of credit and truth, the share of the truth that no multiple of the credit explains: 0
    at best, 1 for unrelated or missing credit.
  credit/noise_floor: share of the truth's squares that is noise of its completions; credit is below it only by chance.
  credit/rank_correlation: Spearman's.
  credit/sign_agreement: share of equal signs where the truth is above twice its standard error and the step is trained.
  credit/steps: number of steps.
  credit/trained_steps: share of them with a token that is trained.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rl_jax.errors import UserError
from rl_jax.kernels.analysis.agreement import rank_correlation, sign_agreement, unexplained
from rl_jax.kernels.reductions import Mean, masked_mean
from rl_jax.kernels.segments import segment_lengths, segment_mean
from rl_jax.methods.method import Stream
from rl_jax.rollouts.branches import Boundaries, branch, values_of
from rl_jax.rollouts.rollout import unasked, verify
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.training.experiment import Experiment
from rl_jax.training.iteration import make_plan, make_rows, make_signal, score
from rl_jax.training.rollout_layout import generating
from rl_jax.training.seeds import over_seeds
from rl_jax.training.state import CURRICULUM, EVALUATION, ROLLOUT, RunState, TrainState, bind, iteration_key
from rl_jax.trajectories import POLICY, Trajectories

CREDIT = 1 << 30
"""Number folded into the key of an evaluation, apart from its responses, whose rows count from 0."""


class Steps(NamedTuple):
  """Steps of n rows in order, at most S, and one more boundary at the end of an unfinished row."""

  boundaries: Boundaries
  """Boundaries [n, S+1]: before each step, and at the end of unfinished rows."""
  credit: Float[Array, "n S"]
  mask: Bool[Array, "n S"]
  trained: Bool[Array, "n S"]
  """Steps with a token of nonzero weight; the credit of others is 0."""


def evaluate(experiment: Experiment, state: RunState) -> dict[str, Float[Array, " S"]]:
  """Metrics of every seed; none where `evaluation.credit_prompts` is 0.

  Raises: UserError for fields that make no sense, and for tasks and methods that have no credit of steps.
  """
  section, most = experiment.config.evaluation, experiment.config.prompts_per_iteration
  if not section.credit_prompts:
    return {}
  if not 0 <= section.credit_prompts <= most:
    count = section.credit_prompts
    raise UserError(f"evaluation.credit_prompts is 0 to prompts_per_iteration ({most}), got {count}")
  if section.credit_samples < 2:
    raise UserError(f"evaluation.credit_samples is at least 2, got {section.credit_samples}")
  if experiment.task.turns is not None:
    raise UserError("evaluation.credit_prompts: responses of several turns are not completed; set it to 0")
  evaluate_one = lambda seed: evaluate_seed(experiment, seed, state.iteration)
  return over_seeds(evaluate_one, experiment.config.num_seeds)(state.seeds)


def evaluate_seed(experiment: Experiment, seed: TrainState, iteration: int | Int[Array, ""]) -> dict[str, Array]:
  """Metrics of one seed on a fresh batch of the train split, which is then discarded."""
  # The key ignores the iteration, as with held-out problems: rows differ only as policies do.
  key = jax.random.fold_in(iteration_key(seed, 0, EVALUATION), CREDIT)
  trajectories, stream = _compared(experiment, *_credited(experiment, seed, iteration, key))
  steps = steps_of(trajectories, stream)
  truth, noise = true_credit(experiment, seed, trajectories, steps, jax.random.fold_in(key, EVALUATION))
  return agreement(steps, truth, noise)


def agreement(steps: Steps, truth: Float[Array, "n S"], noise: Float[Array, "n S"]) -> dict[str, Array]:
  """Metrics, from the true change at each step and its standard error."""
  credit, mask, trained = steps.credit, steps.mask, steps.trained
  metrics = {
    "unexplained": unexplained(credit, truth, mask).value,
    "noise_floor": Mean(jnp.sum(jnp.square(noise), where=mask), jnp.sum(jnp.square(truth), where=mask)).value,
    "rank_correlation": rank_correlation(credit, truth, mask),
    "sign_agreement": sign_agreement(credit, truth, trained & (jnp.abs(truth) > 2 * noise)).value,
    "steps": mask.sum(),
    "trained_steps": masked_mean(trained, mask).value,
  }
  return {f"credit/{name}": value for name, value in metrics.items()}


def names(experiment: Experiment) -> set[str]:
  """Names of the metrics, before anything is compiled."""
  if not experiment.config.evaluation.credit_prompts or not experiment.task.on_device:
    return set()
  none = jnp.zeros((1, 1))
  steps = Steps(Boundaries(none, none > 0), none, none > 0, none > 0)
  return set(jax.eval_shape(lambda: agreement(steps, none, none)))


def _credited(
  experiment: Experiment, seed: TrainState, iteration: int | Int[Array, ""], key: PRNGKeyArray
) -> tuple[Trajectories, Stream]:
  """A batch like that of the next iteration, with other keys, and its stream "policy" before any update."""
  of_role = lambda role: jax.random.fold_in(key, role)
  plan, _ = make_plan(experiment, seed, of_role(CURRICULUM))
  result = make_rows(experiment, seed, plan, of_role(ROLLOUT))
  trajectories = score(experiment, seed, result.trajectories, experiment.models)
  streams = make_signal(experiment, trajectories, iteration).streams
  if "policy" not in streams:
    raise UserError(f"evaluation.credit_prompts: the signal has no stream 'policy', but {', '.join(streams)}")
  return trajectories, streams["policy"]


def _compared(experiment: Experiment, trajectories: Trajectories, stream: Stream) -> tuple[Trajectories, Stream]:
  """The first rows that the current policy sampled and that have a verdict or are unfinished; others are masked."""
  own = (trajectories.trained & (trajectories.source_ids == POLICY)).any(axis=1)
  own &= trajectories.scored | trajectories.unfinished
  count = experiment.config.evaluation.credit_prompts * experiment.config.completions_per_prompt
  index = jnp.argsort(~own, stable=True)[:count]
  rows = trajectories.rows(index).replace(row_mask=own[index])
  return rows, jax.tree.map(lambda x: x[index], stream)


def steps_of(trajectories: Trajectories, stream: Stream) -> Steps:
  """Starts of the policy's steps, and the stream's mean target over the weighted tokens of each."""
  time, prompt_width = trajectories.tokens.shape[1], trajectories.prompt_width
  most = time - prompt_width
  ids = jnp.where(trajectories.trained & (trajectories.source_ids == POLICY), trajectories.step_ids, -1)
  firsts = jax.vmap(lambda x, ids: jax.ops.segment_min(x, ids, num_segments=most), (None, 0))(
    jnp.arange(time) - prompt_width, jnp.where(ids < 0, most, ids)
  )
  exists = firsts < most  # segment_min returns the highest integer for empty segments
  ends = trajectories.attention_mask[:, prompt_width:].sum(axis=1)
  goes_on = trajectories.row_mask & trajectories.unfinished
  nowhere = most + 1
  starts = jnp.column_stack([jnp.where(exists, firsts, nowhere), jnp.where(goes_on, ends, nowhere)])
  order = jnp.argsort(starts, axis=1, stable=True)
  starts = jnp.take_along_axis(starts, order, axis=1)
  in_order = lambda x: jnp.take_along_axis(jnp.pad(x, ((0, 0), (0, 1))), order, axis=1)[:, :-1]
  weighted = stream.weights > 0
  credit = in_order(segment_mean(stream.targets, ids, weighted, num_segments=most))
  trained = in_order(segment_lengths(ids, weighted, num_segments=most)) > 0
  return Steps(Boundaries(starts, starts < nowhere), credit, in_order(exists), trained)


def true_credit(
  experiment: Experiment, seed: TrainState, trajectories: Trajectories, steps: Steps, key: PRNGKeyArray
) -> tuple[Float[Array, "n S"], Float[Array, "n S"]]:
  """Difference of the values after and before each step, and its standard error; the boundaries are taken in turn."""
  task, config = experiment.task, experiment.config
  sampling, samples = sampling_from(config), config.evaluation.credit_samples
  starts, mask = steps.boundaries
  limits = jnp.full(starts.shape[0], task.response_tokens)
  count: Int[Array, ""] = mask.sum(axis=1).max()
  if sampling.seed_axis:  # all seeds together, as the sampler: a loop that stops seed by seed is slow
    count = jax.lax.pmax(count, sampling.seed_axis)

  def column(k, columns):
    boundaries = Boundaries(*(jax.lax.dynamic_slice_in_dim(x, k, 1, axis=1) for x in steps.boundaries))
    number = jax.random.fold_in(key, k)
    with generating(experiment, bind(experiment, seed.models)) as models:
      options = {"samples": samples, "sampling": sampling}
      branched = branch(models["policy"], task, trajectories, boundaries, limits, number, **options)
    values = values_of(branched._replace(rows=verify(task, branched.rows, unasked(branched.rows))), boundaries.mask)
    return tuple(jax.lax.dynamic_update_slice_in_dim(x, new, k, axis=1) for x, new in zip(columns, values, strict=True))

  # Without a boundary the response has ended: the value is its own reward, without error.
  reward = jnp.where(trajectories.scored, trajectories.rewards, 0.0)[:, None]
  zeros = jnp.zeros(starts.shape, jnp.float32)
  sampled, variances = jax.lax.fori_loop(0, count, column, (zeros, zeros))
  values = jnp.where(mask, sampled, reward)
  variances = jnp.where(mask, variances, 0.0)
  noise = jnp.sqrt((variances[:, 1:] + variances[:, :-1]) / samples)
  return values[:, 1:] - values[:, :-1], noise
