"""Outputs of a model by name: their shapes, the token that they are read at, and how they hang together."""

from __future__ import annotations

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.logprobs import token_logprobs
from rl_jax.models import model as model_module
from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.model import LOGPROBS, Sequences
from rl_jax.models.outputs import of_parameters

VOCABULARY, WIDTH, TIME = 11, 8, 6
LENGTHS = (6, 3, 1, 4)
CONFIG = {
  **model_module.get_config(), "width": WIDTH, "layers": 1, "heads": 2, "key_value_heads": 1, "head_width": 4,
  "feed_forward": 8,
}  # fmt: skip


@functools.cache
def made(*names: str, heads: int = 1, logprobs: str = "logits", tied: bool = False, temperature: float = 0.7):
  """A model and parameters drawn with one key."""
  config = CONFIG | {"logprobs": logprobs, "tied_embeddings": tied}
  model = model_module.build(config, VOCABULARY, names=names, heads=heads, temperature=temperature)
  return model, nn.unbox(model.init(jax.random.key(0)))


def sequences(padding: str = "right", garbage: int = 0) -> Sequences:
  """Rows of all lengths; what stands in padding differs with `garbage`."""
  rng = np.random.default_rng(0)
  tokens = np.full((len(LENGTHS), TIME), garbage, np.int32)
  mask = np.zeros(tokens.shape, bool)
  for row, length in enumerate(LENGTHS):
    slots = {"right": slice(None, length), "left": slice(TIME - length, None)}[padding]
    tokens[row, slots], mask[row, slots] = rng.integers(2, VOCABULARY, length), True
  positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
  return Sequences(jnp.asarray(tokens), jnp.asarray(positions), jnp.asarray(mask))


def outputs(model, params, batch):
  return {name: np.asarray(x) for name, x in jax.jit(model.outputs)(params, batch).items()}


def raw(model, params, batch) -> np.ndarray:
  """What the output layer gives at each token, [B, T, O]."""
  return np.asarray(model.run(params, *batch)[0])


@pytest.mark.parametrize("heads, tail", [(1, ()), (3, (3,))])
def test_values_are_of_the_state_before_each_token_and_rewards_of_the_row(heads, tail):
  model, params = made("values", "rewards", heads=heads)
  batch = sequences()
  found, read = outputs(model, params, batch), raw(model, params, batch)
  assert params["output"].shape == (WIDTH, heads)
  assert found["values"].shape == (len(LENGTHS), TIME, *tail) and found["rewards"].shape == (len(LENGTHS), *tail)
  shaped = read.reshape(len(LENGTHS), TIME, *tail)
  np.testing.assert_allclose(found["values"][:, 1:], shaped[:, :-1], rtol=1e-5, atol=1e-6)
  assert not found["values"][:, 0].any()
  lasts = np.stack([shaped[row, length - 1] for row, length in enumerate(LENGTHS)])
  np.testing.assert_allclose(found["rewards"], lasts, rtol=1e-5, atol=1e-6)


def test_each_of_three_heads_is_what_it_is_alone():
  three, params = made("values", "rewards", heads=3)
  one, _ = made("values", "rewards")
  batch = sequences()
  together = outputs(three, params, batch)
  for head in range(3):
    alone = outputs(one, params | {"output": params["output"][:, head : head + 1]}, batch)
    for name in ("values", "rewards"):
      np.testing.assert_allclose(together[name][..., head], alone[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("padding", ["left", "right"])
@pytest.mark.parametrize("garbage", [0, 7])
def test_a_reward_is_read_at_the_last_token_whatever_the_padding(padding, garbage):
  model, params = made("rewards")
  whole = sequences()
  alone = []
  for row, length in enumerate(LENGTHS):
    bare = jax.tree.map(lambda x, row=row, length=length: x[row : row + 1, :length], whole)
    alone.append(outputs(model, params, bare)["rewards"][0])
  assert len({round(float(x), 4) for x in alone}) == len(LENGTHS)
  found = outputs(model, params, sequences(padding, garbage))["rewards"]
  np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("logprobs", [name for name in LOGPROBS if name != "pallas"])
@pytest.mark.parametrize("tied", [False, True])
def test_hidden_states_times_the_output_matrix_are_the_logits_of_the_logprobs(logprobs, tied):
  model, params = made("logprobs", "entropies", "hidden", "readout", logprobs=logprobs, tied=tied)
  batch = sequences()
  found = outputs(model, params, batch)
  assert found["hidden"].shape == (len(LENGTHS), TIME, WIDTH) and not found["hidden"][:, 0].any()
  assert ("output" in params) != tied
  np.testing.assert_array_equal(found["readout"], params["embedding" if tied else "output"])
  logits = found["hidden"] @ found["readout"]
  # Entry t of `hidden` speaks of token t: one column on, it is what `token_logprobs` reads.
  ahead = jnp.asarray(np.concatenate([logits[:, 1:], logits[:, :1]], axis=1))
  expected = token_logprobs(ahead, batch.tokens, temperature=model.temperature)
  told = np.asarray(batch.attention_mask)[:, 1:]
  for name in ("logprobs", "entropies"):
    here, there = found[name][:, 1:][told], np.asarray(getattr(expected, name))[:, 1:][told]
    np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-5)
    assert np.abs(here).min() > 0.01


@pytest.mark.parametrize("logprobs", ["logits", "recomputed"])
def test_collisions_are_sums_of_squared_probabilities(logprobs):
  model, params = made("logprobs", "collisions", logprobs=logprobs)
  batch = sequences()
  found, logits = outputs(model, params, batch)["collisions"], raw(*made("logprobs"), batch)
  expected = np.square(jax.nn.softmax(logits / model.temperature)).sum(axis=-1)[:, :-1]
  told = np.asarray(batch.attention_mask)[:, 1:]
  np.testing.assert_allclose(found[:, 1:][told], expected[told], rtol=1e-5)
  with pytest.raises(ValueError, match="are of two models"):
    model_module.build(CONFIG, VOCABULARY, names=("collisions", "values"))


@pytest.mark.parametrize("logprobs", ["logits", "recomputed"])
def test_logprobs_are_the_same_beside_hidden_states_and_without(logprobs):
  with_hidden, params = made("hidden", "logprobs", logprobs=logprobs)
  without, _ = made("logprobs")
  here, there = outputs(with_hidden, params, sequences()), outputs(without, params, sequences())
  assert here.keys() == {"hidden", "logprobs"} and there.keys() == {"logprobs"}, "those asked for, and no others"
  told = np.asarray(sequences().attention_mask)[:, 1:]
  np.testing.assert_allclose(here["logprobs"][:, 1:][told], there["logprobs"][:, 1:][told], rtol=1e-5, atol=1e-5)


def test_hidden_states_alone_need_no_output_matrix():
  model, params = made("hidden")
  batch = sequences()
  less = params | {"output": jnp.full_like(params["output"], jnp.nan)}
  found = outputs(model, less, batch)
  assert found.keys() == {"hidden"} and np.isfinite(found["hidden"]).all()


@pytest.mark.parametrize("heads", [1, 3])
def test_hidden_states_of_a_critic_times_its_heads_are_its_values(heads):
  model, params = made("values", "hidden", "readout", heads=heads)
  found = outputs(model, params, sequences())
  read = found["hidden"] @ found["readout"]
  np.testing.assert_allclose(found["values"], read[..., 0] if heads == 1 else read, rtol=1e-5, atol=1e-6)


def test_a_matrix_is_read_of_the_parameters_alone():
  """In the type of activations, where others are kept; and no row is run for it."""
  model, params = made("readout")
  narrow = dataclasses.replace(model, config=dataclasses.replace(model.config, dtype="bfloat16"))
  assert of_parameters(narrow, params)["readout"].dtype == jnp.bfloat16
  assert "dot" not in jax.jit(model.outputs).lower(params, sequences()).compile().as_text()
  assert of_parameters(made("hidden")[0], params) == {}


def test_hidden_states_have_a_gradient():
  model, params = made("hidden")
  loss = lambda params: jnp.square(model.outputs(params, sequences())["hidden"]).sum()
  grads = jax.jit(jax.grad(loss))(params)
  assert all(np.any(x) for x in jax.tree.leaves(grads["layer_0"]["attention"])) and np.any(grads["embedding"])


@pytest.mark.parametrize(
  "names, expected",
  [
    (("logprobs", "values"), "are of two models, with a head each"),
    (("rewards", "entropies"), "are of two models, with a head each"),
    (
      ("logits",),
      r"outputs \['logits'\]: a model gives some of logprobs, entropies, collisions, hidden, values, rewards",
    ),
    ((), "outputs none: a model gives some of"),
  ],
)
def test_outputs_that_no_model_gives_are_refused(names, expected):
  with pytest.raises(ValueError, match=expected):
    made(*names)


def test_a_kind_of_model_of_ones_own_has_a_place_for_heads():
  """`build` is told the names and the number, which the width of the output layer follows."""
  model, _ = made("values", heads=3)
  assert isinstance(model.config, TransformerConfig) and model.config.outputs == 3 and model.of_heads
  assert dataclasses.replace(model, names=("hidden",)).of_heads is False
