"""A reverse loop over time in PyTorch, as verl writes GAE and returns: `python torch_loop.py ROWS TOKENS REPEATS`."""

import json
import statistics
import sys
import time

import torch

rows, tokens, repeats = map(int, sys.argv[1:])
rewards, values, mask = torch.randn(rows, tokens), torch.randn(rows, tokens), torch.ones(rows, tokens)


def gae():
  """verl's loop for advantages and returns."""
  next_values, last, advantages = 0, 0, []
  for t in reversed(range(tokens)):
    delta = rewards[:, t] + 0.99 * next_values - values[:, t]
    advantage = delta + 0.99 * 0.95 * last
    next_values = values[:, t] * mask[:, t] + (1 - mask[:, t]) * next_values
    last = advantage * mask[:, t] + (1 - mask[:, t]) * last
    advantages.append(last)
  advantages = torch.stack(advantages[::-1], dim=1)
  return advantages, advantages + values


def discounted_sums():
  """verl's loop for REINFORCE++ returns."""
  returns, running = torch.zeros_like(rewards), 0
  for t in reversed(range(tokens)):
    running = rewards[:, t] + 0.99 * running
    returns[:, t] = running
    running = running * mask[:, t]
  return returns


taken = {}
with torch.no_grad():
  for name, function in {"gae": gae, "discounted_sums": discounted_sums}.items():
    function()
    times = []
    for _ in range(repeats):
      started = time.perf_counter()
      function()
      times.append(time.perf_counter() - started)
    taken[name] = statistics.median(times)
print(json.dumps(taken))
