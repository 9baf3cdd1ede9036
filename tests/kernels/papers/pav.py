"""PAV against reference numbers."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from rl_jax.kernels.analysis import planted_prover, provers
from rl_jax.kernels.losses.reward_model import binary_cross_entropy, class_balanced_weights
from rl_jax.kernels.reductions import masked_mean
from rl_jax.kernels.rewards import process
from rl_jax.kernels.scans import discounted_sums
from rl_jax.kernels.search.beam import beam_select
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  kinds = {
    "bok_advantage_effective": effective,
    "mc_q_ragged": lambda outcomes, rollout_mask: {
      "q": process.monte_carlo_values(outcomes[None], rollout_mask[None]).value[0]
    },
    "all_correct": constant,
    "all_wrong": constant,
    "token_weights_alpha5": token_weights,
    "single_step": single_step,
    "prover_diagnostics_npg": diagnostics,
    "beam_select": beam,
    "q_training": verifier,
  }
  scalars = {name: value for name, value in inputs.items() if not isinstance(value, jax.Array)}
  arrays = {name: value for name, value in inputs.items() if name not in scalars}
  return quick_jit(partial(kinds.get(case, planted), **scalars))(**arrays)


def advantages(q, mask=None):
  """The reference has one trace, and the value of the prompt in front of those of its steps."""
  mask = jnp.ones(q.shape[0] - 1) if mask is None else mask
  return process.progress(q[None, 1:], q[:1], mask[None])


def effective(q_prover_base, q_base, step_mask, K, alpha):
  q = process.best_of_k_values(q_prover_base, jnp.ones(q_prover_base.shape), k=K)
  adv = advantages(q, step_mask)
  rewards = process.effective_rewards(q_base[None, 1:], adv, step_mask[None], alpha=alpha)
  return {"q_prover": q, "adv": adv[0], "effective": rewards[0]}


def constant(q, K):
  bok = process.best_of_k_values(q, jnp.ones(q.shape), k=K)
  return {"q_bok": bok, "adv": advantages(bok)[0]}


def token_weights(outcome_reward, adv, segment_ids, mask, alpha, baseline):
  adv = adv[None]
  weights = process.token_weights(
    jnp.array([outcome_reward]), adv, segment_ids[None], mask[None], baselines=baseline[None], alpha=alpha
  )
  return {"weights": weights[0], "reward_to_go_trap": alpha * discounted_sums(adv, jnp.ones(adv.shape))[0]}


def single_step(q, alpha):
  adv = advantages(q)
  rewards = process.effective_rewards(q[None, 1:], adv, jnp.ones(adv.shape), alpha=alpha)
  return {"adv": adv[0], "effective": rewards[0]}


def diagnostics(pi, adv_mu, adv_pi, q_base, alpha, lr):
  prover = provers.prover_diagnostics(pi[None], adv_mu[None], adv_pi[None])
  update = provers.natural_policy_gradient(pi[None], q_base[None], adv_mu[None], learning_rate=lr, alpha=alpha)
  return {
    "distinguishability": prover.distinguishability[0],
    "alignment": prover.alignment[0],
    "bound_terms": prover.bound[0],
    "npg": update[0],
  }


def beam(q_base, adv, alpha, B):
  args = q_base[None], adv[None], jnp.ones((1, q_base.shape[0]))
  selected = beam_select(*args, width=B, alpha=alpha)
  return {
    "keep": selected.indices[0],
    "keep_q_only": beam_select(*args, width=B, alpha=0.0).indices[0],
    "scores": selected.scores[0],
  }


def planted(target, vocab, eos, length, gamma, tokens):
  mask = jnp.ones(tokens.shape)
  q = planted_prover.planted_values(tokens, target, mask, length=length, vocab_size=vocab, eos=eos, gamma=gamma)
  return {
    "q": jnp.concatenate([q.initial_values[:, None], q.values], axis=1),
    "adv": process.progress(q.values, q.initial_values, mask),
  }


def verifier(q_hat, logit):
  mask = jnp.ones(q_hat.shape)
  losses = binary_cross_entropy(logit, q_hat, mask)
  # The reference balances the first three prefixes only.
  weights = class_balanced_weights(q_hat[:3], mask[:3])
  return {
    "ce": masked_mean(losses, mask).value,
    "weights": weights,
    "ce_balanced": masked_mean(losses[:3], weights).value,
    "pit": process.first_pit(q_hat[None], mask[None]).step[0],
  }
