"""Every experiment: its config resolves, its parts build at full size, and its variant "smoke" learns.

Tasks scored in Python need data and a pretrained model: those experiments are built where both are at hand.
"""

from __future__ import annotations

import functools
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import pytest

from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.experiments.studies import horizon
from rl_jax.launching import initialization, launch
from rl_jax.models import pretrained_files
from rl_jax.models.errors import ModelFileError
from rl_jax.tasks.host import HostTask
from rl_jax.training import evaluation, iteration, state
from rl_jax.training.sizes import sizes_of
from tests.launching.test_launch import quiet
from tests.training import every_method, small

FOLDER = Path(__file__).parents[1] / "experiments"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__init__", "common"))


HOST = [name for name in NAMES if name.startswith("smollm2")]
"""Experiments on tasks that are scored in Python."""
DEVICE = [name for name in NAMES if name not in HOST]
LONG = ("dmoerm", "opd")
"""Experiments that are a chain of stages: the smoke variant takes a minute or two."""
ALIKE = (
  "gigpo", "gpg", "maxrl", "mt_grpo", "opo", "passk", "rae", "reinforce_pp", "salt", "turn_gae", "grpo_addition",
  "grpo_calls", "grpo_checklist", "grpo_checks", "grpo_cipher", "grpo_decisions", "grpo_lookup", "grpo_mixture",
  "grpo_pairs", "grpo_planted", "grpo_pool", "grpo_rooms", "dr_grpo", "rloo", "benchmark", "no_reward",
)  # fmt: skip
"""Experiments that differ from another in an estimator or a task alone, which other tests have."""
TRAINED = (
  "a_grae", "adhint", "adora", "aspo", "canon", "cm2", "copo", "dapo", "dler", "dler_merge", "dump", "dvao", "hiper",
  "igpo", "oracle", "pav", "pdr", "ppo", "prime", "r3", "scar", "siri", "slate", "spae", "spo_chain", "spo_tree",
  "tppo", "v05", "verpo",
)  # fmt: skip
"""Experiments of methods that tests/methods/ takes through an iteration or two."""
SLOW = (*LONG, *ALIKE, *TRAINED)


def config_of(name, variant):
  return configs.resolve(f"{FOLDER / name}.py" + (f":{variant}" if variant else ""))


def test_every_method_has_an_experiment():
  methods = {path.stem for path in (FOLDER.parent / "rl_jax/methods").glob("[a-z]*.py")}
  assert methods - {"method", "policy_gradient", *every_method.STAGE} <= set(NAMES)


@pytest.mark.parametrize("variant", ["", "smoke"])
@pytest.mark.parametrize("name", HOST)
def test_what_is_scored_in_python_builds_where_its_model_is_there(name, variant):
  pytest.importorskip("reasoning_gym")
  config = config_of(name, variant)
  try:
    pretrained_files.open_source(config.model.checkpoint)
  except ModelFileError as error:
    pytest.skip(str(error))
  built = initialization.build(config)
  assert isinstance(built.task, HostTask) and min(built.task.sizes.values()) >= config.evaluation.prompts
  sizes_of(config).check(config.prompts_per_iteration * config.completions_per_prompt)
  built.task.close()


@pytest.mark.parametrize("name", DEVICE)
def test_its_parts_build_at_full_size(name):
  config = config_of(name, "")
  built = initialization.build(config)
  plan, _ = jax.eval_shape(lambda: iteration.make_plan(built, state.init_seed(built, 0, None), jax.random.key(0)))
  assert plan.row_mask.shape[0] % plan.prompt_ids.shape[0] == 0


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
  """A folder for the warm starts, which most experiments share."""
  return tmp_path_factory.mktemp("smoke")


@pytest.mark.integration
@pytest.mark.parametrize(
  "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in DEVICE]
)
def test_every_iteration_of_its_smoke_variant_moves_the_policy(name, stages):
  """Some responses are right and some are wrong, and all parameters of every seed change in every iteration."""
  config = configs.resolve(f"{FOLDER / name}.py:smoke", ["logging.every_iterations=1"])
  experiment = initialization.build(config)
  train = lambda stage, folder: launch.train(stage, folder, quiet(), is_stage=True).finished
  starts = initialization.find(experiment, stages / name, train)
  trainer = every_method.trainer_of(experiment, {role: start.params for role, start in starts.items()})
  policy, rewards = lambda: small.leaves(jax.device_get(trainer.state.seeds.models["policy"].params)), []
  for _ in range(config.num_iterations):
    before, ((metrics,), *_) = policy(), trainer.advance()
    assert (metrics["gradient_norm"] > 0).all() and not metrics["skipped_updates"].any()
    after = policy()
    still = [leaf for leaf in after if (after[leaf] == before[leaf]).reshape(config.num_seeds, -1).all(axis=1).any()]
    assert not still
    rewards.append(metrics["reward"])
  means = np.nanmean(rewards, axis=0)  # T-PPO finishes no response in its first iteration
  assert ((0.1 < means) & (means < 0.9)).all(), means
  held_out = jax.eval_shape(lambda s: evaluation.evaluate(experiment, s), trainer.state)
  assert held_out["held_out/sampled_accuracy"].shape == (config.num_seeds,)


@functools.cache
def shapes(model):
  """Parameters of a model, traced once for all experiments that have it."""
  return jax.eval_shape(lambda: nn.unbox(model.init(jax.random.key(0))))


@pytest.mark.parametrize("variant", ["", "smoke"])
@pytest.mark.parametrize("name", DEVICE)
def test_its_stages_resolve_and_give_the_parameters_of_whoever_starts_from_them(name, variant):
  """The run and each of its stages: policies, critics, provers and teachers."""
  config = config_of(name, variant)
  built = {stage: initialization.build(initialization.stage_config(config, stage)) for stage in config.stages}
  for experiment in (initialization.build(config), *built.values()):
    for role, own in experiment.method.models.items():
      init_from = experiment.config.init_from if role == "policy" else own.init_from
      if init_from and init_from not in experiment.method.models:
        place, of_stage, _ = initialization.parsed(init_from)
        start, model = shapes(built[place].models[of_stage]), shapes(experiment.models[role])
        assert jax.tree.structure(start) == jax.tree.structure(model)
        assert jax.tree.leaves(start) == jax.tree.leaves(model)


def test_a_verbose_start_is_taught_long_and_short_responses():
  """All steps once take eleven tokens; most demonstrations are longer, some shorter, and none fills its room."""
  task = initialization.build(config_of("grpo", "verbose")).task
  demonstrate = jax.jit(lambda key: task.demonstrate(key, task.prompts(np.arange(256), "train"))[1].sum(axis=1))
  lengths = np.asarray(demonstrate(jax.random.key(0)))
  assert (lengths > 11).mean() > 0.6 and (lengths < 11).mean() > 0.1 and lengths.std() > 2
  assert lengths.max() == 19 < task.response_tokens


def test_sixteen_operations_are_taught_after_eight():
  config = config_of("grpo", "deceptive_16")
  assert set(dict(paths(config))) == {"short_start", "long_start", "warm_start"}
  operations = lambda stage: initialization.stage_config(config, stage).task.levels.sixteen.operations
  assert [operations(stage) for stage in ("short_start", "long_start", "warm_start")] == [8, 16, 16]
  rates = lambda config: (config.task.lure_rate, config.task.step_error_rate, config.task.recheck_rate)
  assert rates(config) == rates(initialization.stage_config(config, "warm_start")) == (0.5, 0.02, 0.02)
  assert rates(initialization.stage_config(config, "short_start")) == (0.7, 0.05, 0.05)


@pytest.mark.parametrize("name", NAMES)
def test_a_variant_that_is_not_known_is_one_line(name):
  with pytest.raises(UserError, match="variant 'smoky' is not known"):
    config_of(name, "smoky")


def test_a_stage_of_a_stage_is_the_one_that_other_runs_start_from():
  config = configs.resolve("experiments/grpo.py:half_way")
  shared = initialization.stage_folder(config, "warm_start", Path("runs/mine"))
  half_way = initialization.stage_folder(config, "half_way", Path("runs/mine"))
  assert initialization.stage_folder(initialization.stage_config(config, "half_way"), "warm_start", half_way) == shared


def paths(config):
  """(stage, its folder) for all ways that lead to a stage, from a config or from one of its stages."""
  experiment = initialization.build(config)
  fields = [config.init_from, *(role.init_from for role in experiment.method.models.values())]
  for place in {initialization.parsed(field).place for field in fields} & set(config.stages):
    yield place, initialization.stage_folder(config, place, Path("runs/mine")).name
    yield from paths(initialization.stage_config(config, place))


@pytest.mark.parametrize("variant", ["", "smoke", "bridged", "raw", "opd_only", "teacher_samples", "cold"])
def test_a_stage_of_a_chain_is_one_run_whichever_way_leads_to_it(variant):
  """Else a teacher would be trained once for the bridge and again for what comes after it."""
  found = list(paths(config_of("opd", variant)))
  assert len(set(found)) == len(dict(found))
  chain = {"warm_start", "teacher_start", "trained_teacher", "bridge", "distillation"}
  left_out = {
    "raw": {"trained_teacher", "distillation"}, "cold": chain - {"warm_start"}, "": set(), "smoke": set()
  }  # fmt: skip
  assert set(dict(found)) == chain - left_out.get(variant, {"distillation"})


@pytest.mark.parametrize("variant", ["4", "", "16"])
def test_all_entries_of_a_horizon_begin_with_the_same_starts(variant):
  """Seeds are compared in pairs; a start that inherits a method's own minibatches would be another run."""
  study = horizon.get_config(variant)
  config = lambda entry: configs.resolve(entry.config, [*study.overrides, *entry.overrides])
  folders = {
    initialization.stage_folder(config(entry), "warm_start", Path("runs/mine")) for entry in study.entries.values()
  }
  assert len(study.entries) == 12 and len(folders) == 1
