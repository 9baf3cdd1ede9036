"""The count of generated tokens: beyond 32 bits, over the whole run, and through a checkpoint."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.training import iteration, mesh
from rl_jax.training.checkpoints import Checkpoints
from rl_jax.training.state import add_tokens, token_count
from rl_jax.training.trainer import Trainer
from tests.training import small

WORD = 2**32


def words(count: int) -> np.ndarray:
  return np.array([count // WORD, count % WORD], np.uint32)


@pytest.mark.parametrize(
  ("before", "more"),
  [(0, 0), (5, 7), (WORD - 1, 0), (WORD - 1, 1), (WORD - 5, 2**31 - 1), (7 * WORD - 1, 2**31 - 1), (2**60, 1)],
)
def test_tokens_are_added_to_two_words(before, more):
  after = jax.jit(add_tokens)(words(before), jnp.int32(more))
  assert after.dtype == jnp.uint32 and after.tolist() == words(before + more).tolist()
  assert int(token_count(np.asarray(after))) == before + more


def test_counts_of_many_seeds_and_iterations_are_read_at_once():
  counts = np.array([[3, WORD], [WORD + 4, 2**40 + 1]])
  found = token_count(np.stack([[words(count) for count in row] for row in counts.tolist()]))
  assert found.dtype == np.int64
  np.testing.assert_array_equal(found, counts)


def make_trainer() -> Trainer:
  experiment = small.make_experiment("evaluation.greedy=False", "logging.every_iterations=2")
  trainer = Trainer(experiment, mesh.make_mesh(experiment.config.mesh))
  trainer.loop.programs = {"run": jax.jit(lambda state: iteration.run(experiment, state))}
  return trainer


@pytest.mark.slow
def test_a_run_counts_beyond_32_bits_and_goes_on_from_a_checkpoint(tmp_path):
  """Two seeds, two iterations in each call; the second seed comes to the edge of a word."""
  trainer = make_trainer()
  assert trainer.generated_tokens.tolist() == [0, 0]
  first = trainer.advance().metrics
  counts = np.stack([metrics["generated_tokens"] for metrics in first])
  np.testing.assert_array_equal(counts[-1], trainer.generated_tokens)
  sampled = np.stack([metrics["response_length"] for metrics in first]).astype(np.float64) * 8  # of 8 rows each
  np.testing.assert_allclose(counts, np.cumsum(sampled, axis=0), rtol=1e-6)

  edge = np.array([WORD - 1, 3 * WORD - 1])
  seeds = trainer.state.seeds.replace(
    generated_tokens=jnp.stack([jnp.asarray(words(count)) for count in edge.tolist()])
  )
  trainer.state = trainer.state.replace(seeds=seeds)
  with Checkpoints(tmp_path / "c") as checkpoints:
    checkpoints.save(2, trainer.state, {}, wait=True)
    resumed = make_trainer()
    resumed.state = checkpoints.restore_latest(resumed.abstract_state).state
  np.testing.assert_array_equal(resumed.generated_tokens, edge)
  both = [[metrics["generated_tokens"] for metrics in each.advance().metrics] for each in (trainer, resumed)]
  np.testing.assert_array_equal(*both)
  assert (both[0][0] > edge).all() and (both[0][1] > both[0][0]).all() and (both[0][1] - edge < 2 * 8 * 100).all()
  np.testing.assert_array_equal(both[0][-1], trainer.generated_tokens)
