"""Numbers of a config that are out of range are one line before anything is built (faults 21, 22; findings 11, 22)."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from rl_jax import train
from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.inputs.ranges import COUNT, DECAY, FINITE, NOT_NEGATIVE, POSITIVE, SEED, SHARE, WHOLE, Range
from rl_jax.launching import initialization
from rl_jax.methods import method
from rl_jax.methods._ranges import FAMILY
from rl_jax.runs.differences import flatten
from rl_jax.training import ranges as of_training
from rl_jax.training.experiment import check

METHODS = Path(method.__file__).parent


@pytest.mark.parametrize(
  "allowed, inside, outside",
  [
    (FINITE, (-1e30, 0, 2.5), (math.nan, math.inf, -math.inf, 1e39, True, None, "1")),
    (NOT_NEGATIVE, (0, 0.0, 1e-9), (-1e-9, math.inf, math.nan)),
    (POSITIVE, (1e-30, 3), (0, 0.0, -1)),
    (SHARE, (0, 1.0), (-0.1, 1.1)),
    (DECAY, (0.0, 0.999), (1.0, 1, -1)),
    (WHOLE, (0, 5), (-1, 1.0, 2**31)),
    (COUNT, (1, 2**31 - 1), (0, 1.5, 2**31, False)),
    (SEED, (0, 2**32 - 1), (-1, 2**32)),
    (Range(1, 3, above=True).optional(), (None, 2, 3), (1, 4)),
  ],
)
def test_what_a_range_holds(allowed, inside, outside):
  assert all(map(allowed.holds, inside)) and not any(map(allowed.holds, outside))


@pytest.mark.parametrize(
  "allowed, value, text",
  [
    (COUNT, 0, "a whole number at least 1"),
    (COUNT, 2**31, "a whole number at least 1 and at most 2147483647"),
    (DECAY, 1.0, "a finite number at least 0 and below 1"),
    (POSITIVE.optional(), "x", "a finite number above 0 or None"),
    (FINITE, math.nan, "a finite number"),
  ],
)
def test_a_range_in_words(allowed, value, text):
  assert allowed.wanted(value) == text


def numbers(values: dict) -> set[str]:
  """Keys of numbers, and of fields that are None where a number may stand."""
  plain = {key: value for key, value in flatten(values).items() if not isinstance(value, bool)}
  return {key for key, value in plain.items() if value is None or isinstance(value, int | float)}


def test_every_number_of_the_common_sections_has_a_range():
  common = configs.resolve("grpo").to_dict()
  for section in ("stages", "method", "task", "model", "mesh"):  # parts and the mesh check their own
    common.pop(section)
  tables = {f"{section}.{name}".lstrip(".") for section, table in of_training.RANGES.items() for name in table}
  assert tables == numbers(common) | {"learning_rates", "evaluation.pass_at"}


@pytest.mark.parametrize("name", sorted(path.stem for path in METHODS.glob("[a-z]*.py")))
def test_every_number_of_a_method_has_a_range(name):
  module = configs.load(f"rl_jax.methods.{name}")
  if hasattr(module, "build") and hasattr(module, "get_config"):
    table = {*FAMILY, *getattr(module, "RANGES", {})}
    assert numbers(module.get_config()) - {"kl_gradient"} <= table


@pytest.mark.parametrize(
  "override, expected",
  [
    ("learning_rate=nan", "learning_rate: want a finite number, got nan"),
    ("learning_rate=-1", "learning_rate: want a finite number at least 0, got -1.0"),
    ("optimizer.max_gradient_norm=inf", "optimizer.max_gradient_norm: want a finite number, got inf"),
    ("optimizer.max_gradient_norm=-1", "optimizer.max_gradient_norm: want a finite number at least 0, got -1.0"),
    ("optimizer.beta1=1.5", "optimizer.beta1: want a finite number at least 0 and below 1, got 1.5"),
    ("optimizer.beta2=2", "optimizer.beta2: want"),
    ("optimizer.weight_decay=-0.1", "optimizer.weight_decay: want"),
    ("seed=4294967296", "seed: want a whole number at least 0 and at most 4294967295, got 4294967296"),
    ("seed=4294967295", "seed=4294967295: the last of num_seeds=2 would be 4294967296"),
    ("seed=-1", "seed: want a whole number at least 0"),
    ("num_iterations=-1", "num_iterations: want a whole number at least 1"),
    ("num_tokens=many", "num_tokens: want a whole number at least 1 or None, got 'many'"),
    ("logging.every_iterations=0", "logging.every_iterations: want a whole number at least 1, got 0"),
    ("checkpoint.every_iterations=-2", "checkpoint.every_iterations: want a whole number at least 0, got -2"),
    ("rows_per_microbatch=abc", "rows_per_microbatch: want a whole number at least 0 or None, got 'abc'"),
    ("evaluation.pass_at=(1,0)", "evaluation.pass_at[1]: want a whole number at least 1, got 0"),
    ("evaluation.pass_at=(1,2.5)", "evaluation.pass_at[1]"),
    ("learning_rates=(1e-2,nan)", "learning_rates[1]: want a finite number, got nan"),
    ("learning_rates=(-inf,1e-2)", "learning_rates[0]: want a finite number, got -inf"),
    ("learning_rates=(1e-2,0)", "learning_rates[1]: want a finite number above 0, got 0"),
    ("learning_rates=(1e-2,'x')", "learning_rates[1]: want a finite number above 0, got 'x'"),
    ("mesh.rules.batch=((nan,),)", "mesh.rules.batch[0][0]: want a finite number, got nan"),
    (
      "sampling.stop_sequences=((4,),(5,999))",
      "sampling.stop_sequences: 999 in (5, 999) is no token id: the vocabulary of rl_jax.tasks.chain has ",
    ),
    ("sampling.stop_sequences=((-1,),)", "sampling.stop_sequences: -1 in (-1,) is no token id"),
    ("sampling.stop_sequences=((True,),)", "sampling.stop_sequences: True in (True,) is no token id"),
    ("sampling.stop_sequences=(('a',),)", "sampling.stop_sequences: 'a' in ('a',) is no token id"),
    ("method.clip_low=-0.1", "method.clip_low: want a finite number at least 0"),
    ("method.dual_clip=0.5", "method.dual_clip: want a finite number above 1"),
    ("method.kl_coefficient=-1", "method.kl_coefficient: want"),
    ("method.kl_coefficient=inf", "method.kl_coefficient: want a finite number, got inf"),
    ("task.lure_rate=nan", "task.lure_rate: want a finite number, got nan"),
    ("model.norm_epsilon=0", "model.rope_base and model.norm_epsilon are above 0"),
    ("model.width=99999999999", "sizes are at least 1, and int32"),
    ("completions_per_prompt=1", "completions_per_prompt=1: advantages compare the answers to a prompt"),
  ],
)
def test_a_number_that_is_out_of_range_is_one_line(override, expected, tmp_path, capsys):
  assert train.main(["grpo:smoke", f"--workdir={tmp_path / 'run'}", f"--config.{override}"]) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith("rl_jax.train: ") and expected in line
  assert not list((tmp_path / "run").glob("*"))


@pytest.mark.parametrize(
  "override",
  [
    "learning_rate=0",
    "evaluation.every_iterations=0",
    "checkpoint.every_iterations=0",
    "logging.samples=0",
    "optimizer.max_gradient_norm=0",
    "method.entropy_coefficient=-0.1",
  ],
)
def test_what_makes_sense_passes(override):
  initialization.build(configs.resolve("grpo:smoke", [override]))


@pytest.mark.parametrize(
  "name", ["adora", "canon", "dapo", "dler", "dr_grpo", "dump", "gpg", "grpo", "maxrl", "rloo", "salt", "siri", "spae"]
)
def test_methods_that_compare_answers_refuse_one_answer(name):
  with pytest.raises(UserError, match="completions_per_prompt=1: .* take at least 2"):
    initialization.build(configs.resolve(f"{name}:smoke", ["completions_per_prompt=1"]))


def test_options_that_give_one_answer_an_advantage_are_taken():
  raw = ["completions_per_prompt=1", "method.singleton=raw"]
  initialization.build(configs.resolve("rloo:smoke", raw))


def test_a_users_method_of_the_family_has_its_ranges(tmp_path):
  method = Path("tests/launching/nan_method.py").resolve()
  with pytest.raises(UserError, match="method.dual_clip: want"):
    initialization.build(configs.resolve("grpo:smoke", [f"method.name={method}", "method.dual_clip=0"]))


def test_a_recorded_config_may_lack_a_field():
  config = configs.resolve("grpo:smoke").copy_and_resolve_references()
  with config.unlocked():
    del config.logging.profile_iteration
  check(config)
