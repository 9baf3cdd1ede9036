"""A reward model of experts: every form against one transformer at a time, starts, what a phase trains, errors."""

from __future__ import annotations

import dataclasses
import functools
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from rl_jax.models import lora, model, reward_experts

SIZES = {"width": 8, "layers": 1, "heads": 2, "key_value_heads": 1, "head_width": 4, "feed_forward": 8, "lora_rank": 2}
VOCABULARY, ROWS, PROMPT, TIME = 7, 6, 3, 6


def built(**fields):
  section = types.SimpleNamespace(**{**reward_experts.get_config(), **SIZES, **fields})
  return reward_experts.build(vars(section), VOCABULARY)


def initial(reward_model):
  return jax.device_get(jax.jit(lambda: nn.unbox(reward_model.init(jax.random.key(0))))())


def drawn(reward_model):
  """Parameters that are all different from their starts, so that a 0 hides nothing."""

  @jax.jit
  def draw():
    leaves, tree = jax.tree.flatten(nn.unbox(reward_model.init(jax.random.key(0))))
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [x + 0.3 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, moved)

  return jax.device_get(draw())


def batch(garbage=0):
  rng = np.random.default_rng(0)
  lengths = np.array([1, 2, 3, 1, 2, 3])
  slots = np.arange(TIME)
  mask = (slots >= 1) & (slots < PROMPT + lengths[:, None])
  tokens = np.where(mask, rng.integers(0, VOCABULARY, (ROWS, TIME)), garbage)
  positions = np.where(mask, np.cumsum(mask, axis=1) - 1, garbage)
  fields = {"tokens": tokens, "positions": positions, "attention_mask": mask}
  return types.SimpleNamespace(prompt_width=PROMPT, **{name: jnp.asarray(x) for name, x in fields.items()})


def outputs(reward_model, params, rows):
  """As one program: quicker to make than one for each operation."""
  fields = {name: x for name, x in vars(rows).items() if name != "prompt_width"}
  run = lambda params, fields: reward_model.outputs(params, types.SimpleNamespace(prompt_width=PROMPT, **fields))
  return jax.device_get(jax.jit(run)(params, fields))


def last_state(transformer, params, rows, row, end):
  """The state of one row's last token before slot `end`, computed without its padding."""
  there = np.flatnonzero(np.asarray(rows.attention_mask[row, :end]))
  inputs = np.asarray(rows.tokens)[row, there], np.arange(len(there)), np.ones(len(there), bool)
  return np.asarray(_states(transformer, params, *(x[None] for x in inputs)), np.float64)[0, -1]


@functools.partial(jax.jit, static_argnums=0)
def _states(transformer, params, tokens, positions, mask):
  return transformer.apply({"params": params}, tokens, positions, mask, readout=False)[0]


def at(tree, *index):
  return jax.tree.map(lambda x: x[index], tree)


def by_hand(reward_model, params):
  """The member that each row is routed to, and its rewards by all readouts, row by row."""
  rows, plain = batch(), reward_model.base._plain
  tasks, found = [], {name: [] for name in reward_experts.READOUTS}
  for row in range(ROWS):
    router = params["router"]
    z = last_state(reward_model._router, router["transformer"], rows, row, PROMPT)
    tasks.append(int(np.argmax(z @ np.asarray(router["transformer"]["output"]) + np.asarray(router["bias"]))))
    member = {name: at(params[name], tasks[-1]) for name in ("head", "experts", "fusion")}
    backbone, experts, mlp = member["head"]["transformer"], member["experts"], at(member["fusion"])
    z = last_state(plain, backbone, rows, row, TIME)
    found["head"].append(z @ np.asarray(backbone["output"][:, 0]) + float(member["head"]["bias"]))
    zs = []
    for k in range(reward_model.experts):
      merged = flatten_dict(backbone)
      scale = reward_model.config.lora_scale
      for matrix in ("query", "value"):
        a, b = (at(experts["adapters"], k)["layer_0"]["attention"][f"{matrix}_{part}"] for part in ("first", "second"))
        merged[("layer_0", "attention", matrix)] = merged[("layer_0", "attention", matrix)] + scale * a @ b
      tree = {}
      for path, leaf in merged.items():
        place = tree
        for name in path[:-1]:
          place = place.setdefault(name, {})
        place[path[-1]] = leaf
      zs.append(last_state(plain, tree, rows, row, TIME))
    of_experts = [z @ np.asarray(experts["weight"][k]) + float(experts["bias"][k]) for k, z in enumerate(zs)]
    found["experts"].append(np.mean(of_experts))
    before = np.asarray(mlp["hidden_weight"]) @ np.concatenate(zs) + np.asarray(mlp["hidden_bias"])
    after = np.where(before >= 0, before, float(mlp["slope"]) * before)
    found["fusion"].append(after @ np.asarray(mlp["out_weight"]) + float(mlp["out_bias"]))
  return np.array(tasks), {name: np.array(x) for name, x in found.items()}


FULL = {"members": 3, "experts": 2}


def test_rewards_of_the_routed_member_one_row_and_one_expert_at_a_time():
  reward_model = built(**FULL)
  params = drawn(reward_model)
  tasks, wanted = by_hand(reward_model, params)
  assert len(set(tasks.tolist())) > 1
  for readout, rewards in wanted.items():
    found = outputs(dataclasses.replace(reward_model, readout=readout), params, batch())
    np.testing.assert_array_equal(found["members"], tasks[:, None] == np.arange(3))
    np.testing.assert_allclose(found["rewards"], rewards, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found["task_logits"].argmax(axis=1), tasks)
    assert found["member_rewards"].shape == (ROWS, 3, 2 if readout == "experts" else 1)


def test_padding_holds_anything_and_responses_do_not_route():
  reward_model = built(**FULL, readout="fusion")
  params = drawn(reward_model)
  one, other = outputs(reward_model, params, batch()), outputs(reward_model, params, batch(garbage=5))
  for name, x in one.items():
    np.testing.assert_allclose(x, other[name], rtol=1e-5, atol=1e-6, err_msg=name)
  rows = batch()
  rows.tokens = rows.tokens.at[:, PROMPT:].set(2)
  changed = outputs(reward_model, params, rows)
  np.testing.assert_array_equal(changed["task_logits"], one["task_logits"])
  assert (np.asarray(changed["rewards"]) != np.asarray(one["rewards"])).any()


def test_ensembles_are_of_all_members():
  mean, worst = (built(members=3, combine=combine) for combine in ("mean", "worst"))
  params = drawn(mean)
  assert set(params) == {"head"}
  found = outputs(mean, params, batch())
  each = np.asarray(found["member_rewards"])[:, :, 0]
  assert found["members"].all() and not found["task_logits"].any()
  np.testing.assert_allclose(found["rewards"], each.mean(axis=1), rtol=1e-5)
  np.testing.assert_allclose(outputs(worst, params, batch())["rewards"], each.min(axis=1), rtol=1e-6)


def test_a_single_member_is_a_transformer_with_a_head():
  reward_model = built()
  params = initial(reward_model)
  plain = model.build(model.get_config() | SIZES | {"lora_rank": 0}, VOCABULARY, names=("rewards",))
  wanted = outputs(plain, at(params["head"]["transformer"], 0), batch())["rewards"]
  np.testing.assert_allclose(outputs(reward_model, params, batch())["rewards"], wanted, rtol=1e-5, atol=1e-6)


def test_experts_start_as_their_member():
  """Phase 2 begins where phase 1 ended: adapters add 0, and heads are copies."""
  reward_model = built(**FULL)
  params = initial(reward_model)
  params["head"]["bias"] = jnp.arange(3.0)
  head = outputs(reward_model, params, batch())["member_rewards"]
  experts = dataclasses.replace(reward_model, readout="experts")
  found = outputs(experts, reward_experts.from_heads(params), batch())["member_rewards"]
  np.testing.assert_allclose(found, np.repeat(head, 2, axis=2), rtol=1e-5, atol=1e-6)


def test_members_and_router_start_as_a_policy_and_keep_their_output_layers():
  reward_model = built(**FULL)
  policy_model = model.build(model.get_config() | SIZES | {"lora_rank": 0}, VOCABULARY)
  policy = jax.jit(lambda: nn.unbox(policy_model.init(jax.random.key(5))))()
  before = initial(reward_model)
  after = reward_experts.from_policy(before, policy)
  for member in range(3):
    taken = at(after["head"]["transformer"], member)
    jax.tree.map(np.testing.assert_array_equal, taken | {"output": 0}, policy | {"output": 0})
  for part in ("head", "router"):
    np.testing.assert_array_equal(after[part]["transformer"]["output"], before[part]["transformer"]["output"])
  jax.tree.map(np.testing.assert_array_equal, after["experts"], before["experts"])
  assert len({float(x) for x in np.asarray(after["head"]["transformer"]["output"][:, 0, 0])}) == 3


def test_a_frozen_model_keeps_its_experts():
  reward_model = built(**FULL, readout="fusion")
  params = drawn(reward_model)
  jax.tree.map(np.testing.assert_array_equal, lora.without(params), params)
  assert reward_model.base is reward_model and reward_model.merged(params) is params


def test_parameters_have_the_axes_of_their_transformer_behind_those_of_members():
  boxed = built(**FULL).abstract
  query = boxed["head"]["transformer"]["layer_0"]["attention"]["query"]
  first = boxed["experts"]["adapters"]["layer_0"]["attention"]["query_first"]
  assert query.names == (None, "width", "heads") and first.names == (None, None, "width", "rank")


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"combine": "best"}, "model.combine is one of routed, mean, worst, got 'best'"),
    ({"readout": "fusion"}, "model.readout='fusion' reads experts: model.experts is at least 1"),
    ({"members": 0}, "model.members is at least 1"),
    ({"experts": 2, "lora_rank": 0}, "model.lora_rank=0: experts are adapters"),
  ],
)
def test_fields_that_do_not_fit_end_in_one_line(fields, message):
  with pytest.raises(ValueError, match=message):
    built(**fields)


def test_outputs_of_other_models_are_named_in_the_error():
  with pytest.raises(ValueError, match="outputs ..logprobs..: a reward model of experts gives some of task_logits"):
    dataclasses.replace(built(), names=("logprobs",))
