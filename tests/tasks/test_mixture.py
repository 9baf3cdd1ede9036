"""Mixture: each row is what its component alone would give, over the joint vocabulary."""

from __future__ import annotations

import dataclasses
import sys
import types

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from rl_jax.tasks import addition, chain, mixture
from tests.tasks.jitted import jitted

CHAIN = {"levels": {"four": {"weight": 0.0}, "two": {"operations": 2}, "five": {"operations": 5}}, "pool_size": 30}
PLAIN = {"name": "rl_jax.tasks.chain", **CHAIN}
ADDITION = {"levels": {"six": {"digits": 6}}}


def build(**components):
  """The task, its functions jitted."""
  task = mixture.build(ml_collections.ConfigDict({"components": components}))
  return jitted(task, "prompts", "verify", "demonstrate", "solutions")


@pytest.fixture(scope="module")
def task():
  return build(
    sums={"name": "rl_jax.tasks.addition", "weight": 1.0, **ADDITION},
    chains={"name": "rl_jax.tasks.chain", "weight": 3.0, **CHAIN},
  )


@pytest.fixture(scope="module")
def prompts(task):
  ids = task.problem_ids(jax.random.key(0), 600, "train")
  return task.prompts(ids, "train")


def rows_of(task, tokens, mask):
  return [task.vocabulary.decode(t[m]) for t, m in zip(np.asarray(tokens), np.asarray(mask), strict=True)]


def test_widths_and_names(task):
  assert task.levels == ("chains/five", "chains/two", "sums/six")
  assert (task.prompt_tokens, task.response_tokens) == (14, 6 * 3 + 9 + 6)
  assert set(task.vocabulary.symbols) == set(chain.build({}).vocabulary.symbols)
  assert task.vocabulary.symbols[:2] == ("<pad>", "<end>")


def test_rows_are_those_of_the_components(task, prompts):
  component = np.asarray(prompts.ids) % 2
  assert abs(component.mean() - 0.25) < 0.08
  assert (np.asarray(prompts.ids)[component == 0] // 2).max() < 30
  texts = rows_of(task, prompts.tokens, prompts.mask)
  for index, (module, config) in enumerate(((chain, CHAIN), (addition, ADDITION))):
    alone = module.build(config)
    here = component == index
    own = jax.jit(alone.prompts, static_argnums=1)(prompts.ids[here] // 2, "train")
    assert [text for text, is_here in zip(texts, here, strict=True) if is_here] == rows_of(alone, own.tokens, own.mask)
    names = [task.levels[level].split("/")[1] for level in np.asarray(prompts.levels)[here]]
    assert names == [alone.levels[level] for level in own.levels]


def test_verdicts_are_those_of_the_components(task, prompts, plain):
  tokens, mask = task.demonstrate(jax.random.key(1), prompts)
  tokens, mask = plain.spoil(task, tokens, mask, np.random.default_rng(0))
  verdicts = task.verify(prompts, tokens, mask)
  component = np.asarray(prompts.ids) % 2
  for index, (module, config) in enumerate(((chain, CHAIN), (addition, ADDITION))):
    alone = module.build(config)
    here = component == index
    # The chain's vocabulary is the joint one, and addition's is its beginning.
    own_prompts = jax.jit(alone.prompts, static_argnums=1)(prompts.ids[here] // 2, "train")
    own = jax.jit(alone.verify)(own_prompts, tokens[here], mask[here])
    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(lambda x, here=here: x[here], verdicts), own)


def test_flawless_demonstrations_and_solutions_are_right():
  rates = {"step_error_rate": 0.0, "skip_rate": 0.0, "recheck_rate": 0.0}
  task = build(
    a={"name": "rl_jax.tasks.addition", **rates, **ADDITION}, b={"name": "rl_jax.tasks.chain", **rates, **CHAIN}
  )
  prompts = task.prompts(task.problem_ids(jax.random.key(0), 100, "held_out"), "held_out")
  for tokens, mask in (task.demonstrate(jax.random.key(1), prompts), task.solutions(prompts)):
    assert tokens.shape[1] == task.response_tokens
    assert task.verify(prompts, tokens, mask).rewards.all()


def test_row_permutation_and_vmap(task, prompts):
  tokens, mask = task.demonstrate(jax.random.key(1), prompts)
  verify = task.verify
  verdicts = verify(prompts, tokens, mask)
  order = np.random.default_rng(0).permutation(600)
  permuted = verify(*jax.tree.map(lambda x: x[order], (prompts, tokens, mask)))
  jax.tree.map(np.testing.assert_array_equal, jax.tree.map(lambda x: x[order], verdicts), permuted)
  split_up = jax.tree.map(lambda x: x.reshape(2, 300, *x.shape[1:]), (prompts, tokens, mask))
  mapped = jax.tree.map(lambda x: x.reshape(600, *x.shape[2:]), jax.jit(jax.vmap(task.verify))(*split_up))
  jax.tree.map(np.testing.assert_array_equal, verdicts, mapped)


def test_missing_extras_are_filled(monkeypatch):
  """A component with fewer extras: its rows hold -1 or False."""

  def bare_build(config, full_build=addition.build):
    task = full_build(config)
    return dataclasses.replace(task, verify=lambda *rows: task.verify(*rows).replace(extras={}))

  monkeypatch.setattr(addition, "build", bare_build)
  task = build(a={"name": "rl_jax.tasks.addition"}, b={"name": "rl_jax.tasks.chain"})
  prompts = task.prompts(jnp.arange(40), "train")
  extras = jax.device_get(task.verify(prompts, *task.demonstrate(jax.random.key(1), prompts))).extras
  assert (extras["step_true_values"][0::2] == -1).all() and not extras["step_correct"][0::2].any()
  assert (extras["step_true_values"][1::2] >= 0).any() and extras["step_correct"][1::2].any()


def test_objectives_are_those_that_all_components_name(monkeypatch):
  """One component has ("right", "long"), the other ("long", "short", "right"): a row has its own component's."""

  def in_parts(names):
    def built(config):
      plain = chain.build(config)

      def verify(prompts, tokens, mask):
        verdicts, length = plain.verify(prompts, tokens, mask), mask.sum(axis=1).astype(jnp.float32)
        parts = {"right": verdicts.rewards, "long": length, "short": -length}
        return verdicts.replace(objectives=jnp.stack([parts[name] for name in names], axis=1))

      return dataclasses.replace(plain, verify=verify, objectives=names)

    return types.SimpleNamespace(get_config=chain.get_config, build=built)

  modules = {"two": in_parts(("right", "long")), "three": in_parts(("long", "short", "right"))}
  for name, module in modules.items():
    monkeypatch.setitem(sys.modules, name, module)
  task = build(a={"name": "two", **CHAIN}, b={"name": "three", **CHAIN})
  assert task.objectives == ("right", "long") and build(a={"name": "two", **CHAIN}, c=PLAIN).objectives == ()
  prompts = task.prompts(jnp.arange(6), "train")
  tokens, mask = task.demonstrate(jax.random.key(0), prompts)
  verdicts = task.verify(prompts, tokens, mask)
  np.testing.assert_array_equal(verdicts.objectives, np.stack([verdicts.rewards, mask.sum(axis=1)], axis=1))
  fewer = build(a={"name": "two", **CHAIN}, c=PLAIN)
  assert fewer.verify(fewer.prompts(jnp.arange(6), "train"), tokens, mask).objectives is None


def test_a_mixture_of_mixtures():
  inner = {"name": "rl_jax.tasks.mixture", "components": {"c": {"name": "rl_jax.tasks.chain"}}}
  task = build(x=inner, y={"name": "rl_jax.tasks.addition"})
  assert task.levels == ("x/c/four", "y/three")
  ids = task.problem_ids(jax.random.key(0), 50, "train")
  assert ids.min() >= 0 and task.prompts(ids, "train").tokens.shape == (50, task.prompt_tokens)


@pytest.mark.parametrize(
  ("components", "message"),
  [
    ({"x": {"name": "rl_jax.tasks.chian"}}, "task.components.x.name: cannot import 'rl_jax.tasks.chian'"),
    ({"x": {"weight": 1.0}}, "no `name`"),
    ({"x": {"name": "rl_jax.tasks.chain", "spare_token": 1}}, "task.components.x: unknown field 'spare_token'"),
    (
      {"x": {"name": "rl_jax.tasks.chain", "levels": {"y": {"modulus": 1}}}},
      "task.components.x: task.levels.y.modulus",
    ),
    (
      {"x": {"name": "rl_jax.tasks.chain"}, "y": {"name": "rl_jax.tasks.chain", "held_out_fraction": 0.25}},
      "different held_out_fraction",
    ),
    ({"x": {"name": "rl_jax.tasks.chain", "weight": 0.0}}, "no entry with a positive weight"),
  ],
)
def test_bad_components_are_one_clear_line(components, message):
  with pytest.raises(ValueError) as error:
    build(**components)
  assert message in str(error.value) and "\n" not in str(error.value)


def test_unlimited_ids_stay_int32(task):
  ids = jnp.concatenate([task.problem_ids(jax.random.key(k), 2000, "train") for k in range(3)])
  assert ids.dtype == jnp.int32 and ids.min() >= 0
