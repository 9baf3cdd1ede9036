"""CM2: nested lists (rollout, turn, step, item) become flat axes of steps and items, and results lists again."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.advantages.checklist import cm2_step, cm2_turn
from rl_jax.kernels.advantages.group import grpo
from rl_jax.kernels.rewards.checklist import (
  checklist_progress,
  checklist_trajectory_reward,
  checklist_turn_rewards,
  response_steps,
  turns_passed,
)
from rl_jax.kernels.segments import on_tokens, segment_lengths
from tests.kernels.kernel import quick_jit
from tests.kernels.papers.as_released import checklist_progress_in_order, cm2_step_sum


def compute(case, inputs):
  if "response_mask" in inputs:
    return strict_and_tokens(**inputs)
  game = Game(*(_lists(inputs[name]) for name in ("judge", "deps", "weights")))
  results = quick_jit(lambda valid, arrays: advantages(valid, arrays, inputs["min_count"]))(
    jnp.asarray(inputs["valid"]) != 0, game.arrays(jnp.result_type(float))
  )
  paper, paper_std, code = (game.nest(results[name]) for name in ("paper", "paper_std", "code"))
  return {
    "paper": {name: paper[name] for name in PAPER},
    "paper_std": {name: paper_std[name] for name in PAPER},
    "paper_reached": paper["over_reached"],
    "code_traj": {"turn_scores": code["turn_rewards"], "rewards": code["rewards"], "adv_traj": code["adv_traj"]},
    "code_turn": code["adv_turn"],
    "code_step": code["adv_step"],
  }


PAPER = ("turn_rewards", "rewards", "adv_traj", "adv_turn", "baseline", "adv_step")


def advantages(valid, arrays, min_count):
  judge, needs, weights, item_turns, step_turns, step_mask, turn_mask = arrays
  every, ids = jnp.ones(len(valid), bool), jnp.full(len(valid), 7)
  reached = segment_lengths(step_turns, step_mask, num_segments=turn_mask.shape[1]) > 0
  progress = lambda needs, of=checklist_progress: of(judge, needs, item_turns, step_turns, step_mask)
  rewards = lambda satisfied: checklist_turn_rewards(satisfied, weights, item_turns, turn_mask)
  steps = lambda items, counted, of=cm2_step, **options: of(
    items.eligible, items.satisfied, weights, ids, counted, step_mask, **options
  )

  latched = progress(needs)
  turns = rewards(latched.satisfied)
  total = checklist_trajectory_reward(turns, turn_mask, every)
  results = {}
  for name, scale in (("paper", "none"), ("paper_std", "group")):
    by_step = steps(latched, jnp.ones_like(weights), scale=scale)
    results[name] = {
      "turn_rewards": turns,
      "rewards": total,
      "over_reached": checklist_trajectory_reward(turns, reached, every),
      "adv_traj": grpo(total, ids, every, scale=scale, singleton="zero"),
      "adv_turn": cm2_turn(turns, reached, ids, every, scale=scale),
      "baseline": by_step.baselines[0],
      "adv_step": by_step.advantages,
    }

  turns = rewards(progress(jnp.zeros_like(needs)).satisfied)
  total = checklist_trajectory_reward(turns, turn_mask, valid)
  latched = progress(needs, checklist_progress_in_order)
  counted = latched.attempted & valid[:, None]
  results["code"] = {
    "turn_rewards": turns,
    "rewards": total,
    "adv_traj": grpo(total, ids, every, scale="none", singleton="raw"),
    "adv_turn": cm2_turn(turns, reached, ids, valid, min_count=min_count),
    "adv_step": steps(latched, counted, cm2_step_sum, min_count=min_count).advantages,
  }
  return results


def strict_and_tokens(judge_turn, required, per_step, response_mask):
  judge, mask = jnp.asarray(judge_turn)[None], jnp.asarray(response_mask)[None]
  items, steps = jnp.zeros((1, judge.shape[2]), jnp.int32), jnp.zeros((1, judge.shape[1]), jnp.int32)
  needs = jnp.zeros((1, judge.shape[2], judge.shape[2]))
  satisfied = checklist_progress(judge, needs, items, steps, jnp.ones_like(steps)).satisfied
  passed = lambda required: turns_passed(satisfied, required[None], items, jnp.ones((1, 1)))[0, 0]
  return {
    "go_on": passed(required),
    "go_on_both": passed(jnp.ones_like(required)),
    "tokens": on_tokens(per_step[None], response_steps(mask), mask)[0],
  }


def _lists(x):
  return x if isinstance(x, list) else np.asarray(x).tolist()


class Game:
  """The flat axes of one group: `items[c]` is (turn, item), `steps[i][s]` is (turn, step) of row i."""

  def __init__(self, judge, deps, weights):
    self.judge, self.deps, self.weights = judge, deps, weights
    self.items = [(t, c) for t, turn in enumerate(weights) for c in range(len(turn))]
    self.steps = [[(t, s) for t, turn in enumerate(turns) for s in range(len(turn))] for turns in judge]

  def arrays(self, dtype):
    rows, items, most = len(self.judge), len(self.items), max(map(len, self.steps))
    judge, needs = np.zeros((rows, most, items)), np.zeros((rows, items, items))
    step_turns, step_mask = np.zeros((rows, most), np.int32), np.zeros((rows, most), bool)
    for i, steps in enumerate(self.steps):
      for s, (t, step) in enumerate(steps):
        step_turns[i, s], step_mask[i, s] = t, True
        for c, (turn, item) in enumerate(self.items):
          judge[i, s, c] = self.judge[i][t][step][item] if turn == t else 0
    for c, (t, item) in enumerate(self.items):
      for d in self.deps[t][item]:
        needs[:, c, self.items.index((t, int(d)))] = 1
    tile = lambda x: jnp.asarray(np.tile(np.asarray(x), (rows, 1)))
    weights = tile([self.weights[t][item] for t, item in self.items]).astype(dtype)
    item_turns = tile(np.array([t for t, _ in self.items], np.int32))
    turn_mask = tile(np.ones(len(self.weights), bool))
    judge, needs, step_turns, step_mask = map(jnp.asarray, (judge, needs, step_turns, step_mask))
    return judge, needs, weights, item_turns, step_turns, step_mask, turn_mask

  def nest(self, results):
    """Results per step by (rollout, turn, step), and per item by (turn, item)."""
    nested = {name: np.asarray(x) for name, x in results.items()}
    if "baseline" in nested:
      flat = iter(nested["baseline"].tolist())
      nested["baseline"] = [[next(flat) for _ in turn] for turn in self.weights]
    flats = [iter(row) for row in nested["adv_step"].tolist()]
    nested["adv_step"] = [
      [[next(flat) for _ in turn] for turn in turns] for flat, turns in zip(flats, self.judge, strict=True)
    ]
    return nested
