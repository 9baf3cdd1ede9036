"""Slow float64 loops for what the large trainers have, from the papers' formulas, and the golden that they give.

`python -m tests.kernels.papers.make_trainers` writes tests/goldens/trainers.json. A loss is a function of x, the
logprobs that are differentiated, and of `base`, their value inside a stop gradient.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable

import numpy as np

from tests.kernels.goldens import FOLDER
from tests.kernels.numerics import finite_difference

# Estimators.


def members(i, ids, mask):
  """Scored rows of the group of row i."""
  return [j for j in range(len(ids)) if ids[j] == ids[i] and mask[j]]


def std(values):
  """Unbiased, 0 for one value."""
  mean = sum(values) / len(values)
  return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else 0.0


def maxrl(rewards, ids, mask, eps):
  out = np.zeros(len(rewards))
  for i in np.flatnonzero(mask):
    group = [rewards[j] for j in members(i, ids, mask)]
    mean = sum(group) / len(group)
    if mean > 0 and len(group) > 1:
      out[i] = (rewards[i] - mean) / (mean + eps)
  return out


def gpg(rewards, ids, mask, counted, scale):
  out, useful = np.zeros(len(rewards)), 0
  for i in np.flatnonzero(mask):
    group = [rewards[j] for j in members(i, ids, mask)]
    mean = 0.0 if len(group) == 1 else sum(group) / len(group)
    spread = std(group) + 1e-6 if scale == "group" and len(group) > 1 else 1.0
    out[i] = (rewards[i] - mean) / (1.0 + 1e-6 if scale == "group" and len(group) == 1 else spread)
    useful += {"varying": max(group) > min(group), "nonzero": rewards[i] != 0, "all": True}[counted]
  return out * int(np.sum(mask)) / max(useful, 1)


def pass_at_k(rewards, ids, mask, k, scale):
  """Each set of k rows that holds i, and the same set without it."""
  out = np.zeros(len(rewards))
  for i in np.flatnonzero(mask):
    group = members(i, ids, mask)
    others = [rewards[j] for j in group if j != i]
    if not others:
      continue
    size = len(group) if k is None else min(k, len(group))
    sets = list(itertools.combinations(others, size - 1))
    out[i] = sum(max(rewards[i], *s) - max(s) for s in sets) / len(sets)
    spread = std([rewards[j] for j in group])
    if scale == "group" and spread > 0:
      out[i] /= spread + 1e-6
  return out


def rae(rewards, roles, mask, baselines, decay):
  baselines, out = list(baselines), np.zeros(len(rewards))
  for i in np.flatnonzero(mask):
    out[i] = rewards[i] - baselines[roles[i]]
    baselines[roles[i]] = decay * baselines[roles[i]] + (1 - decay) * rewards[i]
  return out, np.array(baselines)


def optimal_token_baseline(token_rewards, logprobs, collisions, ids, mask, align, zero_tail, weights=None):
  rows, length = mask.shape
  out, gathered, returns, places = (np.zeros((rows, length)) for _ in range(4))
  for i in range(rows):
    total, count = 0.0, 0
    for t in range(length):
      if mask[i, t]:
        energy = 1 - 2 * math.exp(logprobs[i, t]) + collisions[i, t]
        total += energy * (1.0 if weights is None else weights[i, t] ** 2)
        gathered[i, t], places[i, t] = total, t if align == "slot" else count
        returns[i, t] = sum(token_rewards[i, s] for s in range(t, length) if mask[i, s])
        count += 1
  for i in range(rows):
    group = [j for j in range(rows) if ids[j] == ids[i] and mask[j].any()]
    for t in np.flatnonzero(mask[i]):
      same = [(j, s) for j in group for s in np.flatnonzero(mask[j]) if places[j, s] == places[i, t]]
      weight = sum(gathered[j, s] for j, s in same)
      baseline = sum(gathered[j, s] * returns[j, s] for j, s in same) / weight if weight else 0.0
      if len(group) == 1 or (zero_tail and len(same) == 1):
        baseline = 0.0
      out[i, t] = returns[i, t] - baseline
  return out


# Losses: each gives the loss of a row's token, or of a row, and the way to add them up is its paper's.


def tokens(mask):
  return [(i, t) for i in range(mask.shape[0]) for t in np.flatnonzero(mask[i])]


def token_mean(loss, mask):
  return sum(loss(i, t) for i, t in tokens(mask)) / mask.sum()


def sequence_mean(loss, mask):
  rows = [i for i in range(mask.shape[0]) if mask[i].any()]
  return sum(np.mean([loss(i, t) for t in np.flatnonzero(mask[i])]) for i in rows) / len(rows)


def row_mean(loss, mask):
  rows = [i for i in range(mask.shape[0]) if mask[i].any()]
  return sum(loss(i, np.flatnonzero(mask[i])) for i in rows) / len(rows)


def ppo(ratio, advantage, low, high):
  return -min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)


def sapo(x, base, old, advantages, mask):
  def loss(i, t):
    tau = 1.0 if advantages[i, t] > 0 else 1.05
    gate = 4 / tau / (1 + math.exp(-tau * (math.exp(x[i, t] - old[i, t]) - 1)))
    return -gate * advantages[i, t]

  return sequence_mean(loss, mask)


def gmpo(x, base, old, advantages, mask):
  def loss(i, slots):
    advantage, product = advantages[i, slots[0]], 1.0
    for t in slots:
      ratio = math.exp(x[i, t] - old[i, t])
      product *= min(ratio, math.exp(0.4)) if advantage > 0 else max(ratio, math.exp(-0.4))
    return -advantage * product ** (1 / len(slots))

  return row_mean(loss, mask)


def luspo(x, base, old, advantages, mask):
  def loss(i, slots):
    ratio = math.exp(sum(x[i, t] - old[i, t] for t in slots) / len(slots))
    return len(slots) * ppo(ratio, advantages[i, slots[0]], 0.2, 0.3)

  return row_mean(loss, mask)


def dppo(x, base, old, advantages, mask, divergence, bound):
  def loss(i, t):
    p, q, a = math.exp(base[i, t]), math.exp(old[i, t]), advantages[i, t]
    moved = abs(p - q) if divergence == "tv" else q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))
    if (a > 0 and p > q and moved > bound) or (a < 0 and p < q and moved > bound):
      return 0.0
    return -min(p / q, 20.0) * a * x[i, t]

  return token_mean(loss, mask)


def vespo(x, base, old, advantages, mask):
  def loss(i, t):
    weight = math.exp(sum(base[i, s] - old[i, s] for s in np.flatnonzero(mask[i])))
    k, decay = (2.0, 3.0) if advantages[i, t] >= 0 else (3.0, 2.0)
    return -(weight**k) * math.exp(decay * (1 - weight)) * advantages[i, t] * x[i, t]

  return token_mean(loss, mask)


def covariances(base, advantages, mask):
  slots = tokens(mask)
  logp, a = (sum(array[i, t] for i, t in slots) / len(slots) for array in (base, advantages))
  return {(i, t): (base[i, t] - logp) * (advantages[i, t] - a) for i, t in slots}


def clip_cov(x, base, old, advantages, mask, draws, share, lowest, highest):
  def clipped(i, t):
    ratio, a = math.exp(base[i, t] - old[i, t]), advantages[i, t]
    return (a > 0 and ratio > 1.2) or (a < 0 and ratio < 0.8)

  cov = covariances(base, advantages, mask)
  candidates = [slot for slot in cov if lowest < cov[slot] < highest and not clipped(*slot)]
  out = sorted(candidates, key=lambda slot: -draws[slot])[: max(1, int(share * len(cov)))]

  def loss(i, t):
    return 0.0 if (i, t) in out else ppo(math.exp(x[i, t] - old[i, t]), advantages[i, t], 0.2, 0.2)

  return token_mean(loss, mask)


def kl_cov(x, base, old, advantages, mask, share, coefficient):
  cov = covariances(base, advantages, mask)
  held = sorted(cov, key=lambda slot: -cov[slot])[: max(1, int(share * len(cov)))]

  def loss(i, t):
    difference = x[i, t] - old[i, t]
    return -math.exp(difference) * advantages[i, t] + ((i, t) in held) * coefficient * abs(difference)

  return token_mean(loss, mask)


SHARES = {
  "clip_cov": {"share": 0.25, "lowest": 0.05, "highest": 1.5}, "kl_cov": {"share": 0.25, "coefficient": 0.7}
}  # fmt: skip
"""Shares of so few tokens as the golden has."""
LOSSES: dict[str, Callable[..., float]] = {
  "sapo": sapo, "gmpo": gmpo, "luspo": luspo, "vespo": vespo, "clip_cov": clip_cov, "kl_cov": kl_cov,
  "dppo_tv": lambda *args: dppo(*args, "tv", 0.2), "dppo_kl": lambda *args: dppo(*args, "kl", 0.05),
}  # fmt: skip


def value_and_gradient(name, logprobs, old, advantages, mask, draws):
  """The aggregated loss of a name, and its gradient by central differences."""
  more = {"clip_cov": {"draws": draws}}.get(name, {}) | SHARES.get(name, {})
  run = lambda x: LOSSES[name](x, logprobs, old, advantages, mask, **more)
  return run(logprobs), finite_difference(run, logprobs, 1e-5)


# Corrections.


def weights(old, behaviour, mask, level, bound, low, high):
  out = np.zeros(mask.shape)
  for i, t in tokens(mask):
    row = [old[i, s] - behaviour[i, s] for s in np.flatnonzero(mask[i])]
    log_ratio = {"token": old[i, t] - behaviour[i, t], "sequence": sum(row), "geometric": sum(row) / len(row)}[level]
    ratio = math.exp(log_ratio)
    out[i, t] = min(max(ratio, low), high) if bound == "truncate" else ratio * (low <= ratio <= high)
  return out


def kept(old, behaviour, mask, statistic, over, low, high):
  out = np.zeros(mask.shape, bool)
  for i in range(mask.shape[0]):
    ratios = {t: math.exp(old[i, t] - behaviour[i, t]) for t in np.flatnonzero(mask[i])}
    of = {"ratio": math.log, "k2": lambda r: math.log(r) ** 2 / 2, "k3": lambda r: r - 1 - math.log(r)}[statistic]
    values = {t: of(r) for t, r in ratios.items()}
    back = math.exp if statistic == "ratio" else float
    inside = lambda value, back=back: low <= back(value) <= high
    for t in values:
      out[i, t] = {
        "token": inside(values[t]), "every": all(map(inside, values.values())),
        "sum": inside(sum(values.values())), "mean": inside(sum(values.values()) / len(values)),
      }[over]  # fmt: skip
  return out


def off_policy_kept(logprobs, behaviour, advantages, mask, threshold):
  out = np.zeros(mask.shape, bool)
  for i, t in tokens(mask):
    row = [behaviour[i, s] - logprobs[i, s] for s in np.flatnonzero(mask[i])]
    out[i, t] = advantages[i, t] >= 0 or sum(row) / len(row) <= threshold
  return out


WEIGHTS = {
  "token_tis": ("token", "truncate", 0.0, 2.0), "sequence_tis": ("sequence", "truncate", 0.0, 2.0),
  "token_mis": ("token", "mask", 0.0, 2.0), "sequence_mis": ("sequence", "mask", 0.0, 2.0),
  "icepop": ("token", "mask", 0.5, 5.0),
}  # fmt: skip
REJECTIONS = {
  "token_rs": ("ratio", "token", 0.5, 2.0), "sequence_rs": ("ratio", "sum", 0.5, 2.0),
  "geometric_rs": ("ratio", "mean", 0.999, 1.001), "k3_rs": ("k3", "mean", 0.0, 0.01),
  "outlier_rs": ("ratio", "every", 1e-4, 100.0),
}  # fmt: skip


def cases(rng: np.random.Generator) -> list[dict]:
  """Inputs, rounded so that the file is short, and outputs."""
  rewards = np.array([1, 0, 0, 1, 0.5, 0, 0, 1, 1, 0.0, 0.75, 0.3])
  ids, scored = np.array([3, 3, 3, 3, 8, 8, 8, -1, -1, 5, 5, 40]), np.ones(12, bool)
  scored[6] = False
  group = {f"gpg_{counted}": gpg(rewards, ids, scored, counted, "none") for counted in ("varying", "nonzero", "all")}
  group["gpg_scaled"] = gpg(rewards, ids, scored, "varying", "group")
  group |= {"maxrl": maxrl(rewards, ids, scored, 1e-6), "maxrl_plain": maxrl(rewards, ids, scored, 0.0)}
  group |= {f"pass_at_{k}": pass_at_k(rewards, ids, scored, k, "none") for k in (None, 2, 3)}
  group["pass_at_k_scaled"] = pass_at_k(rewards, ids, scored, None, "group")

  roles, baselines = np.array([0, 1, 0, 0, 2, 1, 0, 2, 1, 0, 2, 0]), np.array([0.5, 0.0, 0.25])
  of_roles = dict(zip(("advantages", "baselines"), rae(rewards, roles, scored, baselines, 0.9), strict=True))

  draw = lambda shape, scale=1.0: np.round(rng.normal(size=shape) * scale, 4)
  mask = np.array([[1, 1, 0, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 1, 0], [1, 1, 1, 1, 1], [0, 1, 1, 0, 0], [0] * 5])
  token_ids = np.array([2, 2, 2, 9, 9, 2])
  logprobs = -np.abs(draw((6, 5))) - 0.05
  collisions = np.round(np.exp(2 * logprobs) + (1 - np.exp(logprobs)) ** 2 / 3, 4)
  dense, importance = draw((6, 5)), np.round(rng.uniform(0.5, 1.5, (6, 5)), 4)
  given = dense, logprobs, collisions, token_ids, mask
  of_tokens = {
    f"{align}{tail}": optimal_token_baseline(*given, align, bool(tail))
    for align in ("slot", "token") for tail in ("", "_zero_tail")
  }  # fmt: skip
  of_tokens["weighted"] = optimal_token_baseline(*given, "token", True, importance)

  old, behaviour = logprobs - draw((6, 5), 0.35), logprobs - draw((6, 5), 0.35)
  old, behaviour = (np.round(np.minimum(x, -0.02), 4) for x in (old, behaviour))
  behaviour[0], behaviour[3] = old[0] + 0.0004, old[3] + 0.15
  behaviour[2, 3] = old[2, 3] + 12
  behaviour[4, 1:3] = old[4, 1:3] + [0.5, -0.5]
  advantages = np.repeat(np.array([[0.8], [-1.2], [0.4], [-0.5], [1.5], [0.0]]), 5, axis=1)
  draws = np.round(rng.uniform(size=(6, 5)), 4)
  losses = {}
  for name in LOSSES:
    losses[name], losses[f"{name}_grad"] = value_and_gradient(name, logprobs, old, advantages, mask, draws)

  corrected = {name: weights(old, behaviour, mask, *options) for name, options in WEIGHTS.items()}
  corrected |= {name: kept(old, behaviour, mask, *options) for name, options in REJECTIONS.items()}
  corrected["geometric"] = weights(old, behaviour, mask, "geometric", "truncate", 0.9, 1.1)
  corrected |= {
    f"k2_{over}": kept(old, behaviour, mask, "k2", over, 0.0, 0.05) for over in ("token", "every", "sum", "mean")
  }
  corrected["off_policy"] = off_policy_kept(logprobs, behaviour, advantages, mask, 0.05)

  shared = {"logprobs": logprobs, "old_logprobs": old, "advantages": advantages, "mask": mask}
  named = [
    ("group_estimators", {"rewards": rewards, "group_ids": ids, "scored": scored}, group),
    ("role_baselines", {"rewards": rewards, "roles": roles, "scored": scored, "baselines": baselines, "decay": 0.9},
     of_roles),
    ("token_baselines", {"token_rewards": dense, "logprobs": logprobs, "collisions": collisions,
     "group_ids": token_ids, "mask": mask, "weights": importance}, of_tokens),
    ("losses", {**shared, "draws": draws}, losses),
    ("corrections", {**shared, "behaviour_logprobs": behaviour}, corrected),
  ]  # fmt: skip
  return [{"name": name, "inputs": _lists(inputs), "outputs": _lists(outputs)} for name, inputs, outputs in named]


def _lists(arrays):
  return {name: x.tolist() if isinstance(x, np.ndarray) else x for name, x in arrays.items()}


def main() -> None:
  (FOLDER / "trainers.json").write_text(json.dumps(cases(np.random.default_rng(28)), indent=1) + "\n")


if __name__ == "__main__":
  main()
