"""Stems: texts that several prompts begin with are run once, and change no response."""

from __future__ import annotations

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.model import Model
from rl_jax.rollouts import compaction
from rl_jax.rollouts.continuation import prefixes
from rl_jax.rollouts.sampler import Texts, positions_of, sample
from tests.methods.batches import batch_of

END, STEPS, STEMS, SHARE = 1, 8, 3, 4
SIZES = {"width": 8, "layers": 2, "heads": 2, "key_value_heads": 1, "head_width": 4, "feed_forward": 8}
CASES = {
  "plain": {},
  "windows": {"attention_pattern": ("window", "full"), "window": 3, "window_rope_base": 20.0},
}


@dataclasses.dataclass(frozen=True)
class Counted(Model):
  """A model that tells the rows and slots of each of its runs."""

  runs: list = dataclasses.field(default_factory=list, compare=False)

  def run(self, params, tokens, *arguments, **options):
    self.runs.append(tokens.shape)
    return super().run(params, tokens, *arguments, **options)


def initial(model: Model):
  """As one program: quicker to make than one for each operation."""
  return jax.jit(lambda: nn.unbox(model.init(jax.random.key(0))))()


def texts(count: int, width: int, seed: int, least: int) -> Texts:
  rng = np.random.default_rng(seed)
  mask = np.arange(width) >= rng.integers(0, width + 1 - least, (count, 1))
  return Texts(jnp.asarray(np.where(mask, rng.integers(2, 5, (count, width)), 0)), jnp.asarray(mask))


def responses(case: str, width: int, completions: int, *, apart: bool, shared: bool = True):
  """Completions, and the runs of the model. Some prompts are their stems alone."""
  model = Counted(TransformerConfig(vocabulary=5, outputs=5, **SIZES, **CASES[case]), shared_prompts=shared)
  stems, rest = texts(STEMS, 5, 1, least=1), texts(STEMS * SHARE, width, 2, least=0)
  batch = STEMS * SHARE * completions
  limits = np.arange(batch) % (STEPS + 1)

  @jax.jit
  def draw(params, limits):
    prompts, before = (rest, stems) if apart else (stems.repeat(SHARE).then(rest), None)
    return sample(
      model, params, *prompts, jax.random.key(2), completions_per_prompt=completions, max_tokens=STEPS, limits=limits,
      end_ids=(END,), stems=before,
    )  # fmt: skip

  return jax.device_get(draw(initial(model), limits)), model.runs


def test_one_text_after_another_by_hand():
  text = lambda *rows: Texts(np.array(rows), np.array(rows) > 0)
  done = jax.jit(Texts.then)(text([0, 1], [2, 3]), text([0, 0, 4], [0, 0, 0]))
  np.testing.assert_array_equal(np.where(done.mask, done.tokens, 0), [[0, 0, 0, 1, 4], [0, 0, 0, 2, 3]])


def test_prompts_that_are_apart_by_hand():
  tokens = [[9, 1, 2, 3, 4], [9, 1, 5, 6, 7], [8, 8, 1, 2, 3], [8, 8, 4, 5, 6]]
  there = np.array([[0, 1, 1, 1, 1]] * 2 + [[1] * 5] * 2, bool)
  rows = batch_of([[0, 0, 1, 1, 1]] * 4, prompt_width=2, tokens=tokens, attention_mask=there)
  cuts, two = np.array([2, 3, 4, 4]), functools.partial(prefixes, longest=2)
  found = jax.jit(functools.partial(two, rows_per_prompt=2))(rows, cuts)
  np.testing.assert_array_equal(np.where(found.mask, found.tokens, 0), [[0, 0], [0, 5], [1, 2], [4, 5]])
  np.testing.assert_array_equal(np.where(found.stems.mask, found.stems.tokens, 0), [[0, 1], [8, 8]])
  whole = jax.jit(two)(rows, cuts)
  assert whole.stems is None
  np.testing.assert_array_equal(
    np.where(whole.mask, whole.tokens, 0), [[0, 0, 0, 1], [0, 0, 1, 5], [8, 8, 1, 2], [8, 8, 4, 5]]
  )


@pytest.mark.parametrize(
  ("case", "completions", "few"), [("plain", 1, ()), ("windows", 1, (6,)), ("windows", 2, (6,))], ids=str
)
def test_responses_are_those_to_whole_prompts(monkeypatch, case, completions, few):
  monkeypatch.setattr(compaction, "sizes", lambda rows, long: few)
  (apart, _), (whole, _) = (responses(case, 4, completions, apart=apart) for apart in (True, False))
  assert 0 < whole.mask.sum() < whole.mask.size
  for name in ("tokens", "mask", "truncated"):
    np.testing.assert_array_equal(getattr(apart, name), getattr(whole, name), err_msg=name)
  for name in ("logprobs", "behaviour_logprobs", "entropies"):
    np.testing.assert_allclose(getattr(apart, name), getattr(whole, name), atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
  ("shared", "first"), [(True, [(STEMS, 5), (STEMS * SHARE, 4)]), (False, [(STEMS * SHARE, 9)])], ids=["shared", "not"]
)
def test_each_part_is_run_once(shared, first):
  _, runs = responses("plain", 4, 2, apart=True, shared=shared)
  assert runs[: len(first)] == first and {slots for _, slots in runs[len(first) :]} == {1}


def test_a_text_that_ends_in_a_hole_is_not_taken_for_none():
  model = Model(TransformerConfig(vocabulary=5, outputs=5, **SIZES))
  stems, rest = texts(STEMS, 5, 1, least=1), texts(STEMS * SHARE, 4, 2, least=2)
  rest = rest._replace(mask=np.asarray(rest.mask) & (np.arange(4) < 3))
  options = {"completions_per_prompt": 1, "max_tokens": 1, "limits": np.ones(len(rest.mask), int), "end_ids": (END,)}

  @jax.jit
  def found_and_expected(params):
    done = sample(model, params, *rest, jax.random.key(2), **options, stems=stems)
    tokens, mask = (jnp.concatenate(both, axis=1) for both in zip(stems.repeat(SHARE), rest, strict=True))
    logits, _ = model.run(params, tokens, positions_of(mask), mask, last=True)
    return done.logprobs, jnp.take_along_axis(jax.nn.log_softmax(logits[:, 0]), done.tokens, axis=1)

  np.testing.assert_allclose(*found_and_expected(initial(model)), atol=1e-5)
