"""DMoERM's phases: losses by hand, what each trains and starts from; the policy on its reward; evaluations; errors."""

from __future__ import annotations

import dataclasses
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax import train
from rl_jax.errors import UserError
from rl_jax.methods import _reward_evaluations, dmoerm, learned_reward
from rl_jax.rollouts.rollout import BoundModel
from rl_jax.tasks import tastes
from rl_jax.training import state
from tests.methods.batches import TASK, batch_of, config_of
from tests.training import every_method

PAIRS = types.SimpleNamespace(**{**vars(TASK), "preferences": "given", "levels": ("a", "b"), "aspects": ("x", "y")})
ROUTED = {"reward.model.members": 2}


def built(phase="head", **options):
  return dmoerm.build(config_of("dmoerm", rows=6, phase=phase, **options), PAIRS)


def loss_of(method, outputs, trajectories):
  """As one program: quicker to make than one for each operation."""
  return jax.device_get(jax.jit(method.loss)({"reward": outputs}, trajectories, {}))


def log_sigmoid(x):
  return -np.log1p(np.exp(-x))


def rows(members, **extras):
  """Three pairs; the first response of the first is better, the second of the second, and the third pair is tied."""
  fields = {"ranks": np.int32([1, 2, 2, 1, 1, 1]), "aspect_ranks": np.zeros((6, 2), np.int32), "members": members}
  groups = {"group_ids": np.int32([4, 4, 0, 0, 7, 7])}
  return batch_of(np.ones((6, 3), bool), prompt_width=1, extras={**fields, **extras}, **groups)


# Losses by hand.

REWARDS = np.float32([[2, 9], [0, -9], [5, 0.5], [1, 1.5], [3, 0], [1, 8]])
"""[rows, members]"""


def test_a_pair_is_learned_by_the_member_of_its_task_alone():
  members = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [1, 0], [1, 0]], bool)
  terms, metrics = loss_of(built(**ROUTED), {"member_rewards": REWARDS[:, :, None]}, rows(members))
  np.testing.assert_allclose(terms["ranking"].mean.value, -(log_sigmoid(2) + log_sigmoid(1)) / 2, rtol=1e-5)
  assert tuple(map(float, metrics["label_agreement"])) == (2, 2)
  assert terms["ranking"].trains == "reward"


def test_each_member_of_an_ensemble_learns_from_all_pairs():
  method = built(**ROUTED, **{"reward.model.combine": "worst"})
  terms, metrics = loss_of(method, {"member_rewards": REWARDS[:, :, None]}, rows(np.ones((6, 2), bool)))
  apart = [2, -4, 18, 1]  # of both members in the first pair, then in the second: the first one is wrong there
  np.testing.assert_allclose(terms["ranking"].mean.value, -np.mean([log_sigmoid(x) for x in apart]), rtol=1e-5)
  assert tuple(map(float, metrics["label_agreement"])) == (3, 4)


def test_an_expert_learns_from_the_labels_of_its_aspect_and_drops_what_has_none():
  """The first aspect has labels of two pairs, the second of one."""
  aspects = np.int32([[1, 0], [2, 0], [1, 2], [2, 1], [0, 0], [0, 0]])
  rewards = np.float32([[2, 7], [0, 1], [5, 0.5], [1, 1.5], [3, 0], [1, 8]])[:, None]
  method = built("experts", **{"reward.model.experts": 2})
  terms, _ = loss_of(method, {"member_rewards": rewards}, rows(np.ones((6, 1), bool), aspect_ranks=aspects))
  wanted = -(log_sigmoid(2) + log_sigmoid(4) + log_sigmoid(1)) / 3
  np.testing.assert_allclose(terms["ranking"].mean.value, wanted, rtol=1e-5)


def test_the_router_learns_the_kind_of_a_prompt():
  logits, levels = np.float32([[0, 2], [0, 2], [1, 0], [1, 0], [0, 0], [0, 0]]), np.int32([1, 1, 1, 1, 0, 0])
  trajectories = rows(np.ones((6, 2), bool), levels=levels)
  terms, metrics = loss_of(built("router", **ROUTED), {"task_logits": logits}, trajectories)
  wanted = -np.mean([log_sigmoid(2), log_sigmoid(-1), log_sigmoid(0)])
  np.testing.assert_allclose(terms["routing"].mean.value, wanted, rtol=1e-5)
  np.testing.assert_allclose(metrics["routed"].value, 2 / 3, rtol=1e-6)


# What a phase trains, and from where it starts.


@pytest.mark.parametrize("phase", dmoerm.PHASES)
def test_a_phase_trains_its_own_part(phase):
  method = built(phase, **ROUTED, **{"reward.model.experts": 2})
  role = method.models["reward"]
  assert [part for part in dmoerm.PHASES if role.trained((part, "bias"))] == [phase]
  assert role.config["readout"] == ("head" if phase == "router" else phase)
  assert not method.models["policy"].trained
  assert set(method.scoring) == (set() if phase == "router" else {"members"})


def test_the_first_phase_starts_from_the_policy_and_the_second_from_the_heads_of_the_first():
  config = every_method.config_of("dmoerm", "method.phase=experts", "method.reward.init_from=")
  experiment = every_method.built(config)
  params = jax.jit(lambda: nn.unbox(state.init_params(experiment, 0)))()
  reward, policy = params["reward"], params["policy"]
  embedding = reward["head"]["transformer"]["embedding"]
  assert all((embedding[q] == policy["embedding"]).all() for q in range(3))
  heads = reward["head"]["transformer"]["output"][:, :, 0]
  np.testing.assert_array_equal(reward["experts"]["weight"], np.repeat(heads[:, None], 3, axis=1))
  assert np.abs(heads).min(axis=1).max() > 0


# The policy on a learned reward.


def of_reward():
  config = config_of("learned_reward")
  config.method.reward.init_from = "fusion#reward"
  return config


def test_advantages_are_of_the_learned_reward_and_the_gold_one_is_shown():
  method = learned_reward.build(of_reward(), TASK)
  proxy, gold = np.float32([3, 1, -2, 0]), np.float32([0, 1, 0, 1])
  trajectories = batch_of(
    np.array([[0, 1, 1]] * 4, bool), prompt_width=1, rewards=gold, group_ids=np.int32([0, 0, 1, 1]),
    old_logprobs=np.float32([[9, -1, -2]] * 4), ref_logprobs=np.float32([[7, -2, -2.5]] * 4), extras={"proxy": proxy},
  )  # fmt: skip
  signal = jax.device_get(jax.jit(method.signal)(trajectories, np.int32(0)))
  side = 1 / np.sqrt(2)  # of two rewards, with their std of ddof 1
  np.testing.assert_allclose(
    signal.streams["policy"].targets, np.outer([side, -side, -side, side], [0, 1, 1]), rtol=1e-4
  )
  values = {name: float(mean.value) for name, mean in signal.metrics.items()}
  correlation = np.corrcoef(proxy, gold)[0, 1]
  assert values == pytest.approx({"proxy": 0.5, "kl": 1.5, "proxy_correlation": correlation}, abs=1e-5)
  assert method.scoring["proxy"] == ("reward", "rewards") and not method.models["reward"].trained


# Evaluations, of a model that knows the task's own reward.

FIELDS = {"pool_size": 64, "response_letters": 3, "alphabet": 4, "label_flips": 0.0}
LETTERS = tastes.build({**tastes.get_config(), **FIELDS})


@dataclasses.dataclass(frozen=True)
class Knowing:
  """The number of letters "a" in a response, as a stand-in for a model."""

  names: tuple[str, ...] = ()

  def outputs(self, params, batch):
    del params
    written = batch.attention_mask & (jnp.arange(batch.tokens.shape[1]) >= batch.prompt_width)
    return {"rewards": ((batch.tokens == 2) & written).sum(axis=1).astype(jnp.float32)}


def measured(name):
  config = config_of("learned_reward", held_out_pairs=32, best_of=5, best_of_prompts=8)
  evaluation = _reward_evaluations.evaluations(config, LETTERS, by="policy")[name]
  run = jax.jit(lambda key: evaluation({"reward": BoundModel(Knowing(), None)}, key))
  return jax.device_get(run(jax.random.key(0)))


def test_consistency_is_the_share_of_pairs_that_gold_rewards_tell_apart():
  found = measured("pairs")

  @jax.jit
  def asked(key):
    prompts = LETTERS.prompts(LETTERS.problem_ids(key, 32, "held_out"), "held_out")
    pairs = LETTERS.preferences(prompts)
    twice = jax.tree.map(lambda x: jnp.repeat(x, 2, axis=0), prompts)
    return pairs.tokens, LETTERS.verify(twice, pairs.tokens.reshape(64, -1), pairs.mask.reshape(64, -1)).rewards

  tokens, gold = jax.device_get(asked(jax.random.key(0)))
  guess, apart = (tokens == 2).sum(axis=2), gold[0::2] - gold[1::2]
  told = np.abs(apart) > 1e-5
  right = (np.sign(guess[:, 0] - guess[:, 1]) == np.sign(apart))[told]
  assert tuple(map(float, found["consistency"])) == (right.sum(), told.sum())
  assert tuple(map(float, found["label_consistency"])) == (right.sum(), told.sum())  # labels without noise


def test_the_best_of_n_is_the_best_of_every_n_in_a_row(monkeypatch):
  rng = np.random.default_rng(0)
  gold, proxy = rng.normal(size=(8, 5)).astype(np.float32), rng.permutation(40).reshape(8, 5).astype(np.float32)
  drawn = batch_of(np.ones((40, 2), bool), rewards=gold.ravel(), group_ids=np.repeat(np.arange(8, dtype=np.int32), 5))
  monkeypatch.setattr(_reward_evaluations, "responses", lambda *args: types.SimpleNamespace(init=lambda key: None))
  monkeypatch.setattr(_reward_evaluations, "collect", lambda *args: types.SimpleNamespace(trajectories=drawn))
  monkeypatch.setattr(Knowing, "outputs", lambda self, params, batch: {"rewards": jnp.asarray(proxy.ravel())})
  found = {name: float(mean.value) for name, mean in measured("best_of").items()}
  assert set(found) == {f"{kind}_{n}" for kind in ("gold", "proxy") for n in (1, 2, 4)}
  for n, parts in ((1, 5), (2, 2), (4, 1)):
    chosen = [(p, part * n + np.argmax(proxy[p, part * n : part * n + n])) for p in range(8) for part in range(parts)]
    assert found[f"gold_{n}"] == pytest.approx(np.mean([gold[at] for at in chosen]), abs=1e-5)
    assert found[f"proxy_{n}"] == pytest.approx(np.mean([proxy[at] for at in chosen]), abs=1e-5)


def test_evaluations_that_ask_for_nothing_are_left_out():
  config = config_of("learned_reward", held_out_pairs=0, best_of=0)
  assert not _reward_evaluations.evaluations(config, LETTERS, by="policy")


# Edge cases.


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"phase": "last"}, "method.phase is one of router, head, experts, fusion, got 'last'"),
    ({"part": (0.0, 0.5, 1.0)}, "the part .0.0, 0.5, 1.0. of the problems: want two shares"),
    ({"phase": "router"}, "has no router: members above 1, combine='routed'"),
    ({"reward.model.members": 3}, "method.reward.model.members=3: this task has 2 kinds of prompts"),
    ({"reward.model.experts": 1}, "method.reward.model.experts=1: this task has 2 aspects"),
  ],
)
def test_options_that_make_no_sense_end_in_one_line(options, message):
  with pytest.raises(ValueError, match=message):
    built(**options)


def test_what_does_not_come_in_pairs_ends_in_one_line():
  config = config_of("dmoerm")
  config.completions_per_prompt = 4
  with pytest.raises(ValueError, match="completions_per_prompt=4: pairs have 2 responses"):
    dmoerm.build(config, PAIRS)


def test_a_reward_without_a_start_is_refused():
  config = config_of("learned_reward")
  config.method.reward.init_from = ""
  with pytest.raises(ValueError, match="method.reward.init_from='' names no reward model"):
    learned_reward.build(config, TASK)


def test_a_chain_whose_task_has_no_end_is_refused_before_its_first_stage(capsys, tmp_path):
  """Finding of a reader: its first stage was trained, and a traceback followed."""
  for change in ("task.pool_size=0", "stages.head.method.part=(0.6,0.2)"):
    assert train.main(["dmoerm:smoke", f"--workdir={tmp_path / 'run'}", f"--config.{change}", "--dry_run"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "set task.pool_size" in line or "no problem in the part (0.6, 0.2)" in line


def test_a_task_without_preferences_ends_in_one_line():
  bare = types.SimpleNamespace(**{**vars(PAIRS), "preferences": None})
  with pytest.raises(ValueError, match="this task has no preferences: use one that has"):
    dmoerm.build(config_of("dmoerm"), bare)


def test_a_misspelt_field_of_the_reward_model_is_named():
  with pytest.raises(UserError, match="reward: no field membres"):
    every_method.built(every_method.config_of("dmoerm", "method.reward.model.membres=3"))
