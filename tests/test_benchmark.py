"""What a benchmark does not read is refused, not passed over."""

from __future__ import annotations

import pytest

from rl_jax import benchmark


@pytest.mark.parametrize(
  "argument, line",
  [
    ("--config=experiments/ppo.py", "iteration times the experiment `benchmark`: leave --config out, give overrides"),
    ("--workdir=x", "unknown flag '--workdir': python -m rl_jax.benchmark keeps no run"),
  ],
)
def test_the_iteration_is_that_of_its_experiment(argument, line, capsys):
  assert benchmark.main(["iteration", argument]) == 1
  assert capsys.readouterr().err == f"rl_jax.benchmark: {line}\n"


@pytest.mark.slow
def test_the_iteration_prints_both_bounds(capsys):
  sizes = ["prompts_per_iteration=2", "model.width=8", "model.layers=1", "model.heads=1", "model.key_value_heads=1"]
  sizes += ["model.head_width=8", "model.feed_forward=8", "task.response_tokens=4"]
  assert benchmark.main(["iteration", "--repeats=1", *(f"--config.{size}" for size in sizes)]) == 0
  out = capsys.readouterr().out.splitlines()
  assert "16 rows of 16 + 4 tokens, 1 repeats" in out[0] and out[2].split() == [
    "seconds", "bound", "share", "shared", "share", "tokens/s"
  ]  # fmt: skip
  (update,) = (line.split() for line in out if line.startswith("update"))
  assert float(update[4]) <= float(update[2]), "prompts are counted once"


def test_none_is_started_without_its_name(capsys):
  assert benchmark.main([]) == 1
  said = "no benchmark is named: give one of generate, iteration, kernels, lengths, reshard, seeds, shared"
  assert capsys.readouterr().err == f"rl_jax.benchmark: {said}\n"


def test_an_iteration_says_what_it_times_before_it_is_timed(capsys, monkeypatch):
  def timed(*_):
    assert capsys.readouterr().out.startswith("one GRPO iteration, rollout and update: ")
    raise KeyboardInterrupt

  monkeypatch.setattr("rl_jax.benchmarks.iteration.time_iteration", timed)
  assert benchmark.main(["iteration"]) == 130


def test_seeds_are_timed_with_the_overrides_given(capsys):
  assert benchmark.main(["seeds", "--config.learning_rat=1.0"]) == 1
  assert "did you mean" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("name", "option", "owners"),
  [
    ("lengths", "--shape=8", "--shape is an option of shared"),
    ("shared", "--rows=64", "--rows is an option of kernels"),
    ("iteration", "--new_tokens=4", "--new_tokens is an option of generate"),
    ("kernels", "--prompt=4", "--prompt is an option of shared, lengths"),
  ],
)
def test_an_option_of_another_benchmark_is_refused(name, option, owners, capsys):
  assert benchmark.main([name, option]) == 1
  assert capsys.readouterr().err == f"rl_jax.benchmark: {owners}: {name} does not take it\n"
