"""Staleness: the policy that samples is so many iterations behind the one that learns."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.training import iteration, state
from rl_jax.training.checkpoints import Checkpoints
from tests.training import every_method, small

STALENESS, ITERATIONS = 2, 5
PLAIN = ("completions_per_prompt=4", f"staleness={STALENESS}")


def trainer_of(*overrides: str):
  return every_method.trainer_of(every_method.built(every_method.config_of("grpo", *PLAIN, *overrides)))


@functools.cache
def run():
  """The trainer, states before each iteration and after the last, and the metrics of each."""
  trainer, states, metrics = trainer_of("logging.samples=16"), [], []
  for _ in range(ITERATIONS):
    states.append(jax.device_get(trainer.state))
    metrics.append(trainer.advance())
  return trainer, [*states, jax.device_get(trainer.state)], metrics


def test_each_iteration_samples_with_the_policy_of_two_iterations_ago():
  trainer, states, done = run()
  sample = jax.jit(lambda seed, number: iteration.make_batch(trainer.experiment, seed, number)[1].trajectories)
  one = lambda tree: jax.tree.map(lambda x: x[0], tree)
  for number in range(ITERATIONS):
    then = one(states[max(number - STALENESS, 0)].seeds.models)
    rows = sample(one(states[number].seeds).replace(models=then, past=()), number)
    responses = (x[:, rows.prompt_width :] for x in (np.asarray(rows.tokens), np.asarray(rows.attention_mask)))
    texts = [trainer.experiment.task.vocabulary.decode(row[mask]) for row, mask in zip(*responses, strict=True)]
    assert [row["response"] for row in done[number].samples] == texts, number


def test_the_state_holds_the_parameters_before_each_of_the_last_iterations():
  _, states, _ = run()
  for number, now in enumerate(states):
    for age, kept in zip(range(STALENESS, 0, -1), now.seeds.past, strict=True):
      small.assert_same(kept, states[max(number - age, 0)].seeds.models["policy"].params)
  moved = small.leaves(states[1].seeds.models["policy"].params), small.leaves(states[0].seeds.models["policy"].params)
  assert all((moved[0][name] != moved[1][name]).any() for name in moved[0])


def test_what_is_learned_from_is_off_policy_from_the_second_iteration_on():
  _, _, done = run()
  away = np.stack([result.metrics[0]["kl_to_behaviour"] for result in done])
  assert (np.abs(away[0]) < 1e-5).all() and (away[1:] > 1e-4).all()


def test_it_resumes_bit_for_bit(tmp_path):
  straight = trainer_of("num_seeds=2")
  for _ in range(3):
    straight.advance()
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(3, straight.state, {})
  resumed = trainer_of("num_seeds=2")
  restored = Checkpoints(tmp_path).restore_latest(resumed.abstract_state)
  assert restored is not None
  resumed.state = restored.state
  straight.advance(), resumed.advance()
  small.assert_same(resumed.state, straight.state)


def test_with_adapters_the_past_holds_adapters_alone():
  experiment = small.make_experiment("staleness=1", "model.lora_rank=2")
  seed = small.make_seed(experiment)
  (kept,) = seed.past
  assert all("_lora_" in name for name in small.leaves(kept))
  bound = state.bind_for_rollout(experiment, seed)["policy"].params
  assert jax.tree.structure(bound) == jax.tree.structure(seed.models["policy"].params)


def test_no_staleness_keeps_no_past():
  seed = small.make_seed(small.make_experiment())
  assert seed.past == ()


@pytest.mark.parametrize("staleness", [-1, 10**9])
def test_a_staleness_below_0_or_of_too_many_copies_is_one_line(staleness):
  with pytest.raises(UserError, match=f"staleness: want a whole number at least 0 and at most 64, got {staleness}"):
    small.make_experiment(f"staleness={staleness}")
