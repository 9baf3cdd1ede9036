"""The sampler: its logprobs are the trainer's, its draws have the stated distribution, its masks and ends are exact."""

from __future__ import annotations

import collections
import dataclasses
import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.model import Model, Sequences
from rl_jax.rollouts.sampler import SEED_AXIS, Sampling, positions_of, sample, sampling_from
from rl_jax.rollouts.truncation import Truncation
from rl_jax.tasks import stop_texts
from tests.tasks.pieces import Pieces

PAD, END, WORDS = 0, 1, 5
SIZES = {"width": 8, "layers": 1, "heads": 2, "key_value_heads": 1, "head_width": 4, "feed_forward": 8}
CONFIG = TransformerConfig(vocabulary=WORDS, outputs=WORDS, **SIZES)
PROMPTS = jnp.array([[0, 0, 4, 2], [3, 1, 2, 4], [0, 3, 3, 3]])
MASK = jnp.array([[False, False, True, True], [True] * 4, [False, True, True, True]])
STEPS = 6
WHOLE = Sampling()


def parameters(seed):
  """Parameters whose outputs are far from even."""
  params = nn.unbox(Model(CONFIG).init(jax.random.key(seed)))
  return {**params, "output": params["output"] * 1.5}


@pytest.fixture(scope="module")
def params():
  return parameters(0)


@functools.partial(jax.jit, static_argnames=("temperature", "count", "steps", "sampling", "ends", "texts"))
def draw(
  params,
  key,
  prompts=PROMPTS,
  mask=MASK,
  limits=None,
  *,
  temperature=1.0,
  count=2,
  steps=STEPS,
  sampling=WHOLE,
  ends=(END,),
  texts=None,
):
  """Completions of the toy model."""
  limits = jnp.full(prompts.shape[0] * count, steps) if limits is None else limits
  return sample(
    Model(CONFIG, temperature=temperature), params, prompts, mask, key,
    completions_per_prompt=count, max_tokens=steps, limits=limits, end_ids=ends, stop_texts=texts, pad_id=PAD,
    sampling=sampling,
  )  # fmt: skip


@functools.partial(jax.jit, static_argnames="temperature")
def forced(params, tokens, mask, *, temperature):
  return Model(CONFIG, temperature=temperature).outputs(params, Sequences(tokens, positions_of(mask), mask))


@jax.jit
def last_logits(params, tokens, mask):
  return Model(CONFIG).run(params, tokens, positions_of(mask), mask)[0][0, -1]


def teacher_forced(params, done, temperature=1.0, prompts=PROMPTS, mask=MASK):
  """Outputs of the model on the sampled sequences, at the responses, 0 outside their masks."""
  count = done.tokens.shape[0] // prompts.shape[0]
  join = lambda a, b: jnp.concatenate([jnp.repeat(a, count, axis=0), b], axis=1)
  outputs = forced(params, join(prompts, done.tokens), join(mask, done.mask), temperature=temperature)
  return {name: np.where(done.mask, x[:, prompts.shape[1] :], 0) for name, x in outputs.items()}


def next_probabilities(params, tokens, temperature, truncation):
  """Exact distribution of the token after `tokens`, truncated by plain NumPy, and the whole one."""
  width = PROMPTS.shape[1] + STEPS
  ids = np.pad(np.array([tokens]), [(0, 0), (width - len(tokens), 0)])
  mask = np.arange(width)[None] >= width - len(tokens)
  scaled = np.asarray(last_logits(params, ids, mask), np.float64) / temperature
  whole = np.exp(scaled) / np.exp(scaled).sum()
  order, left, reached = np.argsort(-whole), [], 0.0
  for rank, token in enumerate(order):
    small = whole[token] < truncation.min_p * whole.max() or (truncation.top_k and rank >= truncation.top_k)
    if not small and reached < truncation.top_p:
      left.append(token)
    reached += whole[token]
  cut = np.where(np.isin(np.arange(WORDS), left), whole, 0)
  return cut / cut.sum(), whole


def test_positions_by_hand():
  mask = jnp.array([[False, True, True, False, True], [False] * 5])
  np.testing.assert_array_equal(positions_of(mask), [[0, 0, 1, 1, 2], [0] * 5])


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_and_entropies_are_the_trainers(params, temperature):
  done = draw(params, jax.random.key(0), count=40, temperature=temperature)
  again = teacher_forced(params, done, temperature)
  np.testing.assert_allclose(done.logprobs, again["logprobs"], atol=1e-5)
  np.testing.assert_allclose(done.entropies, again["entropies"], atol=1e-5)
  np.testing.assert_array_equal(done.behaviour_logprobs, done.logprobs)
  assert len(set(done.mask.sum(axis=1).tolist())) > 2, "rows end at different tokens"


@pytest.mark.parametrize(
  ("temperature", "truncation"),
  [
    (1.0, Truncation()),
    (0.6, Truncation()),
    (1.0, Truncation(top_k=3)),
    (0.8, Truncation(top_p=0.7)),
    (1.3, Truncation(min_p=0.4)),
  ],
)
def test_frequencies_are_the_exact_probabilities(params, temperature, truncation):
  """Responses of one or two tokens over many rows; chi-square within five standard deviations of its mean."""
  count, prompt = 8192, PROMPTS[1:2]
  sampling = Sampling(truncation)
  done = draw(
    params, jax.random.key(3), prompt, MASK[1:2], temperature=temperature, count=count, steps=2, sampling=sampling
  )
  exact, behaviour, whole = {}, {}, {}
  first, first_whole = next_probabilities(params, prompt[0].tolist(), temperature, truncation)
  for a in np.flatnonzero(first):
    if a == END:
      exact[(END,)] = first[a]
    else:
      second, second_whole = next_probabilities(params, [*prompt[0].tolist(), a], temperature, truncation)
      for b in np.flatnonzero(second):
        exact[(a, b)] = first[a] * second[b]
        behaviour[(a, b)] = np.log([first[a], second[b]])
        whole[(a, b)] = np.log([first_whole[a], second_whole[b]])
  responses = [tuple(t[m].tolist()) for t, m in zip(np.asarray(done.tokens), np.asarray(done.mask), strict=True)]
  seen = collections.Counter(responses)
  assert seen.keys() <= exact.keys(), "only tokens that truncation leaves"
  chi_square = sum((seen[r] - count * p) ** 2 / (count * p) for r, p in exact.items())
  freedom = len(exact) - 1
  assert chi_square < freedom + 5 * np.sqrt(2 * freedom), (chi_square, freedom)
  for response in behaviour:
    if response in seen:
      row = responses.index(response)
      np.testing.assert_allclose(done.behaviour_logprobs[row], behaviour[response], atol=1e-4)
      np.testing.assert_allclose(done.logprobs[row], whole[response], atol=1e-4)


def test_windows_are_those_of_the_trainer():
  """A window shorter than prompts and responses; prompts are shared, and rows end apart and move to smaller batches."""
  windows = {"attention_pattern": ("window", "full"), "window": 3, "window_rope_base": 20.0}
  model = Model(TransformerConfig(vocabulary=WORDS, outputs=WORDS, **SIZES | {"layers": 2}, **windows))
  params, count = nn.unbox(model.init(jax.random.key(3))), 32
  limits = jnp.arange(3 * count) % STEPS + 1

  @jax.jit
  def both(params, key):
    done = sample(
      model, params, PROMPTS, MASK, key, completions_per_prompt=count, max_tokens=STEPS, limits=limits, end_ids=(END,),
      pad_id=PAD,
    )  # fmt: skip
    tokens = jnp.concatenate([jnp.repeat(PROMPTS, count, axis=0), done.tokens], axis=1)
    mask = jnp.concatenate([jnp.repeat(MASK, count, axis=0), done.mask], axis=1)
    return done, model.outputs(params, Sequences(tokens, positions_of(mask), mask))

  done, found = both(params, jax.random.key(4))
  expected = found["logprobs"][:, PROMPTS.shape[1] :]
  np.testing.assert_allclose(done.logprobs, jnp.where(done.mask, expected, 0.0), atol=1e-5)
  assert len(set(np.asarray(done.mask.sum(axis=1)).tolist())) == STEPS


def test_truncation_leaves_the_trainers_logprobs_alone(params):
  done = draw(params, jax.random.key(1), count=40, sampling=Sampling(Truncation(top_k=2)))
  again = teacher_forced(params, done)
  np.testing.assert_allclose(done.logprobs, again["logprobs"], atol=1e-5)
  np.testing.assert_allclose(done.entropies, again["entropies"], atol=1e-5)
  assert np.all((done.behaviour_logprobs > done.logprobs)[done.mask])


def test_greedy_takes_the_likeliest_token(params):
  done, other = (jax.device_get(draw(params, jax.random.key(k), sampling=Sampling(greedy=True))) for k in (0, 9))
  jax.tree.map(np.testing.assert_array_equal, done, other)
  for row in range(PROMPTS.shape[0]):
    text = PROMPTS[row][MASK[row]].tolist()
    for token in done.tokens[2 * row][done.mask[2 * row]]:
      assert token == next_probabilities(params, text, 1.0, Truncation())[1].argmax()
      text.append(int(token))


def test_a_row_does_not_depend_on_the_rows_around_it(params):
  """The same row index draws the same response in another batch, batch size and number of slots."""
  done = draw(params, jax.random.key(5))
  alone = draw(params, jax.random.key(5), PROMPTS[:1], MASK[:1])
  among = draw(params, jax.random.key(5), PROMPTS[jnp.array([2, 1, 2])], MASK[jnp.array([2, 1, 2])])
  longer = draw(params, jax.random.key(5), steps=STEPS + 3, limits=jnp.full(6, STEPS))
  np.testing.assert_array_equal(alone.tokens, done.tokens[:2])
  np.testing.assert_array_equal(among.tokens[2:4], done.tokens[2:4])
  np.testing.assert_array_equal(longer.tokens[:, :STEPS], done.tokens)
  assert not longer.mask[:, STEPS:].any()
  np.testing.assert_allclose(alone.logprobs, done.logprobs[:2], atol=1e-6)


def test_keys_rows_and_steps_draw_apart(params):
  one, two = (draw(params, jax.random.key(k), count=40) for k in (1, 2))
  assert not np.array_equal(one.tokens, two.tokens)
  assert len({tuple(row) for row in np.asarray(one.tokens[:40]).tolist()}) > 20
  steps = np.asarray(one.tokens)[np.asarray(one.mask).sum(axis=1) == STEPS]
  assert (steps[:, :-1] != steps[:, 1:]).any(axis=1).mean() > 0.9


def test_limits_are_those_of_each_row(params):
  limits = jnp.array([0, 1, 2, 3, 6, 6])
  free, done = draw(params, jax.random.key(4)), draw(params, jax.random.key(4), limits=limits)
  np.testing.assert_array_equal(done.mask, free.mask & (np.arange(STEPS) < limits[:, None]))
  np.testing.assert_array_equal(done.tokens, np.where(done.mask, free.tokens, PAD))
  assert not done.mask[0].any() and done.truncated[0]
  empty = draw(params, jax.random.key(4), limits=jnp.zeros(6, int))
  assert not empty.mask.any() and empty.truncated.all() and not empty.tokens.any()


def test_masks_and_truncation_are_exact(params):
  done = jax.device_get(draw(params, jax.random.key(2), count=40))
  for tokens, mask, truncated in zip(done.tokens, done.mask, done.truncated, strict=True):
    ends = np.flatnonzero(tokens == END)
    length = ends[0] + 1 if ends.size else STEPS  # the ending token is part of the response
    np.testing.assert_array_equal(mask, np.arange(STEPS) < length)
    assert truncated == (not ends.size)
  assert 0 < done.truncated.sum() < 120
  assert (done.tokens[done.mask] == PAD).any(), "the id of padding may be sampled, and then is a token"
  outside = [done.tokens, done.logprobs, done.behaviour_logprobs, done.entropies]
  assert not any(np.any(x[~done.mask]) for x in outside)


def test_ending_on_the_last_slot_is_no_truncation(params):
  done = draw(params, jax.random.key(2), count=40)
  on_last = done.mask[:, -1] & (done.tokens[:, -1] == END)
  assert on_last.any() and not done.truncated[on_last].any()


def test_each_of_several_ids_ends_a_response_as_stop_sequences_of_one_token_do(params):
  several = draw(params, jax.random.key(3), count=32, ends=(END, 3))
  stops = dataclasses.replace(WHOLE, stop_sequences=((3,),))
  jax.tree.map(np.testing.assert_array_equal, several, draw(params, jax.random.key(3), count=32, sampling=stops))
  ended = [row[mask][-1] for row, mask in zip(np.asarray(several.tokens), np.asarray(several.mask), strict=True)]
  assert {END, 3} <= set(ended)


def test_stop_sequences_end_a_response(params):
  free = draw(params, jax.random.key(2), count=40)
  done = draw(params, jax.random.key(2), count=40, sampling=Sampling(stop_sequences=((4, 2), (3,))))
  stopped = 0
  free, done = jax.device_get((free, done))
  for row in range(120):
    text = free.tokens[row][free.mask[row]].tolist()
    cuts = [i + 1 for i in range(len(text)) if text[i] in (END, 3) or (i > 0 and text[i - 1 : i + 1] == [4, 2])]
    length = cuts[0] if cuts else len(text)
    assert done.mask[row].sum() == length and done.tokens[row, :length].tolist() == text[:length]
    assert done.truncated[row] == (not cuts)
    stopped += length >= 2 and text[length - 2 : length] == [4, 2]
  assert stopped > 3


def test_a_prompt_does_not_complete_a_stop_sequence(params):
  """Prompt 0 ends in 2: (2, 4) has to be written whole by the policy."""
  done = draw(params, jax.random.key(2), count=40, sampling=Sampling(stop_sequences=((2, 4),)))
  begins = np.asarray(done.tokens)[:40, 0] == 4
  assert begins.any() and (np.asarray(done.mask)[:40].sum(axis=1) > 1)[begins].any()


def test_a_stop_text_ends_a_response_with_the_token_that_completes_it(params):
  words = ("", "", "a", "b", "ab")
  texts = stop_texts.build(("bab", "bb"), Pieces(*words))
  free, done = jax.device_get([draw(params, jax.random.key(2), count=40, texts=stops) for stops in (None, texts)])
  stopped = 0
  for row in range(120):
    tokens = free.tokens[row][free.mask[row]].tolist()
    read = ["".join(words[token] for token in tokens[: end + 1]) for end in range(len(tokens))]
    cuts = [i + 1 for i, text in enumerate(read) if tokens[i] == END or "bab" in text or "bb" in text]
    length = cuts[0] if cuts else len(tokens)
    assert done.mask[row].sum() == length and done.tokens[row, :length].tolist() == tokens[:length]
    assert done.truncated[row] == (not cuts)
    stopped += bool(cuts) and tokens[length - 1] != END
  assert stopped > 10


@dataclasses.dataclass(frozen=True)
class Counted(Model):
  """A model that tells how often it was run."""

  calls: list = dataclasses.field(default_factory=list, compare=False)

  def run(self, params, tokens, positions, mask, cache=None, slot=0, last=False, prefixes=()):
    jax.debug.callback(lambda: self.calls.append(tokens.shape[1]))
    return super().run(params, tokens, positions, mask, cache, slot, last, prefixes)


@pytest.mark.parametrize(("limits", "steps"), [([3, 1, 0], 2), ([0, 0, 0], 0), ([1, 1, 1], 0), ([6, 2, 2], 5)])
def test_stops_when_all_rows_have_ended(params, limits, steps):
  """One prefill, and a step for every token after the first of the longest row; nothing where no row is asked."""
  model = Counted(CONFIG)
  program = jax.jit(
    lambda limits: sample(
      model,
      params,
      PROMPTS,
      MASK,
      jax.random.key(0),
      completions_per_prompt=1,
      max_tokens=STEPS,
      limits=limits,
      end_ids=(),
      pad_id=PAD,
    )  # fmt: skip
  )
  jax.block_until_ready(program(jnp.array(limits)))
  jax.effects_barrier()
  assert sorted(model.calls) == ([1] * steps + [PROMPTS.shape[1]] if any(limits) else [])


# Seeds under vmap. The cache of these sizes is larger than anything else that could be selected.

SEEDS, COUNT = 3, 4


def seeds_of(seed_axis):
  """The sampler of some seeds, vmapped as the trainer does it, and their parameters and keys."""
  sampling = Sampling(seed_axis=seed_axis)
  one = lambda params, key: draw(params, key, count=COUNT, sampling=sampling)
  arguments = (
    jax.tree.map(lambda *x: jnp.stack(x), *[parameters(s) for s in range(SEEDS)]),
    jax.random.split(jax.random.key(0), SEEDS),
  )
  return jax.jit(jax.vmap(one, axis_name=SEED_AXIS)), arguments


def cache_sized_selects(program, arguments):
  """Select instructions of the compiled program over at least as many numbers as the responses' keys of one layer."""
  size = SEEDS * PROMPTS.shape[0] * COUNT * CONFIG.key_value_heads * CONFIG.head_width * STEPS
  jax.config.update("jax_disable_most_optimizations", False)
  text = program.lower(*arguments).compile().as_text()
  jax.config.update("jax_disable_most_optimizations", True)
  shapes = re.findall(r"= \w+\[([\d,]+)\]\S* select\(", text)
  assert shapes, "the compiled text has selects of some size"
  return [shape for shape in shapes if np.prod([int(n) for n in shape.split(",")]) >= size]


def test_seeds_together_draw_what_they_draw_alone():
  program, (params, keys) = seeds_of(SEED_AXIS)
  together = program(params, keys)
  for seed in range(SEEDS):
    alone = draw(jax.tree.map(lambda x, seed=seed: x[seed], params), keys[seed], count=COUNT)
    for name in ("tokens", "mask", "truncated"):
      np.testing.assert_array_equal(getattr(together, name)[seed], getattr(alone, name))
    for name in ("logprobs", "behaviour_logprobs", "entropies"):
      np.testing.assert_allclose(getattr(together, name)[seed], getattr(alone, name), atol=1e-5)


def test_seeds_that_stop_together_select_no_cache():
  assert not cache_sized_selects(*seeds_of(SEED_AXIS))


def test_seeds_that_stop_apart_would_select_the_cache():
  assert cache_sized_selects(*seeds_of(None))


def test_sampling_is_read_from_its_section():
  section = {"top_k": 3, "top_p": 0.9, "min_p": 0.1, "stop_sequences": [[4, 2], (3,)]}
  want = Sampling(Truncation(3, 0.9, 0.1), stop_sequences=((4, 2), (3,)), seed_axis=SEED_AXIS)
  assert sampling_from(ConfigDict({"sampling": section, "num_seeds": 2})) == want
  alone = sampling_from(ConfigDict({"sampling": section, "num_seeds": 1}))
  assert alone == dataclasses.replace(want, seed_axis=None), "one seed has no axis"


@pytest.mark.parametrize("stops", [((),), (3, 4)])
def test_stop_sequences_that_make_no_sense_are_one_line(stops):
  section = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "stop_sequences": stops}
  with pytest.raises(ValueError, match="sampling.stop_sequences holds tuples of token ids"):
    sampling_from(ConfigDict({"sampling": section, "num_seeds": 2}))
