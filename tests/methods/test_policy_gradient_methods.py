"""Signals and losses of the policy-gradient methods, by hand on small batches."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.losses import cispo, dppo, gmpo, sapo, vespo
from rl_jax.methods import _clips, dapo, dr_grpo, gpg, grpo, opo, policy_gradient, ppo, rloo
from rl_jax.methods._clipped_loss import AGGREGATIONS
from rl_jax.methods.method import ModelRole
from tests.methods.batches import RESPONSE_TOKENS, TASK, batch_of, config_of

METHODS = {"grpo": grpo, "dr_grpo": dr_grpo, "rloo": rloo, "ppo": ppo}
RNG = np.random.default_rng(0)

# Two groups of two. Slot 0 is a prompt, slot 2 of row 1 a tool's token; row 3 is short.
LOSS_MASK = np.array([[0, 1, 1, 1], [0, 1, 0, 1], [0, 1, 1, 1], [0, 1, 0, 0]], bool)
REWARDS = [1.0, 0.0, 0.25, 0.75]
VALUES = np.array([[9, 0.5, 0.25, 0.5], [9, 0.5, 9, 0.25], [9, 0.0, 0.5, 0.5], [9, 0.5, 9, 9]], np.float32)
LOGPROBS = -RNG.uniform(0.2, 2.0, (4, 4)).astype(np.float32)
OUTPUTS = {
  "policy": {"logprobs": LOGPROBS, "entropies": RNG.uniform(0.5, 1.5, (4, 4)).astype(np.float32)},
  "critic": {"values": VALUES + 0.1},
}


def batch(**fields):
  given = {
    "group_ids": [7, 7, -3, -3], "rewards": REWARDS, "old_logprobs": LOGPROBS - 0.1, "ref_logprobs": LOGPROBS + 0.3,
    "behaviour_logprobs": LOGPROBS - 0.3, "extras": {"values": VALUES},
  }  # fmt: skip
  return batch_of(LOSS_MASK, **given | fields)


def built(name, **options):
  return METHODS[name].build(config_of(name, **options), TASK)


def signal_of(method, trajectories):
  return method.signal(trajectories, jnp.int32(0))


def streams_of(method, trajectories):
  return signal_of(method, trajectories).streams


def loss_of(method, trajectories=None, outputs=None):
  trajectories = batch() if trajectories is None else trajectories
  return method.loss(OUTPUTS if outputs is None else outputs, trajectories, streams_of(method, trajectories))


def total(loss):
  return sum(term.coefficient * term.mean.value for term in loss.terms.values())


def gradient(method, trajectories=None):
  """Of the whole loss with respect to the policy's logprobs and entropies."""
  trajectories = batch() if trajectories is None else trajectories
  streams = streams_of(method, trajectories)

  def of(policy):
    return total(method.loss({**OUTPUTS, "policy": policy}, trajectories, streams))

  return jax.grad(of)(jax.tree.map(jnp.asarray, OUTPUTS["policy"]))


# Signals.


@pytest.mark.parametrize(
  ("name", "options", "advantages"),
  [
    ("grpo", {"epsilon": 0.0}, [0.5**0.5, -(0.5**0.5), -(0.5**0.5), 0.5**0.5]),
    ("grpo", {"epsilon": 0.0, "ddof": 0}, [1.0, -1.0, -1.0, 1.0]),
    ("grpo", {"epsilon": 1.0, "ddof": 0}, [0.5 / 1.5, -0.5 / 1.5, -0.25 / 1.25, 0.25 / 1.25]),
    ("grpo", {"scale": "none"}, [0.5, -0.5, -0.25, 0.25]),
    ("grpo", {"scale": "batch", "epsilon": 0.0, "ddof": 0}, np.array([0.5, -0.5, -0.25, 0.25]) / np.std(REWARDS)),
    ("dr_grpo", {}, [0.5, -0.5, -0.25, 0.25]),
    ("rloo", {}, [1.0, -1.0, -0.5, 0.5]),
  ],
)
def test_advantages_of_groups_by_hand(name, options, advantages):
  stream = streams_of(built(name, **options), batch())["policy"]
  np.testing.assert_allclose(stream.targets, np.where(LOSS_MASK, np.array(advantages)[:, None], 0), atol=1e-6)
  np.testing.assert_array_equal(stream.weights, LOSS_MASK)


@pytest.mark.parametrize("module", [grpo, dr_grpo, rloo, dapo, gpg, opo])
def test_an_answer_whose_peers_have_no_verdict_teaches_nothing(module):
  """Nothing says whether it is better than others, so its reward, here 1, is no advantage."""
  rows = batch(reward_mask=np.array([True, False, True, True]))
  targets = np.asarray(streams_of(module.build(config_of(module), TASK), rows)["policy"].targets)
  assert not targets[:2].any() and targets[2:].any()


def test_ppo_with_lambda_one_is_monte_carlo():
  """What of a reward no token has earned falls on the last trained one; a target is the reward still to come."""
  dense = np.zeros((4, 4), np.float32)
  dense[0, 2], dense[1, 2] = 0.5, 2.0  # that of row 1 is on a tool's token: it moves to token 1
  streams = streams_of(built("ppo", whiten=False), batch(token_rewards=dense))
  returns = np.array([[0, 1.0, 1.0, 0.5], [0, 0.0, 0, -2.0], [0, 0.25, 0.25, 0.25], [0, 0.75, 0, 0]])
  np.testing.assert_allclose(streams["value"].targets, returns, atol=1e-6)
  np.testing.assert_allclose(streams["policy"].targets, np.where(LOSS_MASK, returns - VALUES, 0), atol=1e-6)


def test_ppo_by_hand_with_lambda_and_discount():
  targets = streams_of(built("ppo", whiten=False, lam=0.5, discount=0.5), batch())["policy"].targets
  last = 1.0 - 0.5
  middle = 0.5 * 0.5 - 0.25 + 0.25 * last
  first = 0.5 * 0.25 - 0.5 + 0.25 * middle
  np.testing.assert_allclose(targets[0], [0, first, middle, last], atol=1e-6)
  last = 0.0 - 0.25
  np.testing.assert_allclose(targets[1], [0, 0.5 * 0.25 - 0.5 + 0.25 * last, 0, last], atol=1e-6)


def test_ppo_whitens_over_the_tokens_of_the_batch():
  advantages = np.asarray(streams_of(built("ppo"), batch())["policy"].targets)[LOSS_MASK]
  np.testing.assert_allclose([advantages.mean(), advantages.std(ddof=1)], [0, 1], atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_unscored_and_unused_rows_and_others_tokens_have_no_weight(name):
  trajectories = batch(
    rewards=[1.0, 0.0, np.nan, 0.75], reward_mask=[1, 1, 0, 1] == np.ones(4), row_mask=[True, True, True, False]
  )
  signal = signal_of(built(name), trajectories)
  alone = signal_of(built(name), batch(reward_mask=[True, True, False, False]))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), signal.metrics, alone.metrics)
  for key, stream in signal.streams.items():
    np.testing.assert_array_equal(stream.weights, LOSS_MASK & np.array([1, 1, 0, 0], bool)[:, None])
    np.testing.assert_allclose(stream.targets, alone.streams[key].targets, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_garbage_outside_the_loss_mask_changes_nothing(name):
  method = built(name, kl_coefficient=0.1, entropy_coefficient=0.1, importance_sampling_cap=2.0)
  # Slots that hold no token may hold anything; a tool's tokens have no logprobs but may have a reward.
  spoil = lambda x: np.where(LOSS_MASK, x, np.nan)
  names = ("old_logprobs", "ref_logprobs", "behaviour_logprobs")
  fields = {field: spoil(getattr(batch(), field)) for field in names}
  attended = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 0]], bool)
  dense = np.where(attended, 0.0, np.nan)
  dirty = batch(**fields, token_rewards=dense, attention_mask=attended, extras={"values": spoil(VALUES)})
  outputs = jax.tree.map(spoil, OUTPUTS)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), loss_of(method, dirty, outputs), loss_of(method)
  )


def test_rloo_is_dr_grpo_times_g_over_g_minus_one():
  rewards, ids = RNG.uniform(size=6), [5, 5, 5, 5, 2, 2]
  trajectories = batch_of(np.ones((6, 2)), rewards=rewards, group_ids=ids, extras={"values": np.zeros((6, 2))})
  one, other = (streams_of(built(name), trajectories)["policy"].targets for name in ("rloo", "dr_grpo"))
  np.testing.assert_allclose(one, other * np.array([[4 / 3]] * 4 + [[2]] * 2), atol=1e-6)


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "rloo"])
def test_groups_of_equal_rewards_push_nowhere(name):
  targets = streams_of(built(name), batch(rewards=[0.1, 0.1, 1.0, 0.0]))["policy"].targets
  assert not np.any(targets[:2]) and np.all(targets[2:][LOSS_MASK[2:]] != 0)


# Losses.


@pytest.mark.parametrize(
  ("aggregation", "losses", "constant"),
  [
    ("token_mean", lambda x: x.sum() / 9, None),
    ("sequence_mean_token_mean", lambda x: (x.sum(axis=1) / [3, 2, 3, 1]).mean(), None),
    ("sequence_mean_token_sum", lambda x: x.sum(axis=1).mean(), None),
    ("sequence_mean_constant", lambda x: x.sum() / (4 * RESPONSE_TOKENS), None),
    ("sequence_mean_constant", lambda x: x.sum() / (4 * 10), 10),
  ],
)
def test_clipped_loss_by_hand(aggregation, losses, constant):
  old = LOGPROBS - np.log([[1.0], [1.5], [1.1], [0.5]])  # ratios of the rows
  method = built("dr_grpo", aggregation=aggregation, aggregation_constant=constant)
  loss = loss_of(method, batch(old_logprobs=old))
  # -min(r A, clip(r) A): 1 * 0.5; 1.5 * -0.5; 1.1 * -0.25; 0.5 * 0.25.
  rows = -np.array([0.5, -0.75, -0.275, 0.125])
  np.testing.assert_allclose(loss.terms["policy"].mean.value, losses(rows[:, None] * LOSS_MASK), rtol=1e-5)
  assert set(loss.terms) == {"policy"}
  assert loss.metrics["clip_fraction"].value == 0


def test_metrics_are_means_over_trained_tokens():
  old = LOGPROBS - np.log([[1.3], [0.7], [1.3], [0.7]])  # clipped: row 0 (A > 0), row 1 (A < 0)
  metrics = loss_of(built("grpo", kl_coefficient=0.1), batch(old_logprobs=old)).metrics
  np.testing.assert_allclose(metrics["clip_fraction"].value, 5 / 9, rtol=1e-6)
  np.testing.assert_allclose(metrics["entropy"].value, OUTPUTS["policy"]["entropies"][LOSS_MASK].mean(), rtol=1e-6)
  np.testing.assert_allclose(metrics["kl_to_reference"].value, np.exp(0.3) - 0.3 - 1, rtol=1e-4)


def test_kl_adds_a_reference_its_scoring_and_a_term():
  with_kl, without = built("grpo", kl_coefficient=0.5), built("grpo", kl_coefficient=0.0)
  assert without.models == {"policy": ModelRole()} and without.scoring == {}
  assert with_kl.models["reference"] == ModelRole(trained=False, init_from="policy")
  assert with_kl.scoring == {"ref_logprobs": ("reference", "logprobs")}
  term = loss_of(with_kl).terms["kl"]
  assert term.coefficient == 0.5 and "kl" not in loss_of(without).terms
  np.testing.assert_allclose(term.mean.value, np.exp(0.3) - 0.3 - 1, rtol=1e-4)
  assert built("grpo").models.keys() == {"policy", "reference"}, "the paper's beta is not 0"


def test_kl_value_and_gradient_are_options():
  value = loss_of(built("dr_grpo", kl_coefficient=1.0, kl_value="k1")).terms["kl"].mean.value
  loss = loss_of(built("dr_grpo", kl_coefficient=1.0, kl_value="k1", kl_gradient="k2"))
  np.testing.assert_allclose(loss.terms["kl"].mean.value, value, rtol=1e-6)
  pull = [
    np.asarray(
      gradient(built("dr_grpo", kl_coefficient=1.0, kl_value="k1", kl_gradient=g))["logprobs"]
      - gradient(built("dr_grpo"))["logprobs"]
    )[LOSS_MASK]
    for g in (None, "k2")
  ]
  assert np.all(pull[0] > 0) and np.all(pull[1] < 0)  # k1's is 1, k2's is log(policy / reference) = -0.3
  np.testing.assert_allclose(pull[1] / pull[0], -0.3, rtol=1e-4)


def test_old_logprobs_of_the_trainer_are_scored():
  assert built("rloo", old_logprobs="trainer").scoring == {"old_logprobs": ("policy", "logprobs")}
  assert built("rloo").scoring == {}


def test_importance_weights_are_capped():
  """old / behaviour is exp(0.2) = 1.22 on every token."""
  given = batch(rewards=[1.0, 0.0, 0.5, 0.75])
  plain, free, capped = (loss_of(built("dr_grpo", importance_sampling_cap=cap), given) for cap in (None, 2.0, 1.1))
  for loss, weight in ((free, np.exp(0.2)), (capped, 1.1)):
    np.testing.assert_allclose(loss.metrics["importance_weight"].value, weight, rtol=1e-5)
    np.testing.assert_allclose(total(loss), weight * total(plain), rtol=1e-5)
  assert "importance_weight" not in plain.metrics


@pytest.mark.parametrize("clip", ["reinforce", "sapo", "gmpo", "dppo_tv", "dppo_kl", "vespo"])
def test_the_clips_are_those_of_their_kernels(clip):
  """Off policy, with a bound and an option of a run's own, each loss is its kernel's mean over tokens."""
  kernel, of_run = {
    "reinforce": (partial(cispo, clip_low=1.0, clip_high=1.0), {}),
    "sapo": (sapo, {"clip_options": {"tau_negative": 2.0}}), "gmpo": (gmpo, {"clip_low": 0.05}),
    "dppo_tv": (dppo, {"clip_high": 0.01}), "vespo": (vespo, {"clip_options": {"k_positive": 1.0}}),
    "dppo_kl": (partial(dppo, divergence="kl", clip_low=0.05), {"clip_high": 0.001}),
  }[clip]  # fmt: skip
  options = {name: value for name, value in of_run.items() if name != "clip_options"} | of_run.get("clip_options", {})
  method = built("dr_grpo", clip=clip, aggregation="token_mean", **of_run)
  targets = streams_of(method, batch())["policy"].targets
  losses = kernel(LOGPROBS, LOGPROBS - 0.1, targets, jnp.asarray(LOSS_MASK), **options).losses
  np.testing.assert_allclose(loss_of(method).terms["policy"].mean.value, losses.sum() / LOSS_MASK.sum(), rtol=1e-5)


def test_clips_that_compare_tokens_need_the_whole_minibatch():
  """Clip-Cov draws by the tokens of the batch: again the same, of other tokens others."""
  options = {"clip": "clip_cov", "clip_options": {"share": 0.3, "lowest": -9.0, "highest": 9.0}}
  method = built("dr_grpo", **options)
  first, again = (loss_of(method).metrics["clip_fraction"] for _ in range(2))
  assert first.value == again.value == pytest.approx(2 / 9)
  drawn = lambda tokens: np.asarray(_clips.draws(batch(tokens=np.full((4, 4), tokens)))["draws"])
  np.testing.assert_array_equal(drawn(1), drawn(1))
  assert (drawn(1) != drawn(2)).all()
  config = config_of("dr_grpo", **options)
  for field, value in (("rows_per_microbatch", 2), ("length_buckets", 2)):
    with config.unlocked():
      config.update({"rows_per_microbatch": None, "length_buckets": 1} | {field: value})
    with pytest.raises(ValueError, match="compares all tokens of a minibatch: leave rows_per_microbatch=None"):
      dr_grpo.build(config, TASK)


def test_rejections_leave_tokens_out_of_sum_and_count():
  """Row 0's sampler is far from the trainer; the others are near, at a ratio of e^0.2."""
  behaviour = LOGPROBS - 0.3
  behaviour[0] -= 2.0
  given = batch(behaviour_logprobs=behaviour)
  plain = loss_of(built("dr_grpo", aggregation="token_mean"), given)
  method = built("dr_grpo", aggregation="token_mean", correction="sequence_rs+token_tis", rejection_bounds=(0.5, 3.0))
  loss, losses = loss_of(method, given), -np.array([0.5, -0.5, -0.25, 0.25])[:, None] * np.exp(0.1) * LOSS_MASK
  np.testing.assert_allclose(plain.terms["policy"].mean.value, losses.sum() / 9, rtol=1e-5)
  np.testing.assert_allclose(total(loss), np.exp(0.2) * losses[1:].sum() / 6, rtol=1e-5)
  np.testing.assert_allclose(loss.metrics["rejected"].value, 1 / 3, rtol=1e-6)
  np.testing.assert_allclose(loss.metrics["importance_weight"].value, (3 * 2 + 6 * np.exp(0.2)) / 9, rtol=1e-5)
  masked = loss_of(
    built("dr_grpo", aggregation="token_mean", correction="token_mis", importance_sampling_cap=3.0), given
  )
  np.testing.assert_allclose(total(masked), np.exp(0.2) * losses[1:].sum() / 9, rtol=1e-5)


def test_the_off_policy_mask_drops_bad_rows_that_have_become_unlikely():
  """Rows 1 and 2 are below the mean; row 2's sampler found it likelier by 0.5 a token."""
  behaviour = LOGPROBS - 0.3
  behaviour[2] = LOGPROBS[2] + 0.5
  method = built("dr_grpo", off_policy_threshold=0.4)
  loss = loss_of(method, batch(behaviour_logprobs=behaviour))
  np.testing.assert_allclose(loss.metrics["off_policy"].value, 3 / 9, rtol=1e-6)
  push = gradient(method, batch(behaviour_logprobs=behaviour))["logprobs"]
  np.testing.assert_array_equal(np.any(push != 0, axis=1), [True, True, False, True])


def test_entropy_is_a_bonus():
  method = built("dr_grpo", entropy_coefficient=0.2)
  np.testing.assert_allclose(gradient(method)["entropies"], np.where(LOSS_MASK, -0.2 / (4 * RESPONSE_TOKENS), 0))
  assert not np.any(gradient(built("dr_grpo"))["entropies"])


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("clip", ["ppo", "cispo", "none"])
def test_on_policy_the_gradient_is_that_of_reinforce(name, clip):
  """d loss / d logp_t = -A_t / 9, and of whole answers (RLOO) -A_i / 4 on every token."""
  options = {"clip": clip, "aggregation": "token_mean"} if name != "rloo" else {"clip": clip}
  method = built(name, **options, **({"kl_coefficient": 0.0} if name == "grpo" else {}))
  trajectories = batch(old_logprobs=LOGPROBS)
  targets = streams_of(method, trajectories)["policy"].targets
  got = gradient(method, trajectories)["logprobs"]
  whole = name == "rloo" and clip != "cispo"  # the clip of cispo is of the weight: each token has its own logp
  count = LOSS_MASK.sum() if name != "rloo" else 4 if whole else 4 * LOSS_MASK.sum(axis=1, keepdims=True)
  np.testing.assert_allclose(got, -targets / count, atol=1e-6)


def split_sum(method, trajectories, parts):
  """Terms and metrics as the trainer adds them over micro-batches."""
  streams = streams_of(method, trajectories)
  rows = lambda x, i: np.split(np.asarray(x), parts)[i]
  of = lambda i: jax.tree.map(lambda x: rows(x, i), (OUTPUTS, trajectories, streams))
  losses = [method.loss(*of(i)) for i in range(parts)]
  means = [({name: term.mean for name, term in loss.terms.items()}, loss.metrics) for loss in losses]
  return jax.tree.map(lambda *x: sum(x), *means)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("name", METHODS)
def test_micro_batches_add_up_to_the_whole(name, aggregation):
  method = built(
    name, aggregation=aggregation, kl_coefficient=0.1, entropy_coefficient=0.1, importance_sampling_cap=2.0
  )
  trajectories = batch(reward_mask=[True, True, False, True])
  whole = loss_of(method, trajectories)
  want = ({name: term.mean for name, term in whole.terms.items()}, whole.metrics)
  got = split_sum(method, trajectories, 4 if aggregation == "token_mean" else 2)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, want)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("name", METHODS)
def test_weights_of_terms_do_not_depend_on_outputs(name, aggregation):
  method = built(name, aggregation=aggregation, kl_coefficient=0.1, entropy_coefficient=0.1)
  weights = lambda outputs: {k: float(t.mean.weight) for k, t in loss_of(method, outputs=outputs).terms.items()}
  assert weights(OUTPUTS) == weights(jax.tree.map(lambda x: 0 * x, OUTPUTS))
  assert all(weight > 0 for weight in weights(OUTPUTS).values())


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_without_a_trained_token_gives_zero(name):
  method, trajectories = built(name, kl_coefficient=0.1), batch(row_mask=[False] * 4)
  loss = loss_of(method, trajectories)
  assert all(term.mean.value == 0 for term in loss.terms.values())
  assert not np.any(gradient(method, trajectories)["logprobs"])


# PPO's critic.


def test_the_critic_starts_from_the_policys_trunk_and_is_scored():
  method = built("ppo", critic_learning_rate=0.01)
  assert method.models["critic"] == ModelRole(outputs=("values",), init_from="policy", learning_rate=0.01)
  assert method.scoring == {"values": ("critic", "values")}


def test_value_loss_by_hand():
  """V = V_old + 0.1 is inside the clip of 0.5: half the mean square of V - R."""
  loss = loss_of(built("ppo", value_coefficient=0.7))
  signal = signal_of(built("ppo"), batch())
  returns = np.asarray(signal.streams["value"].targets)
  term = loss.terms["value"]
  assert term.coefficient == 0.7
  np.testing.assert_allclose(term.mean.value, ((VALUES + 0.1 - returns)[LOSS_MASK] ** 2).mean() / 2, rtol=1e-5)
  np.testing.assert_allclose(
    signal.metrics["value_error"].value, ((VALUES - returns)[LOSS_MASK] ** 2).mean(), rtol=1e-5
  )
  far = loss_of(built("ppo", value_clip=0.05)).terms["value"].mean.value
  near = np.maximum((VALUES + 0.1 - returns) ** 2, (VALUES + 0.05 - returns) ** 2)[LOSS_MASK].mean() / 2
  np.testing.assert_allclose(far, near, rtol=1e-5)


# Options.


@pytest.mark.parametrize(
  ("name", "options", "said"),
  [
    ("grpo", {"ratio": "tokens"}, "unknown ratio 'tokens'; known: token, sequence"),
    ("ppo", {"clip": "hard"}, "method.clip is one of ppo, none, cispo, reinforce, sapo, .*, got 'hard'"),
    ("rloo", {"aggregation": "mean"}, f"method.aggregation is one of {', '.join(AGGREGATIONS)}, got 'mean'"),
    ("grpo", {"aggregation": "constant"}, f"method.aggregation is one of {', '.join(AGGREGATIONS)}, got 'constant'"),
    ("grpo", {"kl_value": "k4"}, "unknown value 'k4'; known: k1, k2, k3"),
    ("grpo", {"kl_gradient": "k0"}, "unknown gradient 'k0'; known: k1, k2, k3"),
    ("dr_grpo", {"old_logprobs": "verifier"}, "method.old_logprobs is one of sampler, trainer, got 'verifier'"),
    ("grpo", {"scale": "std"}, "method.scale is one of group, batch, none, got 'std'"),
    ("rloo", {"singleton": "one"}, "method.singleton is one of raw, zero, got 'one'"),
    ("grpo", {"clip": "cispo", "dual_clip": 3.0}, "method.clip='cispo' has no option 'dual_clip'; it has clip_high, "),
    ("grpo", {"clip": "none", "dual_clip": 3.0}, "dual_clip belongs to clip='ppo'"),
    ("rloo", {"clip": "gmpo"}, "method.clip='gmpo' has no option 'ratio'"),
    ("grpo", {"clip": "sapo", "clip_options": {"tau": 1.0}}, "no option 'tau'; it has max_log_ratio, ratio, tau_neg"),
    ("grpo", {"clip": "sapo", "clip_options": {"tau_positive": "1"}}, "tau_positive is '1', want a finite number"),
    ("grpo", {"clip": "sapo", "clip_options": {"tau_positive": 0}}, "sapo: tau_positive is above 0, got 0"),
    ("grpo", {"correction": "tis"}, "unknown preset 'tis'; known: token_tis, "),
    (
      "grpo",
      {"correction": "token_tis+sequence_tis"},
      "'token_tis.sequence_tis': token_tis and sequence_tis would count",
    ),
    ("grpo", {"correction": "k3_rs+"}, r"preset='k3_rs\+': want names joined by single '\+'"),
    (
      "grpo",
      {"correction": "k3_rs", "importance_sampling_cap": 2.0},
      "importance_sampling_cap=2.0: .* no weights to cap",
    ),
    (
      "grpo",
      {"aggregation_constant": 8},
      "aggregation_constant=8 belongs to method.aggregation=sequence_mean_constant",
    ),
    ("grpo", {"rejection_bounds": (0.5, 2.0)}, r"rejection_bounds=\(0.5, 2.0\): want two numbers, .* and a rejection"),
    ("grpo", {"correction": "k3_rs", "rejection_bounds": (1.0,)}, "rejection_bounds=.*: want two numbers"),
    ("grpo", {"correction": "geometric_rs", "rejection_bounds": (0.0, 0.1)}, "rejection_bounds=.*: .* must include 1"),
    ("grpo", {"correction": "k3_rs", "rejection_bounds": (0.0, 0.0)}, "rejection_bounds=.*: the first must be below"),
  ],
)
def test_options_that_are_not_known_are_one_line_before_training(name, options, said):
  with pytest.raises(ValueError, match=said) as error:
    built(name, **options)
  assert "\n" not in str(error.value)


def test_token_stream_takes_one_number_per_row_or_per_token():
  per_row, per_token = jnp.arange(1.0, 5.0), jnp.arange(16.0).reshape(4, 4)
  row, token = (policy_gradient.token_stream(batch(), x) for x in (per_row, per_token))
  np.testing.assert_array_equal(row.targets, np.where(LOSS_MASK, per_row[:, None], 0))
  np.testing.assert_array_equal(token.targets, np.where(LOSS_MASK, per_token, 0))


def test_the_methods_name_their_papers():
  papers = {name: built(name).papers for name in METHODS}
  assert papers["grpo"] == ("2402.03300",) and papers["dr_grpo"] == ("2503.20783",)
  assert papers["rloo"] == ("2402.14740",) and papers["ppo"] == ("1707.06347", "1506.02438")
