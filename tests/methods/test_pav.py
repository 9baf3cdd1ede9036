"""PAV: the spec's worked example, its provers, what remains with the policy as prover, the trap, and two iterations."""

from __future__ import annotations

import functools
import itertools
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.kernels.analysis import match_transitions, prover_policy
from rl_jax.methods import pav
from rl_jax.methods.method import ModelRole, check_options
from rl_jax.tasks import planted
from rl_jax.tasks.task import StepValues
from tests.methods.batches import batch_of, config_of
from tests.methods.two_iterations import assert_whole, two_iterations
from tests.training import every_method

BEFORE = np.float32([[0.3, 0.3, 0.5, 0.4, 0.4, 0.4], [0.3, 0.6, 0.9, 0, 0, 0]])
AFTER = np.float32([[0.5, 0.5, 0.4, 0.7, 0.7, 0.7], [0.6, 0.9, 1.0, 0, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0]], bool)
IDS = np.array([[0, 0, 1, 2, 2, 2], [0, 1, 2, -1, -1, -1]])
RNG = np.random.default_rng(0)


def task_with(values=lambda *arguments: StepValues(BEFORE, AFTER)) -> Any:
  """A task of six tokens whose prover has these values."""
  return types.SimpleNamespace(
    response_tokens=6, turns=None, marks_steps=True, step_values=None, prover_values=values,
    prompts=lambda ids, split: None,
  )  # fmt: skip


def batch(**fields):
  extras = {"values": np.full(MASK.shape, 0.1, np.float32)} | fields.pop("extras", {})
  return batch_of(MASK, **{"rewards": np.float32([0, 1]), "step_ids": IDS, "extras": extras} | fields)


def built(task=None, **options):
  return pav.build(config_of(pav, **{"prover": "truth"} | options), task or task_with())


def signal_of(trajectories, task=None, **options):
  """As one program: quicker to make than one for each operation."""
  return jax.jit(built(task, **options).signal)(trajectories, jnp.int32(0))


# Hand-computed.


def test_the_worked_example_of_the_spec():
  """A = [.2, -.1, .3], alpha 5, baseline .1; the last token of the row is not trained. The second row succeeds."""
  streams, metrics = signal_of(batch())
  wanted = [[0.9, 0.9, -0.6, 1.4, 1.4, 0], [2.4, 2.4, 1.4, 0, 0, 0]]
  np.testing.assert_allclose(streams["policy"].targets, wanted, atol=1e-6)
  np.testing.assert_array_equal(streams["policy"].weights, MASK)
  np.testing.assert_allclose(streams["value"].targets, np.where(MASK, np.float32(wanted) + 0.1, 0), atol=1e-6)
  np.testing.assert_allclose(metrics["progress"].value, (0.2 + 0.2 - 0.1 + 0.3 * 2 + 0.3 * 2 + 0.1) / 8, rtol=1e-5)
  np.testing.assert_allclose(metrics["progress_size"].value, (0.4 + 0.1 + 0.6 + 0.7) / 8, rtol=1e-5)
  np.testing.assert_allclose(metrics["value_error"].value, np.mean(np.square(np.float32(wanted)[MASK])), rtol=1e-5)


def test_the_sum_over_later_steps_is_the_trap_of_the_spec():
  """Per step [2.0, 1.0, 1.5] in place of [1.0, -0.5, 1.5]."""
  targets = signal_of(batch(), form="to_go").streams["policy"].targets
  np.testing.assert_allclose(targets[0], [1.9, 1.9, 0.9, 1.4, 1.4, 0], atol=1e-6)


def test_the_best_of_several_completions_is_a_prover():
  best = lambda q: 1 - (1 - q) ** 4
  wanted = best(AFTER) - best(BEFORE) + np.float32([[-0.1], [0.9]])
  targets = signal_of(batch(), best_of=4, alpha=1.0).streams["policy"].targets
  np.testing.assert_allclose(targets, np.where(MASK, wanted, 0), atol=1e-6)


def test_the_loss_is_that_of_reinforce_with_a_penalty_and_a_critic():
  trajectories, method = batch(), built(kl_coefficient=0.5, value_coefficient=2.0)
  logprobs = RNG.normal(size=MASK.shape).astype(np.float32)
  trajectories = trajectories.replace(old_logprobs=jnp.asarray(logprobs), ref_logprobs=jnp.asarray(logprobs))
  streams = jax.jit(method.signal)(trajectories, jnp.int32(0)).streams
  values = np.full(MASK.shape, 0.2, np.float32)

  def total(logprobs):
    outputs = {"policy": {"logprobs": logprobs, "entropies": jnp.ones(MASK.shape)}, "critic": {"values": values}}
    terms = method.loss(outputs, trajectories, streams).terms
    return sum(term.coefficient * term.mean.value for term in terms.values()), terms

  gradient, terms = jax.jit(jax.grad(total, has_aux=True))(logprobs)
  np.testing.assert_allclose(gradient, -streams["policy"].targets / MASK.sum(), rtol=1e-5, atol=1e-7)
  errors = np.square(0.2 - np.asarray(streams["value"].targets))[MASK]
  np.testing.assert_allclose(terms["value"].mean.value, errors.mean() / 2, rtol=1e-5)
  assert terms["value"].coefficient == 2.0 and terms["kl"].coefficient == 0.5


# Provers.


def test_values_of_the_true_prover_are_asked_of_its_strength():
  strengths = []
  signal_of(batch(), task_with(lambda *arguments: strengths.append(arguments[3]) or StepValues(BEFORE, AFTER)))
  signal_of(
    batch(), task_with(lambda *arguments: strengths.append(arguments[3]) or StepValues(BEFORE, AFTER)), prover_gamma=3.0
  )
  assert strengths == [10.0, 3.0]


def test_values_of_samples_are_those_of_the_starts_and_the_outcome():
  """q is .5, .25, then the outcome 1; and .75, then 0."""
  cut = {"cut_values": np.float32([[0.5, 0.25], [0.75, 0]]), "cut_mask": np.array([[1, 1], [1, 0]], bool)}
  mask, ids = np.array([[1, 1, 1], [1, 1, 0]], bool), np.array([[0, 1, 1], [0, 0, -1]])
  rows = batch_of(
    mask, rewards=np.float32([1, 0]), step_ids=ids, extras=cut | {"values": np.zeros(mask.shape, np.float32)}
  )
  targets = signal_of(rows, prover="samples", alpha=1.0).streams["policy"].targets
  np.testing.assert_allclose(targets, [[0.75, 1.75, 1.75], [-0.75, -0.75, 0]])
  method = built(prover="samples", prover_init_from="prover")
  assert method.models["prover"] == ModelRole(trained=False, init_from="prover")
  assert len(method.rollout.phases) == 3 and "prover_logits" not in method.scoring


def test_values_of_a_verifier_are_read_before_the_first_token_of_each_step():
  """Logits of .5 and .25 stand there; what stands elsewhere is not read."""
  logits = np.full((1, 4), 9, np.float32)
  logits[0, 1], logits[0, 2] = 0.0, -np.log(3)
  rows = batch_of(
    [[0, 1, 1, 1]], prompt_width=1, rewards=np.float32([1]), step_ids=np.array([[-1, 0, 1, 1]]),
    extras={"prover_logits": logits, "values": np.zeros((1, 4), np.float32)},
  )  # fmt: skip
  options = {"prover": "verifier", "prover_init_from": "verifier#verifier"}
  targets = signal_of(rows, alpha=1.0, **options).streams["policy"].targets
  np.testing.assert_allclose(targets, [[0, 0.75, 1.75, 1.75]], rtol=1e-6)
  role = ModelRole(trained=False, init_from="verifier#verifier", outputs=("values",))
  assert built(**options).models["prover"] == role and built(**options).scoring["prover_logits"] == ("prover", "values")


# Reductions, on all responses of a small planted task under a policy that is one of its provers.

WORDS, LENGTH, TARGET, GAMMA = 2, 4, "01", 3.0


def every_response():
  """(words, mask) of all responses: the word 2 ends one."""
  found = [
    response
    for size in range(1, LENGTH + 1)
    for response in itertools.product(range(WORDS + 1), repeat=size)
    if WORDS not in response[:-1] and (size == LENGTH or response[-1] == WORDS)
  ]
  words = np.array([[*response, *[0] * (LENGTH - len(response))] for response in found])
  return words, np.arange(LENGTH) < np.array([len(response) for response in found])[:, None]


@functools.cache
def on_every_response():
  """The task, rows of all responses after its prompt of one token, and states and words [B, R]."""
  task = planted.build({"target": TARGET, "words": WORDS, "response_tokens": LENGTH})
  words, mask = every_response()
  tokens = np.where(words == WORDS, task.vocabulary.end_id, words + 2).astype(np.int32)
  before = np.ones((len(words), 1), bool)
  verify = jax.jit(lambda ids: task.verify(task.prompts(ids, "train"), tokens, mask))
  verdicts = jax.device_get(verify(np.zeros(len(words), np.int32)))
  wide = lambda first, x: np.concatenate([np.broadcast_to(first, before.shape), x], axis=1)
  rows = batch_of(
    wide(False, mask), prompt_width=1, tokens=wide(1, tokens), attention_mask=wide(True, mask),
    step_ids=wide(-1, verdicts.step_ids), rewards=verdicts.rewards,
    extras={"values": np.zeros((len(words), 1 + LENGTH), np.float32)},
  )  # fmt: skip
  following = np.asarray(match_transitions(jnp.array([0, 1]), vocab_size=WORDS + 1, eos=WORDS))
  states = np.zeros((len(words), LENGTH + 1), int)
  for t in range(LENGTH):
    states[:, t + 1] = following[states[:, t], words[:, t]]
  return task, rows, states[:, :-1], words


def test_with_the_policy_as_prover_the_expected_gradient_is_that_of_the_outcome():
  """(1 + alpha) times: the progress of the policy itself says nothing new. Another prover's does."""
  task, rows, states, words = on_every_response()
  mask = np.asarray(rows.loss_mask)[:, 1:]
  theta = jnp.log(prover_policy(jnp.array([0, 1]), vocab_size=WORDS + 1, gamma=GAMMA))
  logprobs = lambda theta: jnp.where(mask, jax.nn.log_softmax(theta)[states, words], 0.0)
  chances = jax.jit(lambda theta: jnp.exp(logprobs(theta).sum(axis=1)))(theta)
  np.testing.assert_allclose(chances.sum(), 1.0, rtol=1e-5)

  def expected(alpha, gamma=GAMMA, form="step"):
    options = {"alpha": alpha, "prover_gamma": gamma, "form": form}

    @jax.jit
    def gradient(theta):
      weights = signal_of(rows, task, **options).streams["policy"].targets[:, 1:]
      return jax.grad(lambda theta: jnp.sum(chances[:, None] * weights * logprobs(theta)))(theta)

    return np.asarray(gradient(theta))

  outcome = expected(0.0)
  assert np.abs(outcome).max() > 0.01
  np.testing.assert_allclose(expected(2.0), 3 * outcome, atol=1e-5)
  assert np.abs(expected(2.0, gamma=30.0) - 3 * outcome).max() > 0.01
  # The trap: with whatever prover, the sum over later steps has the outcome's gradient.
  np.testing.assert_allclose(expected(2.0, gamma=30.0, form="to_go"), 3 * outcome, atol=1e-5)


def test_the_trap_gives_a_response_that_fails_nothing_but_a_baseline():
  """No token of it is pushed up, however near it came; with the paper's form those that come nearer are."""
  task, rows, *_ = on_every_response()
  failed = np.asarray(rows.rewards) == 0
  run = jax.jit(lambda rows: {form: signal_of(rows, task, form=form).streams["policy"].targets for form in pav.FORMS})
  weights = {form: targets[failed] for form, targets in jax.device_get(run(rows)).items()}
  assert (weights["to_go"] <= 1e-6).all() and (weights["step"] > 0.1).any()


# Edge cases.


def test_unscored_rows_count_for_nothing():
  rows = batch(rewards=np.float32([0, np.nan]), reward_mask=np.array([True, False]))
  streams, metrics = signal_of(rows)
  for name in ("policy", "value"):
    assert not streams[name].weights[1].any() and np.isfinite(streams[name].targets).all()
  np.testing.assert_allclose(metrics["progress"].value, (0.2 + 0.2 - 0.1 + 0.3 + 0.3) / 5, rtol=1e-5)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"prover": "oracle"}, "method.prover is one of truth, samples, verifier, got 'oracle'"),
    ({"form": "sum"}, "method.form is one of step, to_go, got 'sum'"),
    *(
      ({"prover": "verifier", "prover_init_from": start}, f"needs a trained .* 'verifier#verifier', got '{start}'")
      for start in ("policy", "", "critic", "verifier", "warm_start", "runs/prover")
    ),
  ],
)
def test_options_that_are_not_known_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    built(**options)


def test_a_task_without_a_prover_is_one_line():
  with pytest.raises(ValueError, match="method.prover='truth': the task has no prover of its own; use 'samples'"):
    built(task_with(None))


@pytest.mark.parametrize(
  ("option", "value"), [("alpha", -1.0), ("prover_gamma", 0.5), ("best_of", 0), ("max_steps", 0)]
)
def test_numbers_out_of_range_are_refused(option, value):
  with pytest.raises(UserError, match=f"method.{option}: want"):
    check_options(config_of(pav, **{option: value}), pav)


# Through the trainer.


def test_two_iterations_with_samples_of_the_start():
  """Completions of the prover count as generated, and the prover stays where the policy began."""
  done = two_iterations("pav", "method.completions=2", "method.max_steps=2", "method.best_of=2")
  assert_whole(done)
  before, after = done.before.seeds.models, jax.device_get(done.trainer.state.seeds.models)
  for x, y in zip(*map(jax.tree.leaves, (before["policy"].params, after["prover"].params)), strict=True):
    np.testing.assert_array_equal(x, y)
  for metrics in done.metrics:
    assert (metrics["progress_size"] > 0).all() and (metrics["critic/gradient_norm"] > 0).all()


def test_an_iteration_with_the_true_prover_has_a_gradient_where_all_responses_fail():
  config = every_method.config_of("pav", "task.target=0120", "task.response_tokens=6", "num_iterations=1")
  trainer = every_method.trainer_of(every_method.initialization.build(config))
  (metrics,) = trainer.advance().metrics
  assert (metrics["gradient_norm"] > 0).all() and (metrics["progress_size"] > 0).all()
