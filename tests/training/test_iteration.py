"""An iteration: agreement of sampler and trainer, seeds, keys, metrics, states that methods carry, evaluation."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.kernels.reductions import masked_mean
from rl_jax.methods.method import Loss, ModelRole, Signal, Stream, Term
from rl_jax.models import model
from rl_jax.models.model import Model
from rl_jax.rollouts import flat, rollout
from rl_jax.rollouts.sampler import SEED_AXIS
from rl_jax.training import evaluation, iteration, mesh
from rl_jax.training.describing import describe
from rl_jax.training.evaluation import pass_at_k
from rl_jax.training.experiment import build
from rl_jax.training.trainer import Trainer
from tests.methods.batches import batch_of
from tests.training import small

STATEFUL = Path(__file__).parent / "stateful_method.py"


def make_trainer(*overrides: str, method: str = "grpo") -> Trainer:
  experiment = small.make_experiment("evaluation.greedy=False", *overrides, method=method)
  return Trainer(experiment, mesh.make_mesh(experiment.config.mesh))


def advance(trainer: Trainer):
  """Iterations without the evaluation, which costs as much to compile."""
  if not trainer.loop.programs:
    trainer.loop.programs = {"run": jax.jit(lambda s: iteration.run(trainer.experiment, s))}
  return trainer.advance()


@functools.cache
def advanced():
  """Two seeds after two iterations of the method with states, and before."""
  trainer = make_trainer(f"method.name={STATEFUL}", "seed=5", "learning_rate=0.01", "optimizer.warmup_updates=0")
  before = jax.device_get(trainer.state)
  progressed = advance(trainer)
  return before, jax.device_get(trainer.state), progressed


def test_sampler_and_trainer_agree_in_the_first_iteration():
  _, _, progressed = advanced()
  first, second = progressed.metrics
  assert (first["ratio_error"] < 1e-5).all() and (np.abs(first["kl_to_behaviour"]) < 1e-5).all()
  assert (second["ratio_error"] < 1e-5).all()  # one update an iteration: the rows are fresh each time
  assert first["clip_fraction"].tolist() == [0, 0]


def test_a_model_whose_passes_disagree_is_refused(monkeypatch):
  outputs = Model.outputs

  def perturbed(self, params, batch):
    found = outputs(self, params, batch)
    return found | {"logprobs": found["logprobs"] + 3e-5}

  monkeypatch.setattr(Model, "outputs", perturbed)
  with pytest.raises(UserError, match=r"first iteration: max \|ratio - 1\| is [1-3].*e-05, allowed is 1e-05"):
    advance(make_trainer())


@pytest.mark.slow
def test_training_without_logits_takes_the_same_course():
  """Four iterations of two seeds, moved by entropy and KL (no answer is right so early): metrics to 1e-4."""
  options = ("learning_rate=0.01", "optimizer.warmup_updates=0", "sampling.temperature=0.8")
  terms = ("method.kl_coefficient=0.1", "method.entropy_coefficient=0.1")
  # With the usual epsilon, Adam's first step is the sign of the gradient, and rounding rules where that is 0.
  options += (*terms, "optimizer.epsilon=1e-2")
  found = []
  for logprobs in ("logits", "chunked"):
    trainer = make_trainer(f"model.logprobs={logprobs}", *options)
    found.append([line for _ in range(2) for line in advance(trainer).metrics])
  for left, right in zip(*found, strict=True):
    assert left.keys() == right.keys() and (left["ratio_error"] < 1e-5).all()
    for name, values in left.items():
      np.testing.assert_allclose(values, right[name], rtol=1e-4, atol=1e-4, err_msg=name)
  assert found[0][-1]["kl_to_reference"].min() > 1e-4


def test_truncated_sampling_is_held_against_the_whole_distribution():
  """Ratios compare with the policy's own distribution, so they are 1; the KL says how far truncation moved it."""
  trainer = make_trainer("sampling.top_k=3", "sampling.top_p=0.9", "sampling.temperature=0.7")
  first = advance(trainer).metrics[0]
  assert (first["ratio_error"] < 1e-5).all() and (first["kl_to_behaviour"] > 0.1).all()


@pytest.mark.slow  # tests/rollouts/test_prompt_width.py has the rollouts
def test_wider_prompts_of_a_rollout_change_no_number():
  """Two iterations: samples are read from the right slots, and the update is that of the same tokens."""
  options = ("num_seeds=1", "learning_rate=0.01", "optimizer.warmup_updates=0", "optimizer.epsilon=1e-2")
  done, states = [], []
  for more in (0, 3):
    trainer = make_trainer(*options, "method.entropy_coefficient=0.1", "logging.samples=8")
    method, task = trainer.experiment.method, trainer.experiment.task
    wider = dataclasses.replace(method.rollout, prompt_width=task.prompt_tokens + more)
    experiment = dataclasses.replace(trainer.experiment, method=dataclasses.replace(method, rollout=wider))
    trainer = Trainer(experiment, trainer.mesh)
    done.append(advance(trainer))
    states.append(jax.device_get(trainer.state.seeds.models["policy"].params))
  assert len(done[0].samples) == 8 and all(sample["prompt"] for sample in done[0].samples)
  for narrow, wide in zip(*(each.samples for each in done), strict=True):
    np.testing.assert_allclose(narrow.pop("credit"), wide.pop("credit"), atol=1e-5)
    assert narrow == wide
  small.assert_close(done[1].metrics, done[0].metrics, 1e-5)
  small.assert_close(*states, 1e-5)


def test_a_seed_among_others_is_the_seed_alone():
  """The second of two is config.seed + 1; states to 1e-5, tokens and rewards equal."""
  before, after, progressed = advanced()
  alone = make_trainer(
    f"method.name={STATEFUL}", "seed=6", "num_seeds=1", "learning_rate=0.01", "optimizer.warmup_updates=0"
  )
  second, only = (lambda tree: jax.tree.map(lambda x: x[1], tree)), (lambda tree: jax.tree.map(lambda x: x[0], tree))
  small.assert_same(second(before.seeds), only(alone.state.seeds))
  done = advance(alone)
  small.assert_close(second(after.seeds), only(jax.device_get(alone.state.seeds)), 1e-5)
  mine = [s for s in progressed.samples if s["seed"] == 6]
  for together, single in zip(mine, done.samples, strict=True):
    np.testing.assert_allclose(together["credit"], single["credit"], rtol=1e-3, atol=1e-5)
    assert together | {"credit": single["credit"]} == single and single["seed"] == 6
  for together, single in zip(progressed.metrics, done.metrics, strict=True):
    for name, values in single.items():
      np.testing.assert_allclose(together[name][1], values[0], rtol=1e-4, atol=1e-5, err_msg=name)


def test_seeds_differ():
  before, _, progressed = advanced()
  params = small.leaves(before.seeds.models["policy"].params)
  assert any((x[0] != x[1]).any() for x in params.values())
  assert progressed.samples[0]["prompt"] != progressed.samples[1]["prompt"]


def test_samples_tell_what_each_token_was_pushed_with():
  _, _, progressed = advanced()
  for sample in progressed.samples:
    assert "".join(sample["tokens"]) == sample["response"] and len(sample["credit"]) == len(sample["tokens"])
  assert any(any(sample["credit"]) for sample in progressed.samples)
  stream = Stream(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([[1.0, 1.0], [0.0, 0.5]]))
  rows = batch_of(np.ones((2, 2)), extras={"levels": np.zeros(2, int)})
  credit = lambda name: iteration._samples(rows, Signal({name: stream}), 2).credit.tolist()
  assert credit("policy") == [[1.0, 2.0], [0.0, 4.0]] and credit("demonstrations") == [[0.0, 0.0]] * 2


def test_states_of_curriculum_and_rollout_are_carried_and_used():
  before, after, progressed = advanced()
  seeds = after.seeds
  assert seeds.curriculum["seen"].tolist() == [2, 2] and seeds.rollout["count"].tolist() == [2, 2]
  rows = 8
  lengths = sum(m["response_length"] * rows for m in progressed.metrics)
  np.testing.assert_allclose(seeds.curriculum["lengths"], lengths, rtol=1e-6)
  # mean <- mean / 2 + scores / 2 from 0, where scores are 0.1 length + reward (+ noise of 1e-3)
  scores = [0.1 * m["response_length"] + m["reward"] for m in progressed.metrics]
  np.testing.assert_allclose(seeds.rollout["mean"], scores[0] / 4 + scores[1] / 2, atol=6e-3)
  assert not np.array_equal(seeds.rollout["mean"], scores[0] / 4 + scores[1] / 2)
  np.testing.assert_array_equal(seeds.rollout["key"], before.seeds.rollout["key"])


@functools.cache
def _rollout():
  experiment = small.make_experiment()
  rows = lambda seed, number: iteration.make_batch(experiment, seed, number)[1].trajectories
  return experiment, jax.jit(jax.vmap(rows, (0, None), axis_name=SEED_AXIS))


def test_an_iteration_depends_on_seed_and_number_alone():
  experiment, make_rows = _rollout()
  whole = jax.tree.map(lambda x: x[None], small.make_seed(experiment, 3))
  five = make_rows(whole, 5)
  small.assert_same(make_rows(whole, 5), five)
  assert not np.array_equal(make_rows(whole, 6).tokens, five.tokens)
  other = jax.tree.map(lambda x: x[None], small.make_seed(experiment, 4))
  same_policy = whole.replace(root_key=other.root_key)
  assert not np.array_equal(make_rows(same_policy, 5).prompt_ids, five.prompt_ids)


def test_a_model_with_a_loss_of_its_own_learns_alone_and_before_the_method_scores():
  """Two judges that imitate the rows, one with a learning rate; the policy's is 0. What is scored is kept as the
  curriculum's state."""
  experiment = small.make_experiment("learning_rate=0.0", "optimizer.warmup_updates=0", "num_seeds=1")
  mask = lambda t: t.trained.astype(jnp.float32)

  def imitate(name):
    def loss(outputs, trajectories):
      assert outputs.keys() == {name}
      return Loss({"nll": Term(masked_mean(-outputs[name]["logprobs"], mask(trajectories)))}, {})

    return loss

  roles = {
    "judge": ModelRole(init_from="policy", learning_rate=0.01, loss=imitate("judge")),
    "still": ModelRole(init_from="policy", loss=imitate("still")),
  }
  method = experiment.method
  keep = method.curriculum._replace(update=lambda state, trajectories, signal: trajectories.extras["seen"])
  method = dataclasses.replace(
    method, models={**method.models, **roles}, scoring={"seen": ("judge", "logprobs")}, curriculum=keep
  )
  part = lambda built: types.SimpleNamespace(build=lambda *args: built)
  experiment = build(experiment.config, task=part(experiment.task), method=part(method), models=lambda name: model)
  seed = small.make_seed(experiment)
  trajectories = small.make_trajectories(experiment, seed)
  after, metrics = jax.jit(lambda s, t: small.learn(experiment, s, t, 0))(seed, trajectories)

  changed = lambda name: [
    not np.array_equal(*pair)
    for pair in zip(*(jax.tree.leaves(x.models[name].params) for x in (seed, after)), strict=True)
  ]
  assert all(changed("judge")) and not any(changed("policy") + changed("still"))
  own = {"loss/nll", "gradient_norm", "update_norm", "parameter_norm", "skipped_updates"}
  for name in roles:
    assert {key for key in metrics if key.startswith(f"{name}/")} == {f"{name}/{key}" for key in own}
    np.testing.assert_allclose(
      metrics[f"{name}/loss/nll"].value, -trajectories.old_logprobs[trajectories.trained].mean(), rtol=1e-5
    )
  assert "loss/nll" not in metrics and "loss/policy" in metrics
  want = jax.jit(experiment.models["judge"].outputs)(after.models["judge"].params, trajectories)["logprobs"]
  np.testing.assert_allclose(after.curriculum, want, atol=1e-5)
  assert (np.abs(after.curriculum - trajectories.old_logprobs)[trajectories.trained] > 1e-3).any()


def test_metrics_of_a_batch_by_hand():
  experiment = small.make_experiment()
  batch = small.make_trajectories(experiment, small.make_seed(experiment))
  batch = batch.replace(
    rewards=jnp.asarray([1.0, 0.0, 1.0, jnp.nan, 0.5, 0.5, 0.5, 9.0]),
    reward_mask=jnp.asarray([1, 1, 1, 0, 1, 1, 1, 1], bool),
    row_mask=jnp.asarray([1, 1, 1, 1, 1, 1, 1, 0], bool),
    group_ids=jnp.asarray([7, 7, 7, 7, -3, -3, -3, -3]),
    truncated=jnp.asarray([1, 0, 0, 0, 0, 0, 1, 1], bool),
    extras={**batch.extras, "part/said": jnp.arange(8.0), "kept_to_itself": jnp.arange(8.0)},
    objectives=jnp.stack([jnp.arange(8.0) % 2, jnp.arange(8.0) * 2], axis=1),
  )
  task = dataclasses.replace(experiment.task, objectives=("right", "long"))
  found = {name: float(mean.value) for name, mean in jax.jit(lambda b: describe(task, b))(batch).items()}
  lengths = np.asarray(batch.loss_mask.sum(axis=1))[:7]
  expected = {
    "reward": (1 + 0 + 1 + 0.5 * 3) / 6,
    "accuracy": 2 / 6,
    "response_length": lengths.mean(),
    "sequential_tokens": lengths.max(),
    "truncated": 2 / 7,
    "unscored": 1 / 7,
    "zero_spread_rows": 3 / 6,
    "reward/four": (1 + 0 + 1 + 0.5 * 3) / 6,
    "part/said": 3.0,
    "part/right": 3 / 7,
    "part/long": 6.0,
  }
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)


def test_pass_at_k_is_the_share_of_draws_with_a_right_one():
  rng = np.random.default_rng(0)
  correct = rng.integers(0, 2, (6, 5)).astype(np.float32)
  for k in range(1, 6):
    brute = [np.mean([row[list(drawn)].any() for drawn in itertools.combinations(range(5), k)]) for row in correct]
    np.testing.assert_allclose(pass_at_k(jnp.asarray(correct), k), brute, atol=1e-6)
  with pytest.raises(ValueError, match="pass@6 needs at least 6 samples per prompt, got 5"):
    pass_at_k(jnp.asarray(correct), 6)


def test_evaluation_asks_the_same_held_out_prompts_of_the_averaged_policy(monkeypatch):
  overrides = ("optimizer.parameter_average=0.5", "evaluation.prompts=32", "task.levels.four.modulus=10")
  experiment = small.make_experiment(*overrides)
  asked = []
  sample, verify = flat.sample, rollout.verify

  def sampled(model, params, *prompts, sampling, **options):
    asked.append([sampling.greedy, params, prompts[:2]])
    return sample(model, params, *prompts, sampling=sampling, **options)

  def verified(*args):
    asked[-1].append(verify(*args))
    return asked[-1][-1]

  monkeypatch.setattr(flat, "sample", sampled)
  monkeypatch.setattr(rollout, "verify", verified)

  def evaluated(seed, number):
    metrics = evaluation.evaluate_seed(experiment, seed, number)
    return metrics, [(params, prompts, done) for _, params, prompts, done in asked]

  program = jax.jit(jax.vmap(evaluated, (0, None), axis_name=SEED_AXIS))
  seed = small.make_seed(experiment)
  policy = seed.models["policy"]
  average = jax.tree.map(lambda x: x + 0.25, policy.params)
  seed = seed.replace(models=seed.models | {"policy": policy.replace(average=average)})
  one, other = (jax.tree.map(lambda x: x[None], s) for s in (seed, seed.replace(root_key=seed.root_key + 1)))
  results = [program(one, 0), program(one, 7), program(other, 0)]
  assert [greedy for greedy, *_ in asked] == [False, True]
  (first, greedy), (later, greedy_later), (elsewhere, _) = (found for _, found in results)
  small.assert_same(first[0], jax.tree.map(lambda x: x[None], average))
  small.assert_same(first[1], later[1])
  small.assert_same(first[1], elsewhere[1])
  assert not np.array_equal(first[2].tokens, later[2].tokens)  # prompts stay, draws do not
  small.assert_same(greedy[2], greedy_later[2])
  task = experiment.task
  text = lambda prompts: {task.vocabulary.decode(t[m]) for t, m in zip(*map(np.asarray, prompts), strict=True)}
  held_out = text((first[1][0][0], first[1][1][0]))
  trained = jax.jit(lambda: task.prompts(task.problem_ids(jax.random.key(9), 4096, "train"), "train"))()
  assert len(held_out) > 20 and not held_out & text((trained.tokens, trained.mask))
  right = np.asarray(first[2].rewards[0] >= 1).reshape(32, 2)
  np.testing.assert_allclose(results[0][0]["held_out/sampled_accuracy"][0], right.mean())
  np.testing.assert_allclose(results[0][0]["held_out/pass_at_2"][0], right.any(axis=1).mean())


def test_evaluation_answers_with_the_plain_rollout_of_the_method():
  """Here one that cuts responses after two tokens, in a phase of its own for the sampled and the greedy ones."""
  experiment = small.make_experiment("num_seeds=1", "evaluation.greedy=True")
  asked = []

  def respond(count, sampling):
    asked.append((count, sampling.greedy))
    plain = flat.flat(experiment.task, count, sampling)

    def short(models, state, plan, prompts, before, key):
      assert models.keys() == {"policy"} and state == "begun"
      cut = plan.replace(response_limits=jnp.minimum(plan.response_limits, 2))
      return plain.phases[0](models, state, cut, prompts, before, key)

    return dataclasses.replace(plain, phases=(short,), init=lambda key: "begun")

  method = dataclasses.replace(
    experiment.method, rollout=dataclasses.replace(experiment.method.rollout, respond=respond)
  )
  answer = lambda seed: evaluation.answer_seed(dataclasses.replace(experiment, method=method), seed, 0)
  seed = jax.tree.map(lambda x: x[None], small.make_seed(experiment))
  found = jax.jit(jax.vmap(answer, axis_name=SEED_AXIS))(seed)
  assert asked == [(experiment.config.evaluation.samples_per_prompt, False), (1, True)]
  for answers in found:
    assert answers.lengths.max() == 2 and answers.truncated.any() and answers.scored.all()


def test_a_critic_starts_from_a_policy_whose_output_is_tied():
  experiment = small.make_experiment("model.tied_embeddings=True", method="ppo")
  models = small.make_seed(experiment).models
  policy, critic = models["policy"].params, models["critic"].params
  small.assert_same(critic["layer_0"], policy["layer_0"])
  small.assert_same(critic["embedding"], policy["embedding"])
  assert "output" not in policy and critic["output"].shape[1] == 1


def test_bf16_computes_in_bf16_and_keeps_float32():
  trainer = make_trainer("model.dtype=bfloat16", method="ppo")
  done = advance(trainer)
  assert {x.dtype for x in jax.tree.leaves(trainer.state.seeds.models["policy"].params)} == {jnp.dtype("float32")}
  assert all(np.isfinite(v).all() for m in done.metrics for v in m.values())
  assert "ratio_error" in done.metrics[0] and "kl_to_behaviour" in done.metrics[0]  # logged, with no bound
  model = trainer.experiment.models["policy"]
  seed = jax.tree.map(lambda x: x[0], trainer.state.seeds)
  row = jnp.ones((1, 4), jnp.int32)
  program = jax.jit(lambda p: model.run(p, row, row, row.astype(bool))).lower(seed.models["policy"].params)
  assert "bf16" in program.as_text() and "dot_general" in program.as_text()
  wide = [line for line in program.as_text().splitlines() if "dot_general" in line and "bf16" not in line]
  assert not wide, wide[:2]
