"""Compaction: the same responses in batches that shrink, at the cost of the rows that are left."""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.model import Model
from rl_jax.rollouts import compaction, sampler
from rl_jax.rollouts.sampler import SEED_AXIS, Sampling, sample
from rl_jax.tasks import stop_texts
from tests.tasks.pieces import Pieces

END, STEPS, PROMPTS, COUNT = 1, 12, 4, 8
ROWS = PROMPTS * COUNT
CONFIG = TransformerConfig(
  vocabulary=5, outputs=5, width=8, layers=2, heads=2, key_value_heads=1, head_width=4, feed_forward=8
)
WHOLE = Sampling()
WORDS = Pieces("", "", "a", "b", "cc")
FEW = (16, 4)
"""The batches that 32 rows shrink to."""


@dataclasses.dataclass(frozen=True)
class Counted(Model):
  """A model that tells how many rows each of its runs had."""

  rows: list = dataclasses.field(default_factory=list, compare=False)

  def run(self, params, tokens, *arguments, **options):
    jax.debug.callback(lambda: self.rows.append(tokens.shape[0]))
    return super().run(params, tokens, *arguments, **options)


@pytest.fixture
def shrink(monkeypatch):
  """Has batches of 32 rows shrink, or not."""
  return lambda shrinks: monkeypatch.setattr(compaction, "sizes", lambda rows, long: FEW if shrinks else ())


def parameters(seed):
  return nn.unbox(Model(CONFIG).init(jax.random.key(seed)))


def prompts_of(count):
  rng = np.random.default_rng(3)
  mask = np.arange(6) >= rng.integers(0, 4, (count, 1))
  return jnp.asarray(np.where(mask, rng.integers(2, 5, (count, 6)), 0)), jnp.asarray(mask)


def responses(model, params, key, limits, count=COUNT, sampling=WHOLE, texts=None):
  tokens, mask = prompts_of(ROWS // count)
  return sample(
    model, params, tokens, mask, key,
    completions_per_prompt=count, max_tokens=STEPS, limits=limits, end_ids=(END,), stop_texts=texts, sampling=sampling,
  )  # fmt: skip


def draw(limits=None, count=COUNT, sampling=WHOLE, texts=None):
  """Completions, and the rows of each run of the model after the prefill."""
  model = Counted(CONFIG)
  limits = jnp.full(ROWS, STEPS) if limits is None else jnp.asarray(limits)
  program = jax.jit(lambda limits: responses(model, parameters(0), jax.random.key(2), limits, count, sampling, texts))
  done = jax.device_get(program(limits))
  jax.effects_barrier()
  return done, sorted(model.rows, reverse=True)


def agree(one, other):
  for name in ("tokens", "mask", "truncated"):
    np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
  for name in ("logprobs", "behaviour_logprobs", "entropies"):
    np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-5, err_msg=name)


def steps_by_hand(done):
  """Rows of the smallest batch that holds those still active, for each token after the first."""
  lengths = done.mask.sum(axis=1)
  active = [(lengths > time).sum() for time in range(1, STEPS)]
  return sorted((min(size for size in (ROWS, *FEW) if size >= n) for n in active if n), reverse=True)


def test_sizes_by_hand():
  assert compaction.sizes(256, long=True) == (128, 32)
  assert compaction.sizes(49, long=True) == (24,)
  assert compaction.sizes(256, long=False) == (64,)
  assert compaction.sizes(48, long=False) == compaction.sizes(16, long=True) == ()


def test_rows_in_use_come_first_and_return_to_their_places():
  used = jnp.array([False, True, False, False, True, False])
  kept = compaction.compact(used, 3)
  np.testing.assert_array_equal(kept.rows, [1, 4, 0])
  x, y = jnp.arange(6) * 10, jnp.arange(12).reshape(2, 6)
  np.testing.assert_array_equal(kept.take(x), [10, 40, 0])
  np.testing.assert_array_equal(kept.put(x, kept.take(x) + 1), [1, 11, 20, 30, 41, 50])
  np.testing.assert_array_equal(
    kept.put(y, -kept.take(y, axis=1), axis=1), [[0, -1, 2, 3, -4, 5], [-6, -7, 8, 9, -10, 11]]
  )


@pytest.mark.parametrize(
  ("count", "stops"),
  [
    (1, ((2, 3), (4, 4, 2))),
    pytest.param(1, (), marks=pytest.mark.slow),
    pytest.param(COUNT, (), marks=pytest.mark.slow),
    pytest.param(COUNT, ((2, 3), (4, 4, 2)), marks=pytest.mark.slow),
  ],
)
def test_the_tokens_are_those_of_a_batch_that_keeps_its_rows(shrink, count, stops):
  """Rows end by the ending token, by stop sequences and by a text, some of which begin before the batch shrinks."""
  sampling, texts = Sampling(stop_sequences=stops), stop_texts.build(("bcca",) if stops else (), WORDS)
  shrink(False)
  whole, _ = draw(count=count, sampling=sampling, texts=texts)
  shrink(True)
  small, rows = draw(count=count, sampling=sampling, texts=texts)
  agree(small, whole)
  assert set(rows) >= {ROWS, *FEW}, "batches of all sizes were run"


def test_finished_rows_cost_nothing(shrink):
  shrink(True)
  done, rows = draw()
  steps = without_prefill(rows)
  assert steps == steps_by_hand(done)
  assert sum(steps) < 0.7 * ROWS * (done.mask.sum(axis=1).max() - 1)


def without_prefill(rows):
  rest = list(rows)
  rest.remove(PROMPTS)
  return rest


def test_rows_that_are_not_asked_cost_nothing(shrink):
  """As in a later round of dynamic sampling: from the first step on the batch is that of the rows asked."""
  limits = np.where(np.arange(ROWS) % 16 == 5, STEPS, 0)
  shrink(False)
  whole, _ = draw(limits)
  shrink(True)
  small, rows = draw(limits)
  agree(small, whole)
  assert set(without_prefill(rows)) == {FEW[-1]}
  nobody, rows = draw(np.zeros(ROWS, int))
  assert not rows and not nobody.mask.any() and nobody.truncated.all()


def test_slots_that_grow_change_nothing(monkeypatch):
  whole, _ = draw()
  monkeypatch.setattr(sampler, "LONG", STEPS)
  grown, _ = draw()
  agree(grown, whole)


def test_seeds_together_draw_what_they_draw_alone(shrink):
  """Under vmap all seeds shrink as soon as each of them may."""
  shrink(True)
  seeds, limits = 2, jnp.full(ROWS, STEPS)
  params = jax.tree.map(lambda *x: jnp.stack(x), *map(parameters, range(seeds)))
  keys = jax.random.split(jax.random.key(0), seeds)
  one = lambda axis: lambda p, k: responses(Model(CONFIG), p, k, limits, sampling=Sampling(seed_axis=axis))
  together = jax.jit(jax.vmap(one(SEED_AXIS), axis_name=SEED_AXIS))(params, keys)
  for seed in range(seeds):
    alone = jax.jit(one(None))(jax.tree.map(lambda x, seed=seed: x[seed], params), keys[seed])
    agree(jax.tree.map(lambda x, seed=seed: x[seed], together), alone)
