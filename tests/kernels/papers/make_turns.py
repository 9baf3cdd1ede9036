"""Slow float64 loops for turn-level credit, from the papers' formulas, and the golden that they give.

`python -m tests.kernels.papers.make_turns` writes tests/goldens/turns.json.
"""

from __future__ import annotations

import json

import numpy as np

from tests.kernels.goldens import FOLDER
from tests.kernels.papers.make_trainers import _lists, std


def turns_of(mask, i):
  return [int(t) for t in np.flatnonzero(mask[i])]


def to_come(rewards, mask, discount, i, t):
  """Discounted sum of a row's rewards from turn t on."""
  return sum(discount ** (s - t) * rewards[i, s] for s in turns_of(mask, i) if s >= t)


def normalized(value, values, scale, eps):
  centred = value - sum(values) / len(values)
  return centred / (std(values) + eps) if scale and std(values) > 0 else centred


def gigpo(rewards, states, ids, mask, step_weight, discount, normalization):
  """Equations 3 and 5 to 8; "leave_one_out": every mean is over other rows, and 0 without any."""
  rows, length = mask.shape
  episodes, steps, counts = np.zeros((rows, length)), np.zeros((rows, length)), np.zeros((rows, length))
  total = lambda j: sum(rewards[j, t] for t in turns_of(mask, j))
  for i in range(rows):
    group = [j for j in range(rows) if ids[j] == ids[i] and turns_of(mask, j)]
    for t in turns_of(mask, i):
      others = [total(j) for j in group if j != i]
      if normalization == "leave_one_out":
        episodes[i, t] = total(i) - (sum(others) / len(others) if others else 0.0)
      else:
        alone = {"none": total(i), "std": total(i) / (1 + 1e-6)}
        members = [total(j) for j in group]
        episodes[i, t] = normalized(total(i), members, normalization == "std", 1e-6) if others else alone[normalization]
      if states[i, t] < 0:
        continue
      anchor = [(j, s) for j in group for s in turns_of(mask, j) if states[j, s] == states[i, t]]
      own, counts[i, t] = to_come(rewards, mask, discount, i, t), len(anchor)
      if normalization == "leave_one_out":
        returns = [to_come(rewards, mask, discount, j, s) for j, s in anchor if j != i]
        steps[i, t] = own - (sum(returns) / len(returns) if returns else 0.0)
      else:
        returns = [to_come(rewards, mask, discount, j, s) for j, s in anchor]
        steps[i, t] = normalized(own, returns, normalization == "std", 1e-6) if len(anchor) > 1 else 0.0
  return {"advantages": episodes + step_weight * steps, "step": steps, "counts": counts}


def mt_grpo(rewards, ids, mask, turn_weight, discount, estimate, absent, scale):
  """Every row's reward of a turn against those of the rows that take part in it; absent turns earn 0."""
  rows, length = mask.shape
  out, last = np.zeros((rows, length)), [max(turns_of(mask, i), default=-1) for i in range(rows)]
  for i in range(rows):
    group = [j for j in range(rows) if ids[j] == ids[i] and turns_of(mask, j)]
    compared = lambda value, values: normalized(value, values, scale, 1e-4) if len(values) > 1 else 0.0
    outcome = compared(rewards[i, last[i]], [rewards[j, last[j]] for j in group]) if group else 0.0
    for k in turns_of(mask, i):
      if estimate == "cumulative":
        taking = group if absent == "zero" else [j for j in group if k <= last[j]]
        values = {j: to_come(rewards, mask, discount, j, k) for j in taking}
        out[i, k] = compared(values[i], list(values.values()))
        continue
      out[i, k] = outcome
      for t in range(k, length if absent == "zero" else last[i]):
        taking = group if absent == "zero" else [j for j in group if t < last[j]]
        values = {j: rewards[j, t] if t < last[j] else 0.0 for j in taking}
        out[i, k] += turn_weight * discount ** (t - k) * compared(values[i], list(values.values()))
  return out


def turn_values(rewards, values, turn_ids, mask, place):
  """For each row: its turns in order, with their slots, summed reward, and the value of their first or last slot."""
  found = []
  for i in range(mask.shape[0]):
    slots = [int(t) for t in np.flatnonzero(mask[i]) if turn_ids[i, t] >= 0]
    turns = [[t for t in slots if turn_ids[i, t] == k] for k in sorted({turn_ids[i, t] for t in slots})]
    found.append([(s, sum(rewards[i, t] for t in s), values[i, s[place]]) for s in turns])
  return found


def over_turns(turns, discount, lam):
  """GAE over the turns of one row."""
  out, advantage, value = [], 0.0, 0.0
  for _, reward, own in reversed(turns):
    advantage = reward + discount * value - own + discount * lam * advantage
    out, value = [advantage, *out], own
  return out


def turn_gae(rewards, values, turn_ids, mask, discount, lam):
  advantages, returns = np.zeros(mask.shape), np.zeros(mask.shape)
  for i, turns in enumerate(turn_values(rewards, values, turn_ids, mask, 0)):
    for (slots, _, value), advantage in zip(turns, over_turns(turns, discount, lam), strict=True):
      advantages[i, slots] = advantage
      returns[i, slots[0]] = advantage + value
  return {"advantages": advantages, "returns": returns}


def bi_level_gae(rewards, values, turn_ids, mask, discount, lam, token_discount, token_lam):
  """RAGEN: the return of a turn is the reward of its last token, and tokens of other turns are not looked at."""
  advantages, returns = np.zeros(mask.shape), np.zeros(mask.shape)
  for i, turns in enumerate(turn_values(rewards, values, turn_ids, mask, -1)):
    for (slots, _, value), of_turn in zip(turns, over_turns(turns, discount, lam), strict=True):
      reward, after, advantage = of_turn + value, 0.0, 0.0
      for t in reversed(slots):
        advantage = reward + token_discount * after - values[i, t] + token_discount * token_lam * advantage
        advantages[i, t], returns[i, t] = advantage, advantage + values[i, t]
        reward, after = 0.0, values[i, t]
  return {"advantages": advantages, "returns": returns}


MT = {
  "additive_zero": ("additive", "zero", True), "additive_skip": ("additive", "skip", True),
  "cumulative_zero": ("cumulative", "zero", True), "cumulative_skip": ("cumulative", "skip", True),
  "additive_zero_plain": ("additive", "zero", False), "additive_skip_plain": ("additive", "skip", False),
}  # fmt: skip


def cases(rng: np.random.Generator) -> list[dict]:
  """Inputs, rounded so that the file is short, and outputs."""
  draw = lambda shape: np.round(rng.normal(size=shape), 3)
  counts = np.array([4, 2, 3, 1, 4, 0, 3, 2, 1, 4])
  ids = np.array([3, 3, 3, 3, -8, -8, -8, -8, 40, 3])
  mask = (np.arange(4) < counts[:, None]).astype(int)
  rewards, states = draw((10, 4)), rng.integers(-1, 3, (10, 4))
  given = {"turn_rewards": rewards, "group_ids": ids, "mask": mask}
  anchored = {**given, "states": states, "step_weight": 0.7, "discount": 0.9}
  of_anchors = {
    f"{name}_{normalization}": value
    for normalization in ("none", "std", "leave_one_out")
    for name, value in gigpo(rewards, states, ids, mask, 0.7, 0.9, normalization).items()
  }
  of_turns = {name: mt_grpo(rewards, ids, mask, 0.6, 0.9, *options) for name, options in MT.items()}

  turn_ids = np.array([[-1, 0, 0, -1, 1, 1, 2], [0, 0, 1, 1, 2, 2, 2], [-1, 0, 1, 1, 1, -1, -1], [0] * 7])
  token_mask = np.array([[0, 1, 1, 0, 1, 0, 1], [0, 1, 1, 0, 1, 1, 1], [0, 1, 1, 1, 1, 0, 0], [0] * 7])
  tokens = {"token_rewards": draw((4, 7)), "values": draw((4, 7)), "turn_ids": turn_ids, "mask": token_mask}
  args, high = tuple(tokens.values()), {"discount": 0.95, "lam": 0.8}
  low = {"token_discount": 0.99, "token_lam": 0.7}
  named = [
    ("gigpo", anchored, of_anchors),
    ("mt_grpo", {**given, "turn_weight": 0.6, "discount": 0.9}, of_turns),
    ("turn_gae", {**tokens, **high}, turn_gae(*args, **high)),
    ("bi_level_gae", {**tokens, **high, **low}, bi_level_gae(*args, **high, **low)),
  ]
  return [{"name": name, "inputs": _lists(inputs), "outputs": _lists(outputs)} for name, inputs, outputs in named]


def main() -> None:
  (FOLDER / "turns.json").write_text(json.dumps(cases(np.random.default_rng(27)), indent=1) + "\n")


if __name__ == "__main__":
  main()
