"""What a benchmark does not read is refused, not passed over."""

from __future__ import annotations

import pytest

from rl_jax import benchmark


@pytest.mark.parametrize("argument", ["--config.learning_rate=1.0", "--config=experiments/ppo.py", "--workdir=x"])
def test_the_iteration_is_of_fixed_size(argument, capsys):
  assert benchmark.main(["iteration", argument]) == 1
  said = capsys.readouterr().err
  assert said == "rl_jax.benchmark: iteration times one of fixed size: it takes no --config and no --workdir\n"


def test_seeds_are_timed_with_the_overrides_given(capsys):
  assert benchmark.main(["seeds", "--config.learning_rat=1.0"]) == 1
  assert "did you mean" in capsys.readouterr().err
