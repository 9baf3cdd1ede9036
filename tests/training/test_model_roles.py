"""Models by role: a method of six of them trains, starts them from other runs, freezes some, and goes on exactly."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import shutil
import subprocess
import sys
import types
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from rl_jax import evaluate, train, verify
from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.kernels.reductions import masked_mean
from rl_jax.launching import initialization, launch
from rl_jax.launching.stop import Stop
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Loss, ModelRole, Signal, Term
from rl_jax.rollouts.rollout import padded
from rl_jax.training import iteration, manifests, mesh, state
from rl_jax.training.trainer import Trainer
from tests import commands, compilation
from tests.training import every_method, roles_method, saved, small

METHOD = Path(roles_method.__file__)
OPTIONS = (
  f"method.name={METHOD}",
  "num_seeds=1",
  "num_iterations=4",
  "logging.every_iterations=1",
  "evaluation.every_iterations=2",
  "evaluation.greedy=False",
  "optimizer.parameter_average=0.9",
  "optimizer.warmup_updates=0",
  "task.spare_tokens=0",
  "method.only=attention",
)
"""One seed, whose policy trains its attention alone and keeps an average."""
WIDE = tuple(f"model.{name}={size}" for name, size in roles_method.TEACHER.items())
PLAIN = ("num_seeds=1", "task.spare_tokens=0")


class Sources(types.SimpleNamespace):
  """Runs that models start from: a `teacher` with its own sizes, and a `prover` like the policy."""

  teacher: Path
  prover: Path

  def options(self, *more: str) -> tuple[str, ...]:
    return *OPTIONS, f"method.teacher.init_from={self.teacher}", f"method.prover.init_from={self.prover}", *more


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
  folder = tmp_path_factory.mktemp("sources")
  saved.save(small.make_config(*PLAIN, "seed=7", *WIDE), folder / "teacher")
  saved.save(small.make_config(*PLAIN, "seed=8"), folder / "prover")
  return Sources(teacher=folder / "teacher", prover=folder / "prover")


def by_command(folder: Path, options) -> None:
  """Trains as the command line does."""
  ended = train.main(commands.flags("experiments/grpo.py:smoke", folder, *commands.SMALL, "init_from=", *options))
  assert ended == 0


@pytest.fixture(scope="module")
def run(sources, tmp_path_factory):
  """Four iterations at once."""
  folder = tmp_path_factory.mktemp("straight") / "run"
  by_command(folder, sources.options())
  return folder


def start_of(config, workdir: Path = Path("runs/x"), train=lambda config, folder: pytest.fail("no stage is needed")):
  """The trainer of a run before its first iteration, and the starts of its models."""
  experiment = initialization.build(config)
  found = initialization.find(experiment, workdir, train)
  assert found is not None
  given = {role: start.params for role, start in found.items()}
  return Trainer(experiment, mesh.make_mesh(config.mesh), given), found


def of_model(arrays: dict[str, np.ndarray], role: str, part: str = "params") -> dict[str, np.ndarray]:
  """Leaves of a part of a model's state, by path."""
  start = f"seeds/models/{role}/{part}/"
  return {name.removeprefix(start): leaf for name, leaf in arrays.items() if name.startswith(start)}


def by_path(params) -> dict[str, np.ndarray]:
  return {"/".join(path): np.asarray(leaf) for path, leaf in flatten_dict(params).items()}


def assert_bits(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
  assert left.keys() == right.keys() and left
  for name, leaf in left.items():
    assert leaf.tobytes() == right[name].tobytes(), name


def moved(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
  assert before.keys() == after.keys()
  return {name for name, leaf in before.items() if leaf.tobytes() != after[name].tobytes()}


@pytest.fixture(scope="module")
def before(sources):
  """The state before the first iteration."""
  trainer, _ = start_of(small.make_config(*sources.options()))
  return trainer


# What a run leaves.


def test_all_models_learn_and_score_in_every_iteration(run):
  rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
  rows = [row for row in rows if row["kind"] == "train"]
  assert [row["iteration"] for row in rows] == [1, 2, 3, 4]
  for row in rows:
    assert row["skipped_updates"] == [0] and row["gradient_norm"][0] > 0
    for name in ("loss/policy", "loss/value", "reward/loss/fit", "critic/gradient_norm", "reward/gradient_norm"):
      assert np.isfinite(row[name][0]) and row[name][0] != 0, name
    assert row["distilled"][0] < 0, "the teacher would not have written this"
    assert row["reward/update_norm"][0] > 1e-3 and row["critic/update_norm"][0] > 1e-3


def test_frozen_models_are_those_of_the_runs_that_they_start_from_to_the_bit(run, sources):
  after = commands.arrays(run)
  for role in ("teacher", "prover"):
    assert_bits(of_model(after, role), of_model(commands.arrays(getattr(sources, role)), "policy"))
  assert after["seeds/models/teacher/params/embedding"].shape[-1] == roles_method.TEACHER["width"]
  assert "seeds/models/teacher/params/layer_1/attention/key" in after
  assert "seeds/models/policy/params/layer_1/attention/key" not in after


def test_trained_ones_have_moved_and_frozen_ones_have_nothing_that_moves_them(run, before):
  after, at_first = commands.arrays(run), saved.arrays(before.state)
  for role in ("critic", "reward"):
    names = set(of_model(after, role))
    assert moved(of_model(at_first, role), of_model(after, role)) == names, role
    assert of_model(after, role, "optimizer") and set(of_model(after, role, "average")) == names
  for role in ("teacher", "prover", "reference"):
    assert not moved(of_model(at_first, role), of_model(after, role))
    assert not of_model(after, role, "optimizer") and not of_model(after, role, "average")


def test_a_policy_trains_the_parameters_that_its_role_names(run, before):
  """Others are the same bits, and no optimiser and no average knows of them."""
  after, at_first = commands.arrays(run), saved.arrays(before.state)
  names = set(of_model(after, "policy"))
  chosen = {name for name in names if "attention" in name.split("/")}
  assert 0 < len(chosen) < len(names)
  assert moved(of_model(at_first, "policy"), of_model(after, "policy")) == chosen
  assert set(of_model(after, "policy", "average")) == chosen
  moments = of_model(after, "policy", "optimizer")
  of_parameters = {name for name in moments if any(name.endswith(f"/{path}") for path in names)}
  assert {name.split("/", 3)[-1] for name in of_parameters} and all("/attention/" in name for name in of_parameters)
  assert len(of_parameters) == 2 * len(chosen), "two moments of each"


def test_a_reference_is_what_the_policy_was_at_first_and_borrows_what_never_moves(run, before):
  after, at_first = commands.arrays(run), saved.arrays(before.state)
  kept = of_model(after, "reference")
  assert kept and all("attention" in name.split("/") for name in kept), "no second copy of the rest"
  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), before.state)
  seeds = saved.checkpoint(run, shapes).seeds
  bound = state.bind(before.experiment, jax.tree.map(lambda x: x[0], seeds.models))
  whole = {name: leaf[None] for name, leaf in by_path(bound["reference"].params).items()}
  assert_bits(whole, of_model(at_first, "policy"))
  assert moved(whole, of_model(after, "policy"))


def test_the_record_says_where_models_came_from(run, sources):
  (entry,) = json.loads((run / "manifest.json").read_text())["launches"]
  digest = lambda folder: hashlib.sha256((folder / "checkpoints" / "2" / manifests.NAME).read_bytes()).hexdigest()
  assert entry["models_started_from"] == {
    role: [str(getattr(sources, role)), digest(getattr(sources, role))] for role in ("teacher", "prover")
  }
  assert "started_from" not in entry, "the policy was drawn"


def test_a_run_is_verified_with_the_starts_of_all_its_models(run, sources, tmp_path, capsys):
  assert verify.main([str(run), "--iterations=1"]) == 0
  assert "1 of 4 iterations made again" in (said := capsys.readouterr().out) and "made again, or is another" not in said
  copy = shutil.copytree(run, tmp_path / "run")
  manifest = json.loads((copy / "manifest.json").read_text())
  manifest["launches"][0]["models_started_from"]["prover"][1] = "0" * 64
  (copy / "manifest.json").write_text(json.dumps(manifest))
  verify.main([str(copy), "--iterations=1"])
  assert "its start is made again, or is another" in capsys.readouterr().out


@pytest.mark.slow  # test_resume.py has it for a policy alone
def test_cut_off_between_two_checkpoints_it_ends_the_same(run, sources, tmp_path):
  """As after a kill in iteration 4: the metrics of iteration 3 are there, its checkpoint is not."""
  cut = tmp_path / "run"
  by_command(cut, sources.options("num_iterations=3"))
  shutil.rmtree(cut / "checkpoints" / "3")
  assert commands.steps(cut) == [2]
  said = io.StringIO()
  config = configs.resolve("experiments/grpo.py:smoke", [*commands.SMALL, "init_from=", *sources.options()])
  launch.train(config, cut, launch.Terminal(["test"], said, Stop()))
  assert "resuming from iteration 2" in said.getvalue()
  commands.assert_same_end(run, cut)
  assert "models_started_from" not in json.loads((cut / "manifest.json").read_text())["launches"][-1]


# Where models start.


def test_scores_have_the_shapes_of_their_outputs(before):
  experiment = before.experiment

  def score():
    seed = nn.unbox(state.init_seed(experiment, 0))
    rows = iteration.make_batch(experiment, seed, 0)[1].trajectories
    return iteration.score(experiment, seed, rows, experiment.models)

  rows = jax.eval_shape(score)
  shape = rows.tokens.shape
  assert rows.extras["values"].shape == (*shape, roles_method.HEADS)
  assert rows.extras["scores"].shape == shape[:1] and rows.extras["teacher_logprobs"].shape == shape
  assert "ref_logprobs" not in rows.extras, "a field of the batch"


def test_a_models_own_rate_is_its_own(before):
  rates = {name: float(rate(0)) for name, rate in before.experiment.schedules.items()}
  assert rates == pytest.approx({"policy": 1e-3, "critic": 3e-3, "reward": 1e-3})
  assert before.experiment.optimizers.keys() == rates.keys()


def test_models_that_start_as_another_have_its_parameters_but_for_their_heads(before):
  at_first = saved.arrays(before.state)
  policy = of_model(at_first, "policy")
  for role, heads in (("critic", 3), ("reward", 1)):
    own = of_model(at_first, role)
    assert moved(policy, {**own, "output": own["output"]}) == {"output"} and own["output"].shape[-1] == heads


def test_the_prover_writes_the_completions(before):
  """Their logprobs are the prover's, and what the policy has written is left as it is."""
  experiment = before.experiment
  seed = jax.tree.map(lambda x: x[0], before.state.seeds)
  models = state.bind(experiment, seed.models)

  @jax.jit
  def phases():
    key = jax.random.key(3)
    plan, _ = iteration.make_plan(experiment, seed, key)
    prompts = padded(experiment.task.prompts(plan.prompt_ids, "train"), None)
    first, second, _ = experiment.method.rollout.phases
    rows = first(models, (), plan, prompts, None, key).trajectories
    both = second(models, (), plan, prompts, rows, key).trajectories
    known = {name: models[name].model.outputs(models[name].params, both)["logprobs"] for name in ("policy", "prover")}
    return rows, both, known

  rows, both, known = phases()
  count = rows.tokens.shape[0]
  np.testing.assert_array_equal(both.tokens[:count], rows.tokens)
  new = np.array(both.trained)
  new[:count] = False
  assert new.sum() > 10
  logprobs = np.asarray(both.old_logprobs)[new]
  np.testing.assert_allclose(logprobs, np.asarray(known["prover"])[new], rtol=1e-4, atol=1e-5)
  assert np.abs(logprobs - np.asarray(known["policy"])[new]).max() > 0.1


def hash_of(run: Path) -> str:
  newest = max(commands.steps(run))
  return hashlib.sha256((run / "checkpoints" / str(newest) / manifests.NAME).read_bytes()).hexdigest()


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("role", ["teacher", "prover", "critic", "policy", "reward"])
def test_any_model_of_a_run_starts_one_of_another(run, role, hashed, tmp_path):
  """Frozen ones as they are, trained ones with their averages."""
  source = f"{run}#{role}" + (f"@{hash_of(run)[:10]}" if hashed else "")
  sizes = {"teacher": roles_method.TEACHER}.get(role, {})
  outputs = {"critic": ("values",), "reward": ("rewards",)}.get(role, ("logprobs",))
  heads = roles_method.HEADS if role == "critic" else 1
  other = ModelRole(config=sizes, init_from=source, outputs=outputs, heads=heads, trained=False)
  trainer, found = start_of(config_with({"other": other}), tmp_path / "run")
  assert found["other"].sha256 == hash_of(run)
  after = commands.arrays(run)
  expected = of_model(after, role) | of_model(after, role, "average")
  assert_bits(of_model(saved.arrays(trainer.state), "other"), expected)


def with_models(models, **more):
  """A user's method as an object: REINFORCE, with more models, and with fields in place of the family's."""

  def plain(trajectories, iteration) -> Signal:
    return Signal({"policy": policy_gradient.token_stream(trajectories, trajectories.old_logprobs)})

  def build(config, task):
    base = policy_gradient.method(config, task, plain, papers=())
    return dataclasses.replace(base, **{"models": {**base.models, **models}, **more})

  return types.SimpleNamespace(get_config=policy_gradient.get_config, build=build)


def with_method(method, *overrides: str):
  plain = small.make_config(*PLAIN, "logging.every_iterations=1", *overrides).to_dict()
  return configs.resolve_config(plain | {"method": {"name": method}, "stages": {}})


def config_with(models, *overrides: str, **more):
  return with_method(with_models(models, **more), *overrides)


@pytest.mark.parametrize(
  "tail, error, expected",
  [
    ("@0123abcd", UserError, "is not the start asked for: its checkpoint has hash {hash}, not 0123abcd"),
    ("#nobody", UserError, "has no model 'nobody': it has policy"),
    ("#nobody@{hash}", UserError, "has no model 'nobody': it has policy"),
    ("/elsewhere", Exception, "elsewhere does not exist: give the --workdir of a run"),
  ],
)
def test_a_start_that_is_not_there_is_one_line(sources, tail, error, expected, tmp_path, capsys):
  fill = lambda text: text.format(hash=hash_of(sources.prover)[:12])
  options = sources.options(f"method.prover.init_from={sources.prover}{fill(tail)}")
  flags = commands.flags("experiments/grpo.py:smoke", tmp_path / "run", *commands.SMALL, "init_from=", *options)
  assert train.main(flags) == 1
  (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
  assert line.startswith("rl_jax.train: ") and line.endswith(fill(expected)), line
  with pytest.raises(error):
    start_of(small.make_config(*options))


def test_a_start_of_other_sizes_is_one_line(sources):
  with pytest.raises(UserError, match="does not fit: seeds/models/policy/params/embedding is") as refused:
    start_of(small.make_config(*sources.options("method.teacher.model.width=16")))
  assert "\n" not in str(refused.value)


def test_a_start_that_is_neither_stage_nor_run_is_one_line(sources):
  with pytest.raises(UserError, match=r"'nowhere' is neither a stage of this config \(critic, warm_start\) nor"):
    start_of(small.make_config(*sources.options("method.teacher.init_from=nowhere")))


def test_a_field_that_a_model_does_not_have_is_one_line():
  with pytest.raises(UserError) as refused:
    initialization.build(config_with({"judge": ModelRole(config={"widht": 16}, trained=False)}))
  line = str(refused.value)
  assert line.startswith("model rl_jax.models.model: judge: no field widht: rl_jax.models.model has activation, ")
  assert "width" in line and "\n" not in line


def test_a_size_that_a_model_cannot_have_names_the_model():
  with pytest.raises(UserError, match="model rl_jax.models.model: judge: model.heads=3 is not a multiple of"):
    initialization.build(config_with({"judge": ModelRole(config={"heads": 3, "key_value_heads": 2}, trained=False)}))


@pytest.mark.parametrize(
  "role, options",
  [
    pytest.param("policy", (), marks=pytest.mark.slow),
    pytest.param("judge", ("optimizer.parameter_average=0.5",), marks=pytest.mark.slow),
    ("half", ("optimizer.parameter_average=0.5",)),
    pytest.param("policy", ("model.lora_rank=2",), marks=pytest.mark.slow),
    ("alone", ("model.lora_rank=2",)),
  ],
  ids=["plain", "frozen beside averages", "partly averaged", "adapted", "frozen beside adapters"],
)
def test_starts_are_read_from_runs_that_kept_more_or_less(role, options, tmp_path):
  """Whatever a run trained, averaged and adapted, whoever starts from it."""
  config = config_with(
    {
      "judge": ModelRole(init_from="policy", trained=False),
      "half": ModelRole(trained=lambda path: "up" in path),
      "alone": ModelRole(trained=False),
    },
    *options,
  )
  kept = saved.save(config, tmp_path / "source").seeds.models[role].params
  source = f"{tmp_path / 'source'}#{role}"
  others = {
    "frozen": ModelRole(init_from=source, trained=False),
    "half": ModelRole(init_from=source, trained=lambda path: "query" in path),
    "whole": ModelRole(init_from=source),
  }
  trainer, _ = start_of(config_with(others, "optimizer.parameter_average=0.9"))
  expected = initialization.build(config).models[role].merged(kept)
  for name in others:
    small.assert_same(trainer.state.seeds.models[name].params, expected)


@pytest.mark.parametrize("seeds", [1, 2])
def test_seeds_take_the_starts_of_a_model_in_turn(seeds, tmp_path):
  """A run of four seeds from one of fewer."""
  kept = saved.save(small.make_config(f"num_seeds={seeds}", "task.spare_tokens=0", *WIDE), tmp_path / "teacher")
  teacher = ModelRole(config=roles_method.TEACHER, init_from=str(tmp_path / "teacher"), trained=False)
  trainer, _ = start_of(config_with({"teacher": teacher}, "num_seeds=4"))
  in_turn = jax.tree.map(lambda x: x[np.arange(4) % seeds], kept.seeds.models["policy"].params)
  small.assert_same(trainer.state.seeds.models["teacher"].params, in_turn)


def test_a_model_that_is_kept_as_a_part_of_another_is_no_start(tmp_path):
  """With adapters, a reference is the policy without them, and nothing of it is saved."""
  config = config_with({"judge": ModelRole(init_from="policy", trained=False)}, "model.lora_rank=2")
  saved.save(config, tmp_path / "source")
  with pytest.raises(UserError, match="has no model 'judge': it has policy"):
    start_of(config_with({"other": ModelRole(init_from=f"{tmp_path / 'source'}#judge", trained=False)}))


def test_models_take_over_from_one_another_in_any_order():
  """One that starts as one that starts as the policy is the policy."""
  models = {
    "last": ModelRole(init_from="middle", trained=False),
    "middle": ModelRole(init_from="policy", trained=False),
  }
  trainer, _ = start_of(config_with(models))
  bound = state.bind(trainer.experiment, jax.tree.map(lambda x: x[0], trainer.state.seeds.models))
  for role in models:
    small.assert_same(bound[role].params, bound["policy"].params)


@pytest.mark.parametrize("names", [("a",), ("a", "b")])
def test_models_that_start_as_one_another_are_refused(names):
  ahead = (*names[1:], names[0])
  models = {name: ModelRole(init_from=other, trained=False) for name, other in zip(names, ahead, strict=True)}
  said = "start from one another: .* .a stage of the same name is [ab]#policy.$"
  with pytest.raises(UserError, match=said) as refused:
    initialization.build(config_with(models))
  assert all(name in str(refused.value) for name in names) and "\n" not in str(refused.value)


NEVER = ModelRole(trained=False)


@pytest.mark.parametrize(
  "models, scoring, expected",
  [
    ({"policy": ModelRole(init_from="judge"), "judge": NEVER}, {}, "the policy starts where the config's init_from"),
    (
      {"judge": ModelRole(trained=False, loss=lambda outputs, rows: None)},
      {},
      "judge has a loss of its own and trained",
    ),
    ({"judge": NEVER}, {"x": ("juge", "logprobs")}, "scoring of x: no model 'juge' has an output 'logprobs' (policy: "),
    (
      {"judge": NEVER},
      {"x": ("judge", "values")},
      "scoring of x: no model 'judge' has an output 'values' (policy: log",
    ),
    (
      {"judge": ModelRole(trained=False, outputs=("hidden", "readout"))},
      {"x": ("judge", "readout")},
      "scoring of x: readout has no rows to score: a loss reads it as outputs['judge']['readout']",
    ),
  ],
)
def test_models_that_do_not_go_together_are_one_line(models, scoring, expected):
  with pytest.raises(UserError) as refused:
    initialization.build(config_with(models, scoring=scoring))
  assert f": {expected}" in str(refused.value) and "\n" not in str(refused.value)


def test_a_method_without_a_policy_is_one_line():
  whole = with_models({})
  judged = lambda config, task: dataclasses.replace(whole.build(config, task), models={"judge": NEVER})
  method = types.SimpleNamespace(get_config=whole.get_config, build=judged)
  with pytest.raises(UserError, match="it names no model 'policy', but judge"):
    initialization.build(with_method(method))


# What learns when.


def test_a_model_with_a_loss_of_its_own_scores_after_it_has_learnt():
  """And all others with the parameters from before."""

  def fit(outputs, trajectories) -> Loss:
    assert outputs.keys() == {"reward"}
    return Loss({"fit": Term(masked_mean(jnp.square(outputs["reward"]["rewards"] - 1.0), trajectories.row_mask))}, {})

  def signal(trajectories, number) -> Signal:
    extras = trajectories.extras
    metrics = {
      name: masked_mean(jnp.abs(extras[name]), jnp.ones_like(extras[name], bool)) for name in ("late", "early")
    }
    return Signal({"policy": policy_gradient.token_stream(trajectories, trajectories.old_logprobs)}, metrics)

  models = {
    "reward": ModelRole(outputs=("rewards",), loss=fit),
    "frozen": ModelRole(outputs=("rewards",), init_from="reward", trained=False),
  }
  scoring = {"late": ("reward", "rewards"), "early": ("frozen", "rewards")}
  options = ("learning_rate=0.01", "optimizer.warmup_updates=0")
  config = config_with(models, *options, scoring=scoring, signal=signal, requires=("late", "early"))
  experiment = initialization.build(config)
  seed = small.make_seed(experiment)

  @jax.jit
  def learn(seed):
    rows = iteration.make_batch(experiment, seed, 0)[1]
    after, report = iteration.learn(experiment, seed, rows, 0)
    score = lambda models: (
      masked_mean(
        jnp.abs(experiment.models["reward"].outputs(models["reward"].params, rows.trajectories)["rewards"]),
        rows.trajectories.row_mask,
      ).value
    )
    return {name: report.metrics[name].value for name in scoring}, score(seed.models), score(after.models)

  told, before, after = jax.tree.map(float, learn(seed))
  assert abs(before - after) > 1e-3
  assert told["early"] == pytest.approx(before, abs=1e-6) and told["late"] == pytest.approx(after, abs=1e-6)


def test_a_reward_model_learns_alone_beside_a_frozen_policy():
  """And a method without a term of its own leaves it at that."""

  def fit(outputs, trajectories) -> Loss:
    error = jnp.square(outputs["reward"]["rewards"] - trajectories.response_lengths)
    return Loss({"fit": Term(masked_mean(error, trajectories.row_mask))}, {})

  models = {"policy": ModelRole(trained=False), "reward": ModelRole(outputs=("rewards",), loss=fit)}
  nothing = {
    "signal": lambda trajectories, number: Signal({}),
    "loss": lambda outputs, trajectories, streams: Loss({}, {}),
  }
  experiment = initialization.build(config_with(models, "optimizer.warmup_updates=0", **nothing))
  trainer = Trainer(experiment, mesh.make_mesh(experiment.config.mesh))
  before = saved.arrays(trainer.state)
  trainer.compile()
  (metrics,) = trainer.advance().metrics
  after = saved.arrays(trainer.state)
  assert not moved(of_model(before, "policy"), of_model(after, "policy"))
  assert moved(of_model(before, "reward"), of_model(after, "reward")) == set(of_model(after, "reward"))
  assert metrics["learning_rate"] == 0 and metrics["ratio_error"] == 0 and metrics["reward/gradient_norm"] > 0


@pytest.mark.parametrize("broken", ["reward", *(pytest.param(x, marks=pytest.mark.slow) for x in ("other", "policy"))])
def test_a_loss_that_is_never_finite_is_not_hidden_by_those_of_other_models(broken):
  """The run is told which of its seeds are stuck, whichever loss it is."""

  def scaled(name):
    return lambda x: x * (jnp.nan if name == broken else 1.0)

  def fit(name):
    return lambda outputs, trajectories: Loss(
      {"fit": Term(masked_mean(scaled(name)(jnp.square(outputs[name]["rewards"])), trajectories.row_mask))}, {}
    )

  def loss(outputs, trajectories, streams) -> Loss:
    return Loss(
      {"policy": Term(masked_mean(scaled("policy")(outputs["policy"]["logprobs"]), trajectories.trained))}, {}
    )

  models = {name: ModelRole(outputs=("rewards",), loss=fit(name)) for name in ("reward", "other")}
  experiment = initialization.build(
    config_with(models, "optimizer.max_skipped_updates=2", "evaluation.greedy=False", loss=loss)
  )
  trainer = Trainer(experiment, mesh.make_mesh(experiment.config.mesh))
  before = saved.arrays(trainer.state)
  trainer.compile()
  assert [trainer.advance().skipped_in_a_row.tolist() for _ in range(3)] == [[[1]], [[2]], [[3]]]
  after = saved.arrays(trainer.state)
  for name in ("policy", "reward", "other"):
    assert bool(moved(of_model(before, name), of_model(after, name))) == (name != broken)


def test_a_frozen_policy_is_evaluated_where_others_have_averages(tmp_path):
  method = with_models(
    {"policy": NEVER, "other": ModelRole()}, loss=lambda outputs, trajectories, streams: Loss({}, {})
  )
  config = with_method(method, "optimizer.parameter_average=0.9", "evaluation.greedy=False")
  saved.save(config, tmp_path / "run")
  record = evaluate.evaluate(config, tmp_path / "run", "newest")
  assert record


# Stages.


def staged(sources, *more: str):
  """The teacher is a stage of the run's own config, and so is a first part of it that needs the teacher too."""
  config = small.make_config(
    *sources.options("method.teacher.init_from=school", "method.prover.init_from=policy", *more)
  )
  plain, warm = config.to_dict(), config.stages.warm_start.to_dict()
  own = {name: warm[name] for name in ("method", "num_seeds", "completions_per_prompt", "seed")}
  own |= {"evaluation": {"every_iterations": 2}, "num_iterations": 2, "model": dict(roles_method.TEACHER)}
  half = {"num_iterations": 2, "seed": 50}
  plain["stages"] = {"school": own, "half": half, "warm_start": warm}
  return configs.resolve_config(plain)


@pytest.mark.slow  # test_opd.py and the chains of stages in tests/launching have others
def test_a_teacher_is_a_stage_that_is_trained_first(sources, tmp_path):
  config = staged(sources, "num_iterations=2")
  said = io.StringIO()
  result = launch.train(config, tmp_path / "run", launch.Terminal(["test"], said, Stop()))
  assert result.finished
  (school,) = (tmp_path / "stages").iterdir()
  assert school.name.startswith("school-") and school == initialization.stage_folder(config, "school", tmp_path / "run")
  assert_bits(of_model(commands.arrays(tmp_path / "run"), "teacher"), averaged(commands.arrays(school)))
  (entry,) = json.loads((tmp_path / "run" / "manifest.json").read_text())["launches"]
  assert entry["models_started_from"] == {"teacher": [str(school), hash_of(school)]}
  told = said.getvalue()
  assert told.index("school-") < told.index(f"{tmp_path / 'run'}: cpu"), "before the run is compiled"


def averaged(arrays):
  return of_model(arrays, "policy") | of_model(arrays, "policy", "average")


def test_stages_keep_those_that_their_models_start_from_and_no_others(sources):
  config = staged(sources)
  kept = lambda name, config=config: set(initialization.stage_config(config, name).stages)
  assert kept("half") == {"school"}, "by its method's teacher"
  assert kept("school") == kept("warm_start") == set()
  for tail in ("#critic", "@0123", "#policy@0123"):
    assert kept("half", staged(sources, f"method.teacher.init_from=school{tail}")) == {"school"}
  other = staged(sources, "method.teacher.init_from=")
  assert kept("half", other) == set()


def test_a_stage_that_would_start_from_itself_is_one_line(sources, tmp_path):
  """It has no method of its own, and that of the run starts its teacher there."""
  config = staged(sources, "method.teacher.init_from=half")
  stage = initialization.stage_config(config, "half")
  assert not stage.stages
  with pytest.raises(UserError, match=r"init_from='half' is neither a stage of this config \(none\) nor"):
    start_of(stage, tmp_path / "run")


def test_a_stage_that_was_stopped_ends_the_run_that_needs_it(sources):
  experiment = initialization.build(staged(sources))
  assert initialization.find(experiment, Path("runs/x"), lambda config, folder: False) is None


# Meshes.


@pytest.fixture(scope="module")
def on_meshes(tmp_path_factory):
  """What one iteration of the method is, by shape of the mesh, and the parameters that its frozen models start with."""
  folder = tmp_path_factory.mktemp("sources_of_meshes")
  plain = (*every_method.SMALL, "task.spare_tokens=0")
  kept = {
    role: saved.save(small.make_config(*plain, f"seed={seed}", *sizes), folder / role)
    for role, seed, sizes in (("teacher", 7, WIDE), ("prover", 8, ()))
  }
  given = [f"method.{role}.init_from={folder / role}" for role in kept]
  overrides = [*commands.SMALL, "init_from=", f"method.name={METHOD}", "method.only=attention", *plain, *given]
  cases = json.dumps([["experiments/grpo.py:smoke", overrides]])
  env = commands.environment(commands.shared_cache(tmp_path_factory), XLA_FLAGS=compilation.devices(8))
  command = [sys.executable, "-m", "tests.training.iterations_on_eight_devices", cases]
  done = subprocess.run(command, cwd=commands.ROOT, env=env, capture_output=True, text=True, timeout=600)
  assert done.returncode == 0, done.stderr[-4000:]
  found = {tuple(line["shape"]): line["found"] for line in map(json.loads, done.stdout.splitlines())}
  return found, {role: state.seeds.models["policy"].params for role, state in kept.items()}


@pytest.mark.slow  # test_mesh.py has the policy on these meshes
def test_an_iteration_on_eight_devices_is_that_of_one(on_meshes):
  """The same tokens; metrics and parameters to the tolerances of test_mesh.py."""
  one, found = (on_meshes[0][shape] for shape in ((1, 1, 1), (2, 2, 2)))
  assert len(found["tokens"]) == 16 and found["tokens"] == one["tokens"]
  assert found["before"] == one["before"] != one["after"]
  for part, tolerance in (("metrics", 1e-4), ("after", 1e-5)):
    assert found[part].keys() == one[part].keys()
    for name, values in one[part].items():
      np.testing.assert_allclose(found[part][name], values, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.slow
def test_every_model_is_split_over_the_mesh_and_frozen_ones_stay_as_they_came(on_meshes):
  found, kept = on_meshes
  gate = lambda role, layer: f"['{role}']['layer_{layer}']['feed_forward']['gate']"
  split = found[2, 2, 2]["split"]
  assert split[gate("policy", 0)] == split[gate("critic", 0)] == split[gate("prover", 0)] == [1, 8, 8]
  assert split[gate("teacher", 1)] == [1, 6, 5] and split["['critic']['output']"] == [1, 8, 3]
  for shape in found:
    for role, params in kept.items():
      expected = {
        f"['{role}']{name}": np.asarray(leaf, np.float64).ravel() for name, leaf in small.leaves(params).items()
      }
      for name, leaf in expected.items():
        assert found[shape]["after"][name] == leaf.tolist(), name
