"""Distillation: the spec's worked example, forms against loops, the trainer's ways of running rows against logits, the
bridge, and how far a student is from its teacher."""

from __future__ import annotations

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.kernels.losses import distillation as kernels
from rl_jax.kernels.reductions import aggregate
from rl_jax.launching import initialization
from rl_jax.methods import distillation, supervised
from rl_jax.methods.method import check_options
from rl_jax.models.model import merge
from rl_jax.rollouts.rollout import BoundModel
from rl_jax.training import iteration, objectives, state
from rl_jax.training.sizes import sizes_of
from rl_jax.training.update import _Rows, gradient
from rl_jax.trajectories import DEMONSTRATION
from tests.kernels.kernel import quick_jit
from tests.methods.batches import TASK, batch_of, config_of
from tests.training import every_method, small

STUDENT, TEACHER = np.float32([1, 0, -1]), np.float32([0, 0.5, 1])
RNG = np.random.default_rng(0)


def built(**options):
  return distillation.build(config_of(distillation, **{"held_out_prompts": 0} | options), TASK)


def loss_of(method, rows, student, student_matrix, teacher_matrix):
  """Value of the term, and the metrics."""
  outputs = {
    "policy": {"hidden": student, "readout": student_matrix, "entropies": jnp.ones(rows.tokens.shape)},
    "teacher": {"readout": teacher_matrix},
  }
  terms, metrics = method.loss(outputs, rows, method.signal(rows, jnp.int32(0)).streams)
  ((name, term),) = terms.items()
  assert name in ("forward_kl", "reverse_kl", "jsd") and term.trains == "policy" and term.coefficient == 1
  return term.mean.value, metrics


# Hand-computed.


@pytest.mark.parametrize(
  ("form", "value", "slope"),
  [
    ("forward_kl", 0.707571296, [0.478917233, -0.062467415, -0.416449818]),
    ("reverse_kl", 0.635479280, [0.423881177, -0.211155536, -0.212725640]),
    ("jsd", 0.153380872, None),
  ],
)
def test_the_worked_example_of_the_spec(form, value, slope):
  rows = batch_of([[1]], extras={"teacher_hidden": TEACHER[None, None]})
  method = built(form=form)
  loss = lambda x: loss_of(method, rows, x, jnp.eye(3), jnp.eye(3))
  (total, metrics), gradient = quick_jit(jax.value_and_grad(loss, has_aux=True))(jnp.asarray(STUDENT)[None, None])
  np.testing.assert_allclose(total, value, atol=1e-6)
  np.testing.assert_allclose(metrics["reverse_kl"].value, 0.635479280, atol=1e-6)
  if slope:
    np.testing.assert_allclose(gradient[0, 0], slope, atol=1e-6)


# Loops in float64.

SLOTS, PROMPT_SLOTS, VOCABULARY = 6, 2, 7
MASK = np.array([[0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0], [0, 0, 1, 0, 1, 0], [0, 0, 0, 0, 0, 0]], bool)
HIDDEN = {"student": RNG.normal(size=(4, SLOTS, 3)), "teacher": RNG.normal(size=(4, SLOTS, 5))}
MATRIX = {"student": RNG.normal(size=(3, VOCABULARY)), "teacher": RNG.normal(size=(5, VOCABULARY))}
TEMPERATURE, BETA = 0.7, 0.3


def looped(form, student_hidden) -> float:
  """The mean over trained tokens, a token and an entry of the vocabulary at a time."""
  total = 0.0
  for row, slot in np.argwhere(MASK):
    p = {}
    for name, hidden in (("student", student_hidden), ("teacher", HIDDEN["teacher"])):
      z = hidden[row, slot] @ MATRIX[name] / TEMPERATURE
      p[name] = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    mixture = BETA * p["teacher"] + (1 - BETA) * p["student"]
    kl = lambda a, b: sum(x * np.log(x / y) for x, y in zip(a, b, strict=True))
    total += {
      "forward_kl": lambda p=p, kl=kl: kl(p["teacher"], p["student"]),
      "reverse_kl": lambda p=p, kl=kl: kl(p["student"], p["teacher"]),
      "jsd": lambda p=p, kl=kl, m=mixture: BETA * kl(p["teacher"], m) + (1 - BETA) * kl(p["student"], m),
    }[form]()
  return total / MASK.sum()


@pytest.mark.parametrize("form", ["forward_kl", "reverse_kl", "jsd"])
def test_a_form_is_that_of_loops_in_float64(form):
  """On a ragged mask, with garbage in every slot that is not trained; the gradient by central differences."""
  config = config_of(distillation, form=form, beta=BETA, held_out_prompts=0)
  with config.unlocked():
    config.sampling.temperature = TEMPERATURE
  method = distillation.build(config, TASK)
  spoilt = {name: np.where(MASK[..., None], x, np.nan).astype(np.float32) for name, x in HIDDEN.items()}
  rows = batch_of(MASK, prompt_width=PROMPT_SLOTS, extras={"teacher_hidden": spoilt["teacher"]})
  matrices = [jnp.float32(MATRIX[name]) for name in ("student", "teacher")]
  total = lambda x: loss_of(method, rows, x, *matrices)
  (value, _), slopes = quick_jit(jax.value_and_grad(total, has_aux=True))(jnp.asarray(spoilt["student"]))
  np.testing.assert_allclose(value, looped(form, HIDDEN["student"]), rtol=1e-5)
  assert not np.asarray(slopes)[~MASK].any()
  direction = RNG.normal(size=HIDDEN["student"].shape)
  moved = [looped(form, HIDDEN["student"] + step * direction) for step in (1e-5, -1e-5)]
  np.testing.assert_allclose((slopes * direction).sum(), (moved[0] - moved[1]) / 2e-5, rtol=1e-4, atol=1e-6)


# The trainer's ways of running rows, against the path with logits.

OF_TEACHER = {"width": 12, "layers": 2, "heads": 3, "key_value_heads": 3, "head_width": 4, "feed_forward": 10}
OPTIONS = (
  "method.name=rl_jax.methods.distillation",
  "num_seeds=1",
  "completions_per_prompt=4",
  "sampling.temperature=0.8",
)
ANOTHER_SIZE = tuple(f"method.teacher.model.{name}={size}" for name, size in OF_TEACHER.items())
WAYS = {
  "micro-batches of shared prompts in buckets": ("rows_per_microbatch=4", "length_buckets=2"),
  "adapters and a tied matrix": ("model.lora_rank=2", "model.tied_embeddings=True"),
}


def parts(*options: str):
  """An experiment, its state with parameters moved from their draws (adapters begin at 0), and rows in groups."""
  experiment = initialization.build(small.make_config(*OPTIONS, *options))
  seed = small.make_seed(experiment)
  rng = np.random.default_rng(1)
  moved = lambda x: x + 0.1 * jnp.asarray(rng.normal(size=x.shape), x.dtype)
  models = {name: model.replace(params=jax.tree.map(moved, model.params)) for name, model in seed.models.items()}
  seed = seed.replace(models=models)
  rows = small.make_trajectories(experiment, seed)
  return experiment, seed, rows.replace(trees=small.groups(rows))


def with_logits(bound, rows, beta):
  """The loss from the logits of both models, which run row by row."""

  def logits(name):
    model, params = bound[name]
    found = model.run(params, rows.tokens, rows.positions, rows.attention_mask)[0]
    return jnp.pad(found, ((0, 0), (1, 0), (0, 0)))[:, :-1]  # before each token

  pair = logits("policy"), logits("teacher")
  found = kernels.generalized_jsd(*pair, rows.trained, beta=beta, temperature=0.8)
  return aggregate(found, rows.trained, mode="token_mean").value


@pytest.mark.parametrize("way", WAYS)
def test_whatever_way_rows_are_run_it_is_the_divergence_of_the_logits(way):
  """Value and gradients by all trained parameters to 1e-5."""
  experiment, seed, rows = parts("method.form=jsd", "method.beta=0.3", *ANOTHER_SIZE, *WAYS[way])
  bound, config = state.bind(experiment, seed.models), experiment.config

  @jax.jit
  def without(params):
    scored = objectives.whole_trees(experiment, iteration.score(experiment, seed, rows, experiment.models))
    batch = _Rows(scored, experiment.method.signal(scored, jnp.int32(0)).streams)
    objective = objectives.method_objective(experiment, bound)
    (loss, _), grads = gradient(
      objective, sizes_of(config), {"policy": params}, batch, objectives.buckets_of(experiment)
    )
    return loss, grads["policy"]

  @jax.jit
  def by_logits(params):
    model = bound["policy"].model
    of_part = lambda part: bound | {"policy": BoundModel(model, merge(part, params))}
    return jax.value_and_grad(lambda part: with_logits(of_part(part), rows, 0.3))(model.trained(params))

  params = seed.models["policy"].params
  (found, found_grads), (wanted, wanted_grads) = without(params), by_logits(params)
  assert float(wanted) > 1e-3
  np.testing.assert_allclose(found, wanted, rtol=1e-5)
  small.assert_close(found_grads, wanted_grads, 1e-5)
  assert all(np.abs(leaf).max() > 1e-6 for leaf in small.leaves(wanted_grads).values())


def test_step_after_step_a_student_comes_nearer_on_the_states_of_one_batch():
  """The reverse KL falls at every update, whatever its parameters began with."""
  experiment, seed, rows = parts("learning_rate=0.01", "optimizer.warmup_updates=0", *ANOTHER_SIZE)
  step = jax.jit(lambda seed: small.learn(experiment, seed, rows, 0))
  found = []
  for _ in range(6):
    seed, metrics = step(seed)
    found.append(float(metrics["reverse_kl"].value))
    assert float(metrics["loss/reverse_kl"].value) == found[-1]
  assert (np.diff(found) < 0).all() and found[-1] < 0.8 * found[0]


# The bridge.


def test_the_bridge_is_on_what_the_teacher_writes():
  """Its tokens have its logprobs and are demonstrations; the teacher stays; no label matters."""
  config = every_method.config_of("distillation", "task.levels.four.modulus=97")
  assert config.method.form == "forward_kl" and config.method.rollout_by == "teacher"
  experiment = initialization.build(config)
  seed = small.make_seed(experiment)

  @jax.jit
  def iterate(seed):
    made = iteration.make_batch(experiment, seed, 0)[1]
    teacher, rows = state.bind(experiment, seed.models)["teacher"], made.trajectories
    told = dataclasses.replace(teacher.model, names=("logprobs",)).outputs(teacher.params, rows)["logprobs"]
    after, report = iteration.learn(experiment, seed, made, 0)
    return rows, told, after, {name: mean.value for name, mean in report.metrics.items()}

  rows, told, after, metrics = jax.device_get(iterate(seed))
  mask = rows.trained
  np.testing.assert_allclose(rows.behaviour_logprobs[mask], told[mask], atol=1e-5)
  assert set(rows.source_ids[mask]) == {DEMONSTRATION}
  small.assert_same(seed.models["teacher"].params, after.models["teacher"].params)
  assert metrics["ratio_error"] == 0 and metrics["reward"] == 0 and metrics["gradient_norm"] > 1e-3
  assert metrics["forward_kl"] == metrics["loss/forward_kl"] > 0 and "reverse_kl" not in metrics


def test_samples_of_a_teacher_are_labels_of_supervised_learning():
  method = built(form="nll", rollout_by="teacher")
  assert method.loss is supervised.loss and not method.scoring and not method.requires
  assert "readout" not in (*method.models["policy"].outputs, *method.models["teacher"].outputs)


# How far a student is from its teacher.


def test_answers_to_held_out_prompts_are_compared_by_whoever_wrote_them():
  """They differ from a teacher with other parameters, and from one that is the student by rounding."""
  experiment, seed, _ = parts("method.held_out_prompts=8")
  models, params = experiment.models, {name: model.params for name, model in seed.models.items()}
  bound = lambda params: {name: BoundModel(models[name], params[name]) for name in params}
  measure = jax.jit(lambda params: experiment.method.evaluations["teacher"](bound(params), jax.random.key(0)))
  other, same = measure(params), measure(dict.fromkeys(params, params["policy"]))
  assert set(other) == {"reverse_kl", "forward_kl"}
  for name, mean in other.items():
    assert float(mean.value) > 1e-3 and float(mean.weight) >= 8 and abs(float(same[name].value)) < 1e-5


def test_a_task_scored_in_python_has_no_such_evaluation():
  on_host = types.SimpleNamespace(**{**vars(TASK), "on_device": False})
  assert distillation.build(config_of(distillation), TASK).evaluations.keys() == {"teacher"}
  assert not distillation.build(config_of(distillation), on_host).evaluations


# Edge cases.


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"form": "kl"}, "method.form is one of forward_kl, reverse_kl, jsd, nll, got 'kl'"),
    ({"rollout_by": "student"}, "method.rollout_by is one of policy, teacher, got 'student'"),
    ({"form": "nll"}, "method.form='nll' learns what the teacher writes: method.rollout_by='teacher'"),
    ({"curriculum": "all"}, "method.curriculum is one of uniform, epochs, got 'all'"),
  ],
)
def test_options_that_are_not_known_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    built(**options)


@pytest.mark.parametrize(("option", "value"), [("beta", 1.5), ("held_out_prompts", -1)])
def test_numbers_out_of_range_are_refused(option, value):
  with pytest.raises(UserError, match=f"method.{option}: want"):
    check_options(config_of(distillation, **{option: value}), distillation)
