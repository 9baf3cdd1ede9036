"""Prompts that several rows share are run once: values and gradients are those of rows that are run alone."""

from __future__ import annotations

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.models import model as model_module
from rl_jax.models.outputs import Sequences
from rl_jax.models.packing import rows_needed
from rl_jax.trajectories import PrefixTrees, Trajectories, slots_run

PROMPTS, ROWS, WIDTH, RESPONSES, VOCABULARY = 3, 4, 5, 6, 13
BASE = {"width": 8, "layers": 1, "heads": 4, "key_value_heads": 2, "head_width": 4, "feed_forward": 16}
WINDOWS = {
  "layers": 2,
  "attention_pattern": ("window", "full"),
  "window": 3,
  "window_rope_base": 100.0,
  "output_norms": True,
  "offset_norms": True,
  "scaled_embeddings": True,
}
"""Shorter than a prompt and than a response."""
CASES = {
  "plain": {},
  "tied": {"tied_embeddings": True},
  "norms and biases": {"qk_norm": True, "qkv_bias": True},
  "remat": {"remat": "block"},
  "windows": WINDOWS,
  "windows, remat, adapters": WINDOWS | {"remat": "block", "lora_rank": 2, "lora_alpha": 4.0},
  "adapters": {"lora_rank": 2, "lora_alpha": 4.0},
  "without logits": {"logprobs": "chunked"},
  "bfloat16": {"dtype": "bfloat16"},
}
PARTS = ("tied", "remat", "windows", "adapters", "norms and biases", "bfloat16")
MARKED = [pytest.param(case, marks=pytest.mark.slow) if case in PARTS else case for case in CASES]
"""Options that another case has among others are slow alone."""


def groups(rows_per_prompt: int, rows: int = PROMPTS * ROWS, width: int = WIDTH) -> tuple[PrefixTrees, ...]:
  return (PrefixTrees.groups(rows, rows_per_prompt, width),) if rows_per_prompt > 1 else ()


def batch(rows_per_prompt: int) -> Trajectories:
  """Prompts and responses of all lengths, an empty response among them."""
  rng = np.random.default_rng(0)
  made = Trajectories.empty(PROMPTS * ROWS, WIDTH + RESPONSES, WIDTH)
  tokens, mask = np.array(made.tokens), np.array(made.attention_mask)
  for prompt, length in enumerate((5, 1, 3)):
    rows = slice(prompt * ROWS, (prompt + 1) * ROWS)
    tokens[rows, WIDTH - length : WIDTH], mask[rows, WIDTH - length : WIDTH] = rng.integers(2, VOCABULARY, length), True
  for row, length in enumerate(rng.integers(0, RESPONSES + 1, PROMPTS * ROWS)):
    length = 0 if row == 5 else length
    tokens[row, WIDTH : WIDTH + length], mask[row, WIDTH : WIDTH + length] = rng.integers(2, VOCABULARY, length), True
  positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
  return made.replace(
    tokens=jnp.asarray(tokens), attention_mask=jnp.asarray(mask), positions=jnp.asarray(positions),
    loss_mask=jnp.asarray(mask & (np.arange(WIDTH + RESPONSES) >= WIDTH)), trees=groups(rows_per_prompt),
  )  # fmt: skip


@functools.cache
def made(case: str, names: tuple[str, ...] = ("logprobs", "entropies"), heads: int = 1):
  config = model_module.get_config() | BASE | CASES[case]
  model = model_module.build(config, VOCABULARY, names=names, heads=heads, temperature=0.7)
  params = nn.unbox(model.init(jax.random.key(0)))
  # Adapters begin at zero: every parameter is moved, so that each has a gradient to compare.
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(1), len(leaves))
  moved = [x + 0.1 * jax.random.normal(key, x.shape, x.dtype) for x, key in zip(leaves, keys, strict=True)]
  return model, jax.tree.unflatten(tree, moved)


def outputs(model, params, rows: Trajectories):
  """As one program: quicker to make than one for each operation."""
  return jax.jit(model.outputs)(params, rows)


def value_and_gradient(model, params, rows: Trajectories):
  """The outputs at trained tokens, and the gradient of a sum that weighs each of them differently."""

  def loss(params):
    found = model.outputs(params, rows)
    at_responses = {name: jnp.where(rows.loss_mask, x, 0.0) if x.ndim == 2 else x for name, x in found.items()}
    weighed = [jnp.sum(jnp.sin(1.0 + jnp.arange(x.size)).reshape(x.shape) * x) for x in at_responses.values()]
    return sum(weighed), at_responses

  (_, found), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
  return found, gradient


def assert_close(left, right, tolerance: float) -> None:
  for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    np.testing.assert_allclose(a, b, atol=tolerance * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("case", MARKED)
def test_values_and_gradients_are_those_of_rows_run_alone(case):
  model, params = made(case)
  alone, shared = (value_and_gradient(model, params, batch(rows)) for rows in (1, ROWS))
  assert_close(alone, shared, 3e-2 if case == "bfloat16" else 1e-5)
  trained = jax.tree.leaves(model.trained(shared[1]))
  assert trained and all(np.abs(np.asarray(x, np.float64)).max() > 0 for x in trained)


def short(rows_per_prompt: int) -> Trajectories:
  """The batch with responses of at most 3 tokens, but for one of 6; all rows are in use."""
  rows = batch(rows_per_prompt)
  longest = jnp.where(jnp.arange(PROMPTS * ROWS) == 2, RESPONSES, 3)
  kept = jnp.arange(WIDTH + RESPONSES) < WIDTH + longest[:, None]
  return rows.replace(
    attention_mask=rows.attention_mask & kept, loss_mask=rows.loss_mask & kept, row_mask=jnp.ones(PROMPTS * ROWS, bool)
  )


def rows_of_packing(rows: Trajectories) -> list[int]:
  lengths = (rows.attention_mask & rows.row_mask[:, None])[:, WIDTH:].sum(axis=1)
  return rows_needed(lengths.reshape(-1, ROWS), RESPONSES).tolist()


@pytest.mark.parametrize("case", MARKED)
def test_packed_responses_are_those_of_rows_run_alone(case):
  """In as many rows as they need, and in more."""
  model, params = made(case)
  assert rows_of_packing(short(ROWS)) == [3, 2, 2]
  alone = value_and_gradient(model, params, short(1))
  for count in (3, ROWS):
    packed = value_and_gradient(model, params, short(ROWS).replace(run_rows=count))
    assert_close(alone, packed, 3e-2 if case == "bfloat16" else 1e-5)


def test_packed_responses_may_have_holes():
  """As those of turns, between a turn and its answer: tokens after a token are those of rows run alone."""
  model, params = made("plain")
  hole = lambda rows: rows.replace(attention_mask=rows.attention_mask.at[:, WIDTH + 1].set(False))
  alone, packed = hole(short(1)), hole(short(ROWS))
  read = np.asarray(alone.attention_mask & jnp.roll(alone.attention_mask, 1, axis=1) & alone.loss_mask)
  assert read[:, WIDTH + 3 :].any() and not read[:, WIDTH + 1 : WIDTH + 3].any()
  found = [outputs(model, params, one)["logprobs"][read] for one in (alone, packed.replace(run_rows=3))]
  np.testing.assert_allclose(*found, atol=1e-5)


def test_packed_responses_have_values_and_rewards_of_heads():
  model, params = made("plain", ("values", "rewards"), heads=2)
  alone, packed = (outputs(model, params, one) for one in (short(1), short(ROWS).replace(run_rows=3)))
  mask = np.asarray(short(1).loss_mask)
  np.testing.assert_allclose(alone["values"][mask], packed["values"][mask], atol=1e-5)
  np.testing.assert_allclose(alone["rewards"], packed["rewards"], atol=1e-5)


def test_rows_that_are_not_in_use_take_no_room():
  model, params = made("plain")
  fewer = short(ROWS).replace(row_mask=jnp.arange(PROMPTS * ROWS) != 2)
  assert rows_of_packing(fewer) == [2, 2, 2]
  mask = np.asarray(fewer.loss_mask & fewer.row_mask[:, None])
  alone, packed = (outputs(model, params, one) for one in (fewer.replace(trees=()), fewer.replace(run_rows=2)))
  for name in ("logprobs", "entropies"):
    np.testing.assert_allclose(alone[name][mask], packed[name][mask], atol=1e-5)


CHILDREN, STARTS = (2, 3, 2), (WIDTH, WIDTH + 2, WIDTH + 4)
TREE = PrefixTrees(PROMPTS * 20, CHILDREN, STARTS)


def grown() -> Trajectories:
  """Trees of depth three, of nodes that fill their segment and go on, or end within it and have no children."""
  rng, width = np.random.default_rng(1), WIDTH + 6
  texts = []
  for length in (5, 1, 3):
    prompt = np.full(width, -1)
    prompt[WIDTH - length : WIDTH] = rng.integers(2, VOCABULARY, length)
    above = [(prompt, True)]
    for children, start, stop in zip(CHILDREN, STARTS, (*STARTS[1:], width), strict=True):
      level = []
      for text, goes_on in above:
        for _ in range(children):
          own = rng.integers(1, stop - start + 1) if rng.random() < 0.4 else stop - start
          added = text.copy()
          added[start : start + own * goes_on] = rng.integers(2, VOCABULARY, own * goes_on)
          level.append((added, goes_on and own == stop - start, start))
      texts += level
      above = [(text, goes_on) for text, goes_on, _ in level]
  tokens, _, starts = (np.array(x) for x in zip(*texts, strict=True))
  mask, slots = tokens >= 0, np.arange(width)
  return Trajectories.empty(len(tokens), width, WIDTH).replace(
    tokens=jnp.asarray(np.maximum(tokens, 0)), attention_mask=jnp.asarray(mask),
    positions=jnp.asarray(np.maximum(np.cumsum(mask, axis=1) - 1, 0)),
    loss_mask=jnp.asarray(mask & (slots >= starts[:, None])), trees=(TREE,),
  )  # fmt: skip


@pytest.mark.parametrize("case", MARKED)
def test_trees_are_those_of_rows_run_alone(case):
  model, params = made(case)
  rows = grown()
  assert rows.loss_mask.any(axis=1).sum() < TREE.rows == rows.tokens.shape[0] == PROMPTS * TREE.size
  alone, shared = (value_and_gradient(model, params, one) for one in (rows.replace(trees=()), rows))
  assert_close(alone, shared, 3e-2 if case == "bfloat16" else 1e-5)


def test_trees_have_values_and_rewards_of_heads():
  model, params = made("plain", ("values", "rewards"))
  rows = grown()
  alone, shared = (outputs(model, params, one) for one in (rows.replace(trees=()), rows))
  np.testing.assert_allclose(alone["values"][rows.loss_mask], shared["values"][rows.loss_mask], atol=1e-5)
  own = rows.loss_mask.any(axis=1)
  np.testing.assert_allclose(alone["rewards"][own], shared["rewards"][own], atol=1e-5)


def test_parts_of_a_batch_share_each_in_their_way():
  model, params = made("plain")
  whole = batch(1)
  joined = jax.tree.map(lambda x: jnp.concatenate([x, x[:5], x]), whole)
  trees = (*groups(ROWS), PrefixTrees.alone(5), *groups(2))
  alone, shared = (value_and_gradient(model, params, joined.replace(trees=one)) for one in ((), trees))
  assert_close(alone, shared, 1e-5)
  first = joined.replace(trees=trees).first(PROMPTS * ROWS)
  assert first.trees == groups(ROWS) and joined.replace(trees=trees).first(3).trees == ()
  with pytest.raises(ValueError, match="a batch of 24 rows with trees of 29: Trajectories.rows picks rows"):
    model.outputs(params, jax.tree.map(lambda x: x[:24], joined.replace(trees=trees)))


@pytest.mark.parametrize("case", MARKED)
@pytest.mark.parametrize("together", [1, ROWS])
def test_what_goes_on_from_the_midst_of_rows(case, together):
  """Three tails of each row, cut after none, some and all of its response, are rows of their own."""
  model, params = made(case)
  stems, count = batch(together), 3 * PROMPTS * ROWS
  rng, owners = np.random.default_rng(2), jnp.arange(count) // 3
  cuts = WIDTH + jnp.asarray(np.concatenate([[0, 3, RESPONSES] * (count // 3)]))
  visible = jnp.arange(WIDTH + RESPONSES) < cuts[:, None]
  tokens, mask = rng.integers(2, VOCABULARY, (count, 4)), np.arange(4) < rng.integers(1, 5, count)[:, None]
  before = (stems.attention_mask[owners] & visible).sum(axis=1)
  tails = Sequences(jnp.asarray(tokens), before[:, None] + jnp.arange(4), jnp.asarray(mask))

  def found(model):
    def loss(params):
      made = jnp.where(mask, model.outputs_after(params, stems, visible, tails)["logprobs"], 0.0)
      return jnp.sum(jnp.sin(1.0 + jnp.arange(made.size)).reshape(made.shape) * made), made

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(params)

  apart = dataclasses.replace(model, shared_prompts=False)
  assert_close(found(apart), found(model), 3e-2 if case == "bfloat16" else 1e-5)


def test_slots_that_a_pass_runs():
  assert slots_run(PrefixTrees.alone(6), 11) == 66
  assert slots_run(PrefixTrees.groups(8, 4, 5), 9) == 2 * (5 + 4 * 4)
  assert slots_run(TREE, WIDTH + 6) == PROMPTS * (WIDTH + 2 * 2 + 6 * 2 + 12 * 2)


def test_values_and_rewards_of_heads_are():
  model, params = made("plain", ("values", "rewards"), heads=3)
  alone, shared = (outputs(model, params, batch(rows)) for rows in (1, ROWS))
  mask = np.asarray(batch(1).loss_mask)
  np.testing.assert_allclose(alone["values"][mask], shared["values"][mask], atol=1e-5)
  np.testing.assert_allclose(alone["rewards"], shared["rewards"], atol=1e-5)


def test_a_row_reads_its_own_prompt_and_no_other_row():
  model, params = made("plain")
  rows = batch(ROWS)
  found = np.asarray(outputs(model, params, rows)["logprobs"])
  other = rows.replace(tokens=rows.tokens.at[:ROWS, WIDTH - 1].add(1), trees=groups(ROWS))
  changed = np.asarray(outputs(model, params, other)["logprobs"])
  np.testing.assert_array_equal(found[ROWS:], changed[ROWS:])
  assert np.abs(found - changed)[:ROWS][np.asarray(rows.loss_mask[:ROWS])].min() > 0
  one = rows.replace(tokens=rows.tokens.at[1, WIDTH].add(1))
  np.testing.assert_array_equal(found[2:], np.asarray(outputs(model, params, one)["logprobs"])[2:])


def test_outputs_are_those_of_responses_alone():
  """Nobody reads logprobs of a prompt, and they cost an output layer."""
  model, params = made("plain")
  for rows in (1, ROWS):
    found = np.asarray(outputs(model, params, batch(rows))["logprobs"])
    assert not found[:, :WIDTH].any() and found.shape == (PROMPTS * ROWS, WIDTH + RESPONSES)
  compiled = jax.jit(model.outputs).lower(params, batch(ROWS)).compile()
  assert f"{WIDTH + RESPONSES},{VOCABULARY}]" not in compiled.as_text().replace(" ", "")


def test_one_setting_turns_it_off():
  config = model_module.get_config() | BASE
  model, _ = made("plain")
  off = model_module.build(config | {"shared_prompts": False}, VOCABULARY, temperature=0.7)
  params = made("plain")[1]
  found, alone = (outputs(one, params, batch(rows))["logprobs"] for one, rows in ((off, ROWS), (model, 1)))
  np.testing.assert_array_equal(found, alone)


def test_it_saves_operations():
  """A prompt of ten slots for eight rows with two: 10 + 16 tokens in place of 96."""
  model, params = made("plain")
  rows = Trajectories.empty(8, 12, 10)
  flops = lambda block: (
    jax.jit(model.outputs).lower(params, rows.replace(trees=groups(block, 8, 10))).compile().cost_analysis()["flops"]
  )
  assert flops(8) < 0.5 * flops(1)
