"""rl_jax/methods/README.md: every command that stands for another trainer's builds, and no name is missing."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

from rl_jax import methods
from rl_jax.configuration import configs
from rl_jax.launching import initialization
from rl_jax.methods._clips import CLIPS

PAGE = (Path(methods.__file__).parent / "README.md").read_text()
SECTIONS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
ROWS = {
  trainer: [
    [cell.strip() for cell in line.split("|")[1:-1]] for line in re.findall(r"^\| .*`.*\|$", text, re.MULTILINE)
  ]
  for trainer, text in SECTIONS.items()
}
COMMANDS = sorted({row[1].strip("`") for rows in ROWS.values() for row in rows if row[1] != "–"})
NAMES = {
  "verl": "gae grpo grpo_vectorized grpo_passk reinforce_plus_plus reinforce_plus_plus_baseline remax rloo "
  "rloo_vectorized opo gpg optimal_token_baseline tir_optimal_token_baseline gdpo vanilla dppo_tv dppo_kl gspo sapo "
  "clip_cov kl_cov geo_mean cispo dro dapo",
  "TRL": "grpo dr_grpo dapo bnpo cispo sapo luspo vespo sequence token_truncate token_mask sequence_truncate "
  "sequence_mask GMPOTrainer RLOOTrainer PPOTrainer off_policy_mask_threshold",
  "prime-rl": "grpo max_rl rae hierarchical_grpo opd sft echo ipo",
  "slime": "grpo gspo cispo ppo reinforce_plus_plus reinforce_plus_plus_baseline use-tis use-opsm icepop_function",
  "SkyRL": "gae grpo rloo maxrl regular dual_clip gspo sapo cispo dppo clip_cov kl_cov rollout_is token sequence "
  "product geometric",
}
"""Names of the trainers' estimators, losses and corrections."""


@functools.cache
def task_of(experiment):
  return initialization.build(configs.resolve(experiment)).task


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_builds(command):
  """Its fields are known and its options go together. A field that is set to its default says what that is."""
  experiment, *overrides = command.split()
  config = configs.resolve(experiment, overrides)
  built = configs.resolve_role(config.method.name, "method").build(config, task_of(experiment))
  assert built.papers and "policy" in built.models
  assert all(override.startswith("method.") for override in overrides)


@pytest.mark.parametrize("trainer", NAMES)
def test_every_name_of_a_trainer_has_a_row(trainer):
  words = set(re.findall(r"[\w-]+", " ".join(row[0] for row in ROWS[trainer]).replace("--", " ")))
  assert not set(NAMES[trainer].split()) - words
  assert all(len(row) == 3 for row in ROWS[trainer])


def test_rows_without_a_command_say_why():
  assert not [row[0] for rows in ROWS.values() for row in rows if row[1] == "–" and not row[2]]


def test_every_clip_is_in_the_table_of_options():
  (line,) = re.findall(r"^\| `method.clip` \|(.*)\|$", PAGE, re.MULTILINE)
  assert set(re.findall(r"`(\w+)`", line)) == set(CLIPS)
