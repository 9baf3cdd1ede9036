"""A model's outputs: aligned with their tokens, at the sampling temperature."""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from rl_jax.models import model
from rl_jax.models.architecture import TransformerConfig

SIZES = {"width": 8, "layers": 1, "heads": 2, "key_value_heads": 1, "head_width": 4, "feed_forward": 8}
TOKENS = np.array([[3, 1, 4, 1], [2, 0, 2, 3]])
ARGS = model.Sequences(TOKENS, np.arange(4) * np.ones((2, 1), int), np.ones((2, 4), bool))


def built(kind, temperature=1.0):
  names = {"language": ("logprobs", "entropies"), "value": ("values",)}[kind]
  made = model.Model(TransformerConfig(5, 5 if kind == "language" else 1, **SIZES), names, temperature)
  return made, nn.unbox(made.init(jax.random.key(0)))


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_logprobs_and_entropies_belong_to_the_token_they_stand_at(temperature):
  policy, params = built("language", temperature)
  logits = np.asarray(policy.run(params, *ARGS)[0], np.float64) / temperature
  outputs = policy.outputs(params, ARGS)
  assert set(outputs) == {"logprobs", "entropies"}
  for row in range(2):
    assert outputs["logprobs"][row, 0] == 0 and outputs["entropies"][row, 0] == 0
    for t in range(1, 4):
      p = np.exp(logits[row, t - 1]) / np.exp(logits[row, t - 1]).sum()
      np.testing.assert_allclose(outputs["logprobs"][row, t], np.log(p[TOKENS[row, t]]), atol=1e-5)
      np.testing.assert_allclose(outputs["entropies"][row, t], -(p * np.log(p)).sum(), atol=1e-5)


def test_temperature_changes_nothing_but_the_softmax():
  hot, params = built("language", 4.0)
  cold = dataclasses.replace(hot, temperature=0.25)
  np.testing.assert_array_equal(hot.run(params, *ARGS)[0], cold.run(params, *ARGS)[0])
  assert np.all(hot.outputs(params, ARGS)["entropies"][:, 1:] > cold.outputs(params, ARGS)["entropies"][:, 1:])


@pytest.mark.parametrize("tied", [False, True])
def test_without_logits_the_same(tied):
  """Values to 1e-6, gradients (of up to 25) to 1e-5, on left-padded rows."""
  made, _ = built("language", 0.7)
  holds = dataclasses.replace(made, config=dataclasses.replace(made.config, tied_embeddings=tied))
  params = nn.unbox(holds.init(jax.random.key(0)))
  mask = np.array([[True] * 4, [False, True, True, True]])

  def loss(params, model):
    found = model.outputs(params, ARGS._replace(attention_mask=mask))
    return sum(np.where(mask, [[0.0], [2.0]], 0.0) * x for x in found.values()).sum(), found

  run = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)
  (_, expected), gradients = run(params, holds)
  (_, found), own = run(params, dataclasses.replace(holds, logprobs="recomputed"))
  for name, values in expected.items():
    np.testing.assert_allclose(np.where(mask, found[name] - values, 0.0), 0.0, atol=1e-6)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), own, gradients)


def test_a_way_to_logprobs_that_is_not_known_is_named():
  with pytest.raises(ValueError, match="model.logprobs='lost' is not known: use one of logits, recomputed"):
    dataclasses.replace(built("language")[0], logprobs="lost")


def test_a_value_is_that_of_the_state_before_its_token():
  critic, params = built("value")
  raw = critic.run(params, *ARGS)[0]
  values = critic.outputs(params, ARGS)
  assert set(values) == {"values"}
  np.testing.assert_allclose(values["values"][:, 1:], raw[:, :-1, 0], atol=1e-6)  # products of other shapes
  np.testing.assert_array_equal(values["values"][:, 0], 0)
  changed = TOKENS.copy()
  changed[:, 3] = 0  # the last token is not known to its own value
  np.testing.assert_array_equal(critic.outputs(params, ARGS._replace(tokens=changed))["values"], values["values"])


def test_build_reads_the_section_of_a_config():
  section = ConfigDict({**model.get_config(), **SIZES})
  policy, critic = model.build(section, 11, temperature=0.7), model.build(section, 11, names=("values",))
  assert (policy.config.vocabulary, policy.config.outputs, policy.temperature) == (11, 11, 0.7)
  assert (critic.config.vocabulary, critic.config.outputs) == (11, 1)
  assert dataclasses.asdict(policy.config).items() >= SIZES.items()


def test_param_count_by_hand():
  _, params = built("language")
  attention, feed_forward, norms = 8 * 8 + 2 * 8 * 4 + 8 * 8, 3 * 8 * 8, 3 * 8
  assert model.param_count(params) == 2 * 5 * 8 + attention + feed_forward + norms


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_positive_is_one_line(temperature):
  with pytest.raises(ValueError, match="sampling.temperature=.* above 0"):
    built("language", temperature)
