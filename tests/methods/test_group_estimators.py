"""Signals of the estimators that the large trainers have, by hand on a small batch: GPG, MaxRL, pass@k, RAE, OTB, OPO,
REINFORCE++."""

from __future__ import annotations

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.methods import gpg, maxrl, opo, optimal_token_baseline, passk, rae, reinforce_pp
from rl_jax.methods.method import ModelRole
from rl_jax.rollouts.role_baselines import with_role_baselines
from rl_jax.rollouts.rollout import PhaseResult, Rollout, nothing_new
from tests.methods.batches import TASK, batch_of, config_of

METHODS = {
  "gpg": gpg, "maxrl": maxrl, "passk": passk, "rae": rae, "opo": opo, "reinforce_pp": reinforce_pp,
  "optimal_token_baseline": optimal_token_baseline,
}  # fmt: skip
PAPERS = {
  "gpg": ("2504.02546",), "maxrl": ("2602.02710",), "passk": ("2503.19595", "2505.15201"), "rae": ("2506.24119",),
  "optimal_token_baseline": ("2602.07078",), "opo": ("2505.23585",), "reinforce_pp": ("2501.03262",),
}  # fmt: skip
WITH_LEVELS = types.SimpleNamespace(
  **vars(TASK), levels=("game", "other"), vocabulary=types.SimpleNamespace(size=9, end=1), prompt_tokens=1
)
"""What RAE reads of a task beside the others."""
# Two groups of two; slot 2 of row 1 is a tool's token, row 3 is short.
LOSS_MASK = np.array([[0, 1, 1, 1], [0, 1, 0, 1], [0, 1, 1, 1], [0, 1, 0, 0]], bool)
LOGPROBS = np.log(np.array([[1, 0.5, 0.5, 0.5], [1, 0.5, 1, 0.5], [1, 0.25, 0.25, 0.25], [1, 0.5, 1, 1]], np.float32))


def batch(**fields):
  given = {
    "group_ids": [7, 7, -3, -3], "rewards": [1.0, 0.0, 0.25, 0.75], "old_logprobs": LOGPROBS,
    "extras": {"collisions": np.full((4, 4), 0.5), "role_advantages": np.array([0.5, -0.5, 0.125, 0.0])},
  }  # fmt: skip
  return batch_of(LOSS_MASK, **given | fields)


def built(name, **options):
  return METHODS[name].build(config_of(name, **options), WITH_LEVELS)


def targets(name, trajectories=None, **options):
  signal = built(name, **options).signal(batch() if trajectories is None else trajectories, jnp.int32(0))
  np.testing.assert_array_equal(signal.streams["policy"].weights, LOSS_MASK & trajectories_scored(trajectories))
  return np.asarray(signal.streams["policy"].targets), signal.metrics


def trajectories_scored(trajectories):
  return np.asarray((batch() if trajectories is None else trajectories).scored)[:, None]


@pytest.mark.parametrize(
  ("name", "options", "advantages"),
  [
    ("gpg", {}, [0.5, -0.5, -0.25, 0.25]),
    ("gpg", {"counted": "nonzero"}, np.array([0.5, -0.5, -0.25, 0.25]) * 4 / 3),
    ("gpg", {"scale": "group", "epsilon": 0.0, "ddof": 0}, [1, -1, -1, 1]),
    ("maxrl", {"epsilon": 0.0}, [1, -1, -0.5, 0.5]),
    ("maxrl", {"epsilon": 0.5}, [0.5, -0.5, -0.25, 0.25]),
    ("passk", {}, [1, 0, 0, 0.5]),
    ("passk", {"k": 2, "scale": "group", "epsilon": 0.0, "ddof": 0}, [2, 0, 0, 2]),
    ("rae", {}, [0.5, -0.5, 0.125, 0]),
    ("opo", {}, np.array([1, 0, 0.25, 0.75]) - [3 / 5, 3 / 5, 1.5 / 4, 1.5 / 4]),
  ],
)
def test_advantages_by_hand(name, options, advantages):
  np.testing.assert_allclose(targets(name, **options)[0], LOSS_MASK * np.array(advantages)[:, None], atol=1e-6)


@pytest.mark.parametrize(
  ("options", "rows"),
  [({}, [1, 0, 0.25, 0.75]), ({"baseline": "group"}, [0.5, -0.5, -0.25, 0.25]),
   ({"baseline": "group", "whitening": "openrlhf"}, [0.5, -0.5, -0.25, 0.25])],
)  # fmt: skip
def test_reinforce_pp_normalises_over_the_tokens_of_the_batch(options, rows):
  values = np.broadcast_to(np.array(rows)[:, None], (4, 4))[LOSS_MASK]
  spread = values.std(ddof=0 if "whitening" in options else 1)
  np.testing.assert_allclose(
    targets("reinforce_pp", **options)[0][LOSS_MASK], (values - values.mean()) / spread, rtol=1e-5
  )


def test_returns_of_reinforce_pp_are_discounted():
  """The first of row 0's three tokens is a quarter of its reward from the mean, the last all of it."""
  found = targets("reinforce_pp", discount=0.5)[0]
  np.testing.assert_allclose((found[0, 3] - found[0, 1]) / (found[0, 3] - found[0, 2]), 0.75 / 0.5, rtol=1e-5)


def test_gpg_steps_further_where_groups_agree():
  """Half of the rows have a gradient: twice the advantage."""
  agreed = batch(rewards=[1.0, 0.0, 0.25, 0.25])
  np.testing.assert_allclose(targets("gpg", agreed)[0][:2, 1], [1, -1])
  np.testing.assert_allclose(targets("gpg", agreed, counted="all")[0][:2, 1], [0.5, -0.5])


def test_gpg_is_reinforce():
  """d loss / d logp = -A / tokens, however far the policy has moved."""
  method, trajectories = built("gpg"), batch()
  streams = method.signal(trajectories, jnp.int32(0)).streams
  run = lambda x: method.loss({"policy": {"logprobs": x, "entropies": 0 * x}}, trajectories, streams)
  slope = jax.grad(lambda x: run(x).terms["policy"].mean.value)(jnp.asarray(LOGPROBS) - 1.0)
  np.testing.assert_allclose(slope, -np.array([[0.5], [-0.5], [-0.25], [0.25]]) * LOSS_MASK / 9, atol=1e-7)


def test_optimal_token_baselines_by_hand():
  """Energies are 0.5, and 1 in row 2: W = (0.5, 1, 1.5), (0.5, -, 1); (1, 2, 3), (0.5)."""
  by_token, _ = targets("optimal_token_baseline")
  first, second = 1 / 2, (1 * 0.25 + 0.5 * 0.75) / 1.5
  expected = [[0, 1 - first, 0.5, 0], [0, -first, 0, -0.5], [0, 0.25 - second, 0, 0], [0, 0.75 - second, 0, 0]]
  np.testing.assert_allclose(by_token, expected, atol=1e-6)
  by_slot, _ = targets("optimal_token_baseline", align="slot", zero_tail=True)
  expected = [[0, 0.5, 1, 0.4], [0, -0.5, 0, -0.6], [0, 0.25 - second, 0.25, 0.25], [0, 0.75 - second, 0, 0]]
  np.testing.assert_allclose(by_slot, expected, atol=1e-6)


def test_the_policys_collisions_are_scored_before_the_update():
  method = built("optimal_token_baseline", kl_coefficient=0.1)
  assert method.scoring["collisions"] == ("policy", "collisions") and method.requires == ("collisions",)
  assert method.models["policy"] == ModelRole(outputs=("logprobs", "entropies", "collisions"))
  assert set(method.models) == {"policy", "reference"}


@pytest.mark.parametrize("name", METHODS)
def test_unscored_rows_have_no_weight_and_papers_are_named(name):
  given = dict(rewards=[1.0, 0.0, np.nan, np.nan], reward_mask=np.array([1, 1, 0, 0], bool))
  found, metrics = targets(name, batch(**given))
  assert np.isfinite(found).all() and not found[2:].any() and found[0].any()
  assert all(np.isfinite(mean.value) for mean in metrics.values())
  assert built(name).papers == PAPERS[name]


def test_metrics_are_means_over_scored_rows():
  assert targets("passk")[1]["advantaged"].value == 0.5
  np.testing.assert_allclose(targets("rae")[1]["baseline"].value, (0.5 + 0.5 + 0.125 + 0.75) / 4)


def test_the_baselines_of_roles_go_from_one_iteration_to_the_next():
  """Rows of levels 0, 0, 1 and 1, of which one is unscored; the rollout's own state counts its iterations."""

  def phase(models, state, plan, prompts, before, key):
    rows = batch(rewards=[1.0, 1.0, np.nan, -1.0], reward_mask=np.array([1, 1, 0, 1], bool))
    return PhaseResult(state + 1, rows.with_extras(levels=jnp.array([0, 0, 1, 1])), nothing_new(rows), jnp.int32(12))

  rollout = with_role_baselines(Rollout((phase,), lambda key: jnp.int32(0)), 2, decay=0.5)
  state, found = rollout.init(jax.random.key(0)), []
  for _ in range(2):
    rows = None
    for of_rollout in rollout.phases:
      result = of_rollout({}, state, None, None, rows, None)
      state, rows = result.state, result.trajectories
    assert not result.verify.any() and result.generated_tokens == 0
    found.append(rows.extras["role_advantages"])
  np.testing.assert_allclose(found, [[1, 0.5, 0, -1], [0.25, 0.125, 0, -0.5]])
  np.testing.assert_allclose(state.baselines, [0.9375, -0.75])
  assert state.rollout == 2 and set(rollout.provides) == {"role_advantages"}


@pytest.mark.parametrize(
  ("name", "options", "said"),
  [
    ("gpg", {"counted": "some"}, "method.counted is one of varying, nonzero, all, got 'some'"),
    ("passk", {"k": 3}, "method.k=3: a prompt has completions_per_prompt=2 answers"),
    ("passk", {"scale": "batch"}, "method.scale is one of none, group, got 'batch'"),
    ("reinforce_pp", {"baseline": "greedy"}, "method.baseline is one of none, group, got 'greedy'"),
    ("optimal_token_baseline", {"align": "turn"}, "method.align is one of token, slot, got 'turn'"),
  ],
)
def test_options_that_are_not_known_are_one_line(name, options, said):
  with pytest.raises(ValueError, match=said) as error:
    built(name, **options)
  assert "\n" not in str(error.value)
