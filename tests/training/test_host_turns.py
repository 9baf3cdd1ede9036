"""A task with a tool in Python trains and is evaluated turn by turn, the tool's answers between the programs.

The method is IGPO, which forces the right answer before every turn.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from rl_jax.configuration import configs
from rl_jax.launching import initialization
from rl_jax.rollouts import turns
from rl_jax.tasks import tool_use
from rl_jax.training import mesh
from rl_jax.training.trainer import Trainer
from tests.methods.counting import counted

TASK = Path(__file__).parent / "tool_task.py"


def even(verify):
  """The verifier, which pays for an even sum of tokens: an untrained policy has a gradient."""

  def judge(ids, split, tokens, mask):
    rewards = ((tokens * mask).sum(axis=1) % 2 == 0).astype(np.float32)
    return verify(ids, split, tokens, mask).replace(rewards=rewards)

  return judge


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """(trainer, what two iterations did, tokens that the sampler wrote, metrics of an evaluation)."""
  folder = tmp_path_factory.mktemp("data")
  problems = [{"question": f"{i}+1=", "answer": f"{i + 1}"} for i in range(60)]
  (folder / "sums.jsonl").write_text("".join(json.dumps(problem) + "\n" for problem in problems))
  plain = configs.resolve("experiments/grpo.py:smoke").to_dict()
  task = {"name": str(TASK), "file": str(folder / "sums.jsonl"), "forced_answer_tokens": 3}
  plain |= {"task": task, "method": {"name": "rl_jax.methods.igpo"}, "stages": {}, "init_from": ""}
  plain["evaluation"] |= {"prompts": 4, "prompts_at_a_time": 2, "greedy": False}
  plain["logging"] |= {"samples": 16}
  plain["sampling"] |= {"stop_sequences": tuple((token,) for token in range(0, 256, 5))}
  plain["model"] |= {"width": 8, "heads": 1, "head_width": 8, "feed_forward": 8}
  config = configs.resolve_config(plain | {"num_seeds": 1})
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("RL_JAX_CACHE", str(folder / "cache"))
    # An untrained policy never writes a call.
    patch.setattr(tool_use, "find_call", lambda text: "1+1" if text and ord(text[0]) % 2 == 0 else None)
    experiment = initialization.build(config)
    task = dataclasses.replace(experiment.task, verify=even(experiment.task.verify))
    with counted(turns) as counts:
      trainer = Trainer(dataclasses.replace(experiment, task=task), mesh.make_mesh(config.mesh))
      progressed = trainer.advance()
    with counted(turns) as asked:
      metrics = trainer.evaluate()
    yield trainer, progressed, sum(counts), metrics | {"turns": len(asked)}


def test_the_tool_answers_between_the_turns(trained):
  _, progressed, sampled, _ = trained
  answered = 0
  for row in progressed.samples:
    first, told, _ = row["response"].partition("[2]")
    ended = ord(first[-1]) % 5 == 0
    assert bool(told) == (ended and ord(first[0]) % 2 == 0)
    answered += bool(told)
  assert 0 < answered < len(progressed.samples) == 16
  assert progressed.metrics[-1]["generated_tokens"] == sampled


def test_sampler_and_trainer_agree_over_the_tools_tokens(trained):
  for metrics in trained[1].metrics:
    assert (metrics["ratio_error"] < 1e-5).all() and (np.abs(metrics["kl_to_behaviour"]) < 1e-5).all()
    assert metrics["unscored"] == 0 and metrics["accuracy"] == 0 < metrics["gradient_norm"]


def test_turns_have_information_gain(trained):
  """Calls end turns that are not the last, and an untrained policy's belief in a digit changes with them."""
  for metrics in trained[1].metrics:
    assert 0 < np.abs(metrics["information_gain"]) < 0.1 and 0 <= metrics["zero_advantage"] < 1


def test_evaluation_plays_the_turns(trained):
  """Two of each chunk of prompts."""
  metrics = trained[3]
  assert metrics["turns"] == 4
  assert 1 < metrics["held_out/response_length"] <= 8 and metrics["held_out/unscored"] == 0
