"""PDR (arXiv 2510.01123): token budgets, the bounded workspace, and the mixed objective."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.advantages.group import grpo
from rl_jax.kernels.losses.mixture import cispo_with_imitation, pdr_loss
from rl_jax.kernels.reductions import per_token
from rl_jax.kernels.search.refinement import join_drafts, refinement_calls, token_budget, top_drafts
from tests.kernels.kernel import quick_jit

CLIPS = {"eps_low": "clip_low", "eps_high": "clip_high"}


def compute(case, inputs):
  if "prompt_len" in inputs:
    return budget(**inputs)
  if "drafts" in inputs:
    return workspace(**inputs)
  clips = {option: inputs[name] for name, option in CLIPS.items() if name in inputs}
  alpha = inputs.get("alpha", 0.1)
  if "trace" in inputs:
    halves = {name: {k: jnp.asarray(v) for k, v in inputs[name].items()} for name in ("trace", "op")}
    return {name: objective(**half, alpha=alpha, clips=clips) for name, half in halves.items()} | {
      "loss": mixed(halves["trace"], halves["op"], alpha, clips)
    }
  return objective(**{k: v for k, v in inputs.items() if isinstance(v, jax.Array)}, alpha=alpha, clips=clips)


def budget(prompt_len, draft_out, rounds=0, widths=None, distill="topk", **lengths):
  artefact = lengths[next(name for name in ("candidate_len", "summary_len", "answer_len") if name in lengths)]
  calls = refinement_calls(
    *(jnp.array([length]) for length in (prompt_len, draft_out, artefact)),
    widths=(1,) * rounds if widths is None else tuple(np.asarray(widths).tolist()),
    distillation={"topk": "top_k"}.get(distill, distill),
    k=lengths.get("k", 1),
    cap=lengths.get("kappa"),
  )
  spent = token_budget(*calls, jnp.ones_like(calls.inputs))
  return {"B_seq": spent.sequential[0], "B_total": spent.total[0]}


def workspace(drafts, scores, k, kappa, scores_by_branch):
  drafts = [np.asarray(draft).tolist() for draft in drafts]
  longest = max(map(len, drafts))
  tokens = jnp.array([[draft + [0] * (longest - len(draft)) for draft in drafts]])
  mask = jnp.array([[[t < len(draft) for t in range(longest)] for draft in drafts]])
  shared = top_drafts(scores[None], jnp.ones((1, len(drafts))), k=k)
  join = lambda cap: join_drafts(tokens, mask, *shared, cap=cap)
  filled = lambda joined: np.asarray(joined.tokens)[np.asarray(joined.mask)]
  return {
    "topk": shared.slots[0],
    "per_sample": top_drafts(scores_by_branch, jnp.ones_like(scores_by_branch), k=k).slots,
    "workspace": filled(join(kappa)),
    "workspace_kappa0": filled(join(0)),
  }


def advantages(rewards, group_ids):
  return grpo(rewards, group_ids, jnp.ones(rewards.shape, bool), ddof=0, singleton="zero")


def objective(logprobs, old_logprobs, mask, rewards, group_ids, alpha, clips):
  @quick_jit
  def outputs(logprobs, old_logprobs, mask, rewards, group_ids):
    relative = advantages(rewards, group_ids)
    loss = lambda x: cispo_with_imitation(x, old_logprobs, per_token(relative, mask), rewards > 0, mask, **clips)
    parts = loss(logprobs)
    return {
      "advantages": relative,
      "cispo": parts.policy.value,
      "sft": parts.imitation.value,
      "total": parts.value(alpha=alpha),
      "dlogp": jax.grad(lambda x: loss(x).value(alpha=alpha))(logprobs),
    }

  return outputs(logprobs, old_logprobs, mask, rewards, group_ids)


def mixed(trace, operator, alpha, clips):
  """Both halves as rows of one batch, with group ids that do not meet."""
  halves = [dict(half, relative=advantages(half["rewards"], half["group_ids"])) for half in (trace, operator)]
  length = max(half["mask"].shape[1] for half in halves)
  whole = {
    name: jnp.concatenate([jnp.pad(half[name], ((0, 0), (0, length - half[name].shape[1]))) for half in halves])
    for name in ("logprobs", "old_logprobs", "mask")
  }
  relative, rewards = (jnp.concatenate([half[name] for half in halves]) for name in ("relative", "rewards"))
  refined = jnp.arange(rewards.shape[0]) >= trace["rewards"].shape[0]
  loss = pdr_loss(
    whole["logprobs"],
    whole["old_logprobs"],
    per_token(relative, whole["mask"]),
    rewards > 0,
    refined,
    whole["mask"],
    **clips,
  )
  return loss.value(alpha=alpha)
