"""The launcher's configuration: merging, overrides, types, names, and what a person sees after a slip."""

from __future__ import annotations

import importlib
import json
import sys
import types
from pathlib import Path

import pytest

from rl_jax.configuration import command_line, configs, parts
from rl_jax.configuration.command_line import parse_flags
from rl_jax.configuration.configs import resolve, resolve_config, resolve_role
from rl_jax.errors import UserError
from rl_jax.list import roles

METHOD = """
CLIP = 0.2
class Other:
  @staticmethod
  def get_config(): return {"beta": 0.1}
  @staticmethod
  def build(config): return "other"
def get_config():
  return {"clip_low": CLIP, "clip_high": CLIP, "epochs": 1, "center": True, "aggregation": "token",
          "target_kl": None, "limit": 5, "critic": {"width": 8, "betas": (0.9, 0.99)}}
def build(config): return "method"
"""
TASK = """
def get_config():
  return {"levels": {"easy": {"operations": 2, "modulus": 10}}, "mixture": {"easy": 1.0}, "names": ("a", "b")}
def build(config): return "task"
"""
EXPERIMENT = """
from ml_collections import ConfigDict
def get_config(variant=""):
  config = ConfigDict()
  config.learning_rate = 1e-3
  config.num_iterations = 10 if variant == "smoke" else 500
  config.seed = 0
  config.method = ConfigDict({"name": "fake_method", "clip_high": 0.28, "limit": None})
  config.task = ConfigDict({"name": "fake_task"})
  config.logging = ConfigDict({"every": 10})
  config.stages = ConfigDict({})
  return config
"""


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
  """Fake parts that can be imported, and experiments/grpo.py, in a folder of their own."""
  (tmp_path / "experiments").mkdir()
  (tmp_path / "fake_method.py").write_text(METHOD)
  (tmp_path / "fake_task.py").write_text(TASK)
  (tmp_path / "experiments/grpo.py").write_text(EXPERIMENT)
  (tmp_path / "experiments/rloo.py").write_text(EXPERIMENT)
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(str(tmp_path))
  yield tmp_path
  for name in ("fake_method", "fake_task"):
    sys.modules.pop(name, None)


def grpo(*overrides, variant=""):
  return resolve("experiments/grpo.py" + variant, overrides)


def base(**changes):
  return {"learning_rate": 1e-3, "method": {"name": "fake_method"}, "task": {"name": "fake_task"}, **changes}


def message(*overrides):
  with pytest.raises(UserError) as caught:
    grpo(*overrides)
  assert "\n" not in str(caught.value)
  return str(caught.value)


def test_file_goes_over_the_defaults_of_its_parts():
  config = grpo()
  assert config.method.clip_low == 0.2 and config.method.clip_high == 0.28
  assert config.method.critic.betas == (0.9, 0.99) and config.method.limit is None
  assert config.task.levels.easy.operations == 2
  assert config.num_iterations == 500 and grpo(variant=":smoke").num_iterations == 10


def test_the_result_is_locked():
  with pytest.raises(AttributeError):
    grpo().learning_rat = 1.0


def test_overrides_take_the_type_that_is_there():
  config = grpo(
    "learning_rate=3",
    "seed=1e3",
    "method.center=False",
    "method.aggregation=7",
    "method.target_kl=0.1",
    "method.critic.betas=[1, 0.5]",
    "method.limit=4",
    "task.names='c',",
    "task.levels.easy.operations=4",
    "--config.logging.every=5",
  )
  assert config.learning_rate == 3.0 and isinstance(config.learning_rate, float)
  assert config.seed == 1000 and isinstance(config.seed, int)
  assert config.method.center is False and config.method.aggregation == "7"
  assert config.method.target_kl == 0.1 and config.method.limit == 4
  assert config.method.critic.betas == (1.0, 0.5) and config.task.names == ("c",)
  assert config.task.levels.easy.operations == 4 and config.logging.every == 5


def test_none_is_for_fields_whose_default_is_none():
  assert grpo("method.target_kl=none", "method.limit=none").method.limit is None
  assert resolve_config(base(), {"method.target_kl": "0.5"}).method.target_kl == 0.5
  with_value = base(method={"name": "fake_method", "target_kl": 0.5})
  assert resolve_config(with_value, {"method.target_kl": "none"}).method.target_kl is None
  assert message("seed=none") == "config key 'seed': expected int, got 'none'"


@pytest.mark.parametrize(
  "override, expected",
  [
    ("seed=1.5", "config key 'seed': expected int, got '1.5'"),
    ("seed=true", "config key 'seed': expected int, got 'true'"),
    ("learning_rate=fast", "config key 'learning_rate': expected float, got 'fast'"),
    ("method.limit=x", "config key 'method.limit': expected int, got 'x'"),
    ("method.center=1", "config key 'method.center': expected bool, got '1'"),
    ("method.critic.betas=0.9", "config key 'method.critic.betas': expected tuple, got '0.9'"),
    ("method.critic.betas=('x',)", "config key 'method.critic.betas[0]': expected float, got 'x'"),
    ("method.critic=3", "config key 'method.critic' is a section: set one of its fields (width, betas)"),
    ("learning_rat=1", "unknown config key 'learning_rat': did you mean 'learning_rate'?"),
    ("method.clip_hihg=1", "unknown config key 'method.clip_hihg': did you mean 'method.clip_high'?"),
    ("clip_high=1", "unknown config key 'clip_high': did you mean 'method.clip_high'?"),
    ("seed.x=1", "unknown config key 'seed.x': did you mean 'seed'?"),
    ("method.critic.widht=1", "unknown config key 'method.critic.widht': did you mean 'method.critic.width'?"),
    ("seed", "override 'seed' has no value: write seed=VALUE"),
  ],
)
def test_slips_in_overrides(override, expected):
  assert message(override) == expected


def test_python_values_as_a_notebook_gives_them():
  import numpy as np

  config = resolve_config(base(), {"learning_rate": np.float32(0.5), "method.epochs": 2.0, "method.center": False})
  assert config.learning_rate == 0.5 and config.method.epochs == 2 and config.method.center is False
  with pytest.raises(UserError, match="expected int, got True"):
    resolve_config(base(), {"method.epochs": True})


def test_open_sections_take_new_names():
  config = grpo("task.levels.hard.operations=9", "task.levels.hard.mode=mod", "stages.warm.method.name=x.y")
  assert config.task.levels.hard.operations == 9 and config.task.levels.hard.mode == "mod"
  assert config.task.levels.easy.modulus == 10
  assert config.stages.warm.method.name == "x.y"
  assert "mixture.hard" in message("task.mixture.hard=0.5")  # this one is closed
  whole = grpo("task.levels={'only': {'operations': 3}}")
  assert whole.task.levels.to_dict() == {"only": {"operations": 3}}


def empty_sections(defaults, key):
  for name, value in defaults.items():
    if isinstance(value, dict):
      yield from empty_sections(value, f"{key}.{name}") if value else (f"{key}.{name}",)


@pytest.mark.parametrize(("role", "folder"), [("task", "tasks"), ("method", "methods"), ("model", "models")])
def test_a_section_without_fields_of_its_own_takes_any(role, folder):
  """Otherwise no command could set anything in it."""
  names = [entry.name for entry in roles(folder)]
  found = {key for name in names for key in empty_sections(importlib.import_module(name).get_config(), role)}
  assert len(names) > 3 and found <= set(configs.OPEN)


def test_arguments_of_a_class_are_set_as_a_whole_or_one_by_one():
  arguments = ["task.arguments={'a': 1}", "task.arguments.b=0.5"]
  task = resolve("grpo", ["task.name=rl_jax.tasks.environments.host", *arguments]).task
  assert task.arguments.to_dict() == {"a": 1, "b": 0.5}


def test_levels_of_a_file_replace_the_default_ones():
  config = resolve_config(base(task={"name": "fake_task", "levels": {"hard": {"operations": 16}}}))
  assert config.task.levels.to_dict() == {"hard": {"operations": 16}}


def test_a_file_cannot_invent_or_bend_keys():
  with pytest.raises(UserError, match="'method.clip_hig' in the file: did you mean 'method.clip_high'"):
    resolve_config(base(method={"name": "fake_method", "clip_hig": 0.1}))
  with pytest.raises(UserError, match="config key 'method.clip_low': expected float, got '0.1'"):
    resolve_config(base(method={"name": "fake_method", "clip_low": "0.1"}))
  with pytest.raises(UserError, match="config.method.name is missing"):
    resolve_config(base(method={}))


def test_names_are_overridden_before_the_defaults_are_merged():
  config = resolve_config(base(), {"method.beta": 0.2, "method.name": "fake_method:Other"})
  assert config.method.to_dict() == {"name": "fake_method:Other", "beta": 0.2}


def test_roles_by_path_file_and_object(files):
  outside = files / "elsewhere/mine.py"
  outside.parent.mkdir()
  head = "from __future__ import annotations\nimport dataclasses\n@dataclasses.dataclass\nclass A:\n  x: int = 0\n"
  outside.write_text(head + METHOD)
  assert resolve_role("fake_method").build(None) == "method"
  assert resolve_role("fake_method:Other").build(None) == resolve_role("fake_method.Other").build(None) == "other"
  assert resolve_role(str(outside)).build(None) == "method"
  assert resolve_role("elsewhere/mine.py:Other") is resolve_role("elsewhere/mine.py:Other")
  here = types.SimpleNamespace(get_config=lambda: {"x": 1}, build=lambda config: "object")
  config = resolve_config(base(method={"name": here}), {"method.x": "2"})
  assert config.method.x == 2 and resolve_role(config.method.name) is here
  first = resolve_role(str(outside))
  outside.write_text(METHOD.replace("0.2", "0.3"))
  assert resolve_role(str(outside)) is not first


@pytest.mark.parametrize(
  "name, expected",
  [
    ("rl_jax.training.manifest", "no module 'rl_jax.training.manifest': did you mean 'rl_jax.training.manifests'?"),
    ("no_such_package.x", "no module 'no_such_package.x': is its folder the current one, or on PYTHONPATH?"),
    ("fake_method:Othe", "'fake_method:Othe': there is no 'Othe' in it: did you mean 'Other'?"),
    ("fake_metod.py", "no file 'fake_metod.py': did you mean 'fake_method.py'?"),
    ("json", "'json' cannot be used as method, task or model: it has no get_config()"),
    ("a b", "'a b' is not Python code: write 'package.module', 'package.module:Name' or 'file.py:Name'"),
  ],
)
def test_unknown_roles(name, expected):
  with pytest.raises(UserError) as caught:
    resolve_role(name)
  assert str(caught.value) == expected


def test_faults_inside_a_file_come_through(files):
  (files / "broken.py").write_text("import not_installed_anywhere\n")
  with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
    resolve_role("broken")
  (files / "experiments/broken.py").write_text("def get_config(:\n")
  with pytest.raises(SyntaxError):
    resolve("experiments/broken.py")


def test_a_former_name_ends_in_a_line_with_the_new_one():
  with pytest.raises(UserError, match="unknown config key 'method.prompts': it is 'method.curriculum' now"):
    resolve("grpo", ["method.prompts=epochs"])
  assert resolve("grpo", ["method.curriculum=epochs"]).method.curriculum == "epochs"


def test_unknown_experiments(files):
  with pytest.raises(UserError, match="^no file 'experiments/grp.py': did you mean 'experiments/grpo.py'\\?$"):
    resolve("experiments/grp.py")
  with pytest.raises(UserError, match="^no experiment 'experiments/grpo': did you mean the file 'experiments/grpo.py'"):
    resolve("experiments/grpo")
  (files / "experiments/plain.py").write_text("def get_config(): return {'seed': 1}\n")
  assert resolve("experiments/plain.py").seed == 1
  with pytest.raises(UserError, match="has no variants: leave ':smoke' out"):
    resolve("experiments/plain.py:smoke")
  (files / "empty.py").write_text("")
  with pytest.raises(UserError, match=r"empty.py has no get_config\(variant\): it is not an experiment"):
    resolve("empty.py")


def test_a_run_is_kept_in_a_folder_with_the_name_of_its_experiment():
  assert str(command_line.default_workdir("grpo")) == "runs/grpo"
  assert str(command_line.default_workdir("my/own.py:smoke")) == "runs/own-smoke"


def test_experiments_of_the_package_are_found_by_name(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  assert resolve("grpo:smoke").method.name == "rl_jax.methods.grpo"
  with pytest.raises(UserError, match=r"^no experiment 'grp': did you mean 'grpo'\? \(a file of your own ends"):
    resolve("grp:smoke")
  with pytest.raises(UserError, match="^no experiment '../grpo'"):
    resolve("../grpo")
  with pytest.raises(UserError, match="^no experiment 'horizon': run it with rl-jax study horizon$"):
    resolve("horizon")
  (tmp_path / "runs").mkdir()
  with pytest.raises(UserError, match="^no experiment 'runs': it is a folder; that of a run is given as --workdir$"):
    resolve("runs")


def test_files_of_a_checkout_are_found_by_their_name_where_there_is_none(monkeypatch, tmp_path):
  (tmp_path / "empty").mkdir()
  monkeypatch.chdir(tmp_path / "empty")
  assert resolve("experiments/grpo.py:smoke").method.name == "rl_jax.methods.grpo"
  assert Path(resolve("smollm2_code:smoke").task.file).is_absolute()
  monkeypatch.chdir(Path(__file__).parents[2])
  assert resolve("smollm2_code:smoke").task.file == "experiments/data/functions.jsonl"


def test_a_variant_that_is_not_known_is_one_line():
  with pytest.raises(UserError, match="^grpo: variant 'smok' is not known: leave it out, or take one of "):
    resolve("grpo:smok")


@pytest.mark.parametrize("experiment", ["grpo:", "smollm2_grpo:"])
def test_a_variant_that_is_left_empty_is_one_line_with_those_there_are(experiment):
  with pytest.raises(
    UserError, match=rf"^{experiment} variant ':' is not known: leave it out, or take one of \"smoke\", "
  ):
    resolve(experiment)


def test_a_variant_that_is_left_empty_is_refused_by_files_that_take_any(files):
  with pytest.raises(UserError, match="^experiments/grpo.py: the variant behind ':' is missing: leave the colon out"):
    resolve("experiments/grpo.py:")
  (files / "experiments/plain.py").write_text("def get_config(): return {'seed': 1}\n")
  with pytest.raises(UserError, match="has no variants: leave ':' out"):
    resolve("experiments/plain.py:")


@pytest.mark.parametrize("name, suggestion", [
  ("spo", "did you mean 'spo_chain' or 'spo_tree'?"),
  ("gpro", "did you mean 'grpo'?"),
  ("grp", "did you mean 'grpo'?"),
  ("pppo", "did you mean 'ppo'?"),
  ("dr", "did you mean 'dr_grpo'?"),
  ("smollm2", "did you mean 'smollm2_agent' or 'smollm2_code' or 'smollm2_distillation'?"),
  ("quantum", "(known: a_grae, "),
])  # fmt: skip
def test_a_name_with_swapped_letters_or_cut_short_is_suggested_before_one_that_is_like_it(name, suggestion):
  with pytest.raises(UserError) as refused:
    resolve(name)
  assert suggestion in str(refused.value)


def test_a_method_that_is_cut_short_is_suggested_by_its_full_names():
  with pytest.raises(UserError, match="did you mean 'rl_jax.methods.spo_chain' or 'rl_jax.methods.spo_tree'"):
    resolve("grpo", ["method.name=spo"])


def test_what_is_no_experiment_is_not_trained(tmp_path):
  (tmp_path / "s.py").write_text("def get_config(): return {'entries': {}}\n")
  with pytest.raises(UserError, match="s.py has no section method, task, model, checkpoint: it is a study"):
    configs.resolve_experiment(str(tmp_path / "s.py"))


def test_flags():
  flags = parse_flags(
    ["--config=experiments/grpo.py:smoke", "--workdir", "runs/a", "--config.seed=3", "--config.method.shift", "-1"]
  )
  assert flags.config == "experiments/grpo.py:smoke" and str(flags.workdir) == "runs/a"
  assert flags.overrides == ["seed=3", "method.shift=-1"]


def test_a_program_can_have_flags_of_its_own():
  parser = command_line.make_parser("evaluate", "evaluates")
  parser.add_argument("--step", type=int)
  flags = parse_flags(["--workdir=runs/a", "--step=4"], parser, required=("workdir",))
  assert flags.options.step == 4 and flags.config is None


@pytest.mark.parametrize(
  "argv, expected",
  [
    (["--workdir=a"], "--config is missing: write for example --config=grpo"),
    (["--config=a.py"], "--workdir is missing: write for example --workdir=runs/grpo"),
    (["--confg=a.py"], "unknown flag '--confg': did you mean '--config'?"),
    (["--config=a.py", "--workdir=a", "--wrkdir=b"], "unknown flag '--wrkdir': did you mean '--workdir'?"),
    (["--config=a.py", "runs/a"], "unexpected argument 'runs/a': flags are written --name=value"),
    (["--config.seed"], "--config.seed has no value: write --config.seed=VALUE"),
    (["--config.seed", "--workdir=a"], "--config.seed has no value: write --config.seed=VALUE"),
    (["--config"], "argument --config: expected one argument"),
  ],
)
def test_slips_in_flags(argv, expected):
  with pytest.raises(UserError) as caught:
    parse_flags(argv)
  assert str(caught.value) == expected


def test_identity_leaves_out_logging_and_length(files):
  digest, fields = configs.identity(grpo())
  assert configs.identity(grpo("logging.every=1", "num_iterations=900"))[0] == digest
  assert configs.identity(grpo("seed=1"))[0] != digest
  assert set(fields) == {"learning_rate", "seed", "method", "task", "stages"}
  assert len(digest) == 64
  moved = EXPERIMENT.replace("  config.seed = 0\n", "").replace("  return", "  config.seed = 0\n  return")
  assert moved != EXPERIMENT
  (files / "experiments/rloo.py").write_text(moved)
  assert configs.identity(resolve("experiments/rloo.py"))[0] == digest  # order does not count


def test_to_json_names_objects_and_refuses_what_it_cannot_write():
  module = sys.modules.get("fake_method") or __import__("fake_method")
  text = configs.to_json(resolve_config(base(method={"name": module.Other}, betas=(1, 2))))
  assert json.loads(text)["method"]["name"] == "fake_method:Other" and json.loads(text)["betas"] == [1, 2]
  with pytest.raises(UserError, match="config key 'thing' holds a object"):
    configs.to_json(resolve_config(base(thing=object())))


def test_source_is_the_text_of_the_file():
  assert configs.source(resolve_role("fake_method")) == METHOD
  assert configs.source(resolve_role("fake_method:Other")) == METHOD
  assert configs.source(resolve_role("fake_task.py")) == TASK
  made = {}
  exec("class Loose:\n  pass\n", made)
  with pytest.raises(UserError, match="cannot be read: define it in a file"):
    configs.source(made["Loose"])


def test_what_a_notebook_holds_is_the_text_of_its_functions(tmp_path, monkeypatch):
  """A cell's functions have a text, its classes have none; a namespace of functions has no class of its own."""
  text = "def build(config, task):\n  return 1\n"
  cell = tmp_path / "cell.py"
  cell.write_text(text)
  names = {"__name__": "__main__"}
  exec(compile(text, str(cell), "exec"), names)
  typed = type("Typed", (), {"build": staticmethod(names["build"]), "__module__": "__main__"})
  for method in (typed, types.SimpleNamespace(build=names["build"])):
    assert configs.source(method) == text
  assert parts.name_of(types.SimpleNamespace(build=names["build"])) == "__main__:build"
  assert configs.source(types.SimpleNamespace(build=configs.resolve)) == Path(configs.__file__).read_text()


def test_a_short_name_names_a_part_and_one_of_its_fields():
  config = configs.resolve("experiments/grpo.py", ["task.name=reasoning_gym:gcd"])
  assert (config.task.name, config.task.dataset) == ("rl_jax.tasks.reasoning_gym", "gcd")
