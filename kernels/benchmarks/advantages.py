"""Times the kernels on token-sized batches: python -m rl_jax.kernels.benchmarks.advantages [--peers=PYTHON].

Each kernel runs on [256, 4096] and [64, 16384] tokens, float32, beside the time that streaming its bytes would take:
inputs and outputs counted once, at the rate of the plainest array sum of this size in the same run. Losses are timed
with their gradient. Peers do the same work in processes of their own, outside of the repository (rlax's vmapped scans;
a reverse loop in PyTorch as verl has it), with `--peers` in another Python that has them installed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from rl_jax.kernels.advantages import group, process, returns, segment, step, truncated
from rl_jax.kernels.benchmarks import peer_process
from rl_jax.kernels.benchmarks.timing import seconds, stream_rate
from rl_jax.kernels.losses.divergence import kl
from rl_jax.kernels.losses.policy import cispo, policy_gradient
from rl_jax.kernels.losses.value import value_loss
from rl_jax.kernels.reductions import aggregate, per_token, whiten
from rl_jax.kernels.scans import discounted_sums, move_to_trainable, running_sums

SHAPES = ((256, 4096), (64, 16384))
GROUP, STEPS = 8, 64
"""Responses per prompt, and reasoning steps per response."""
PEERS = {"rlax": "rlax_scans.py", "torch": "torch_loop.py"}


def batch(rows: int, tokens: int) -> dict[str, jax.Array]:
  """Arguments by the names that kernels give them: responses of many lengths in groups of `GROUP`."""
  keys = iter(jax.random.split(jax.random.key(0), 20))
  normal = lambda *shape: jax.random.normal(next(keys), shape)
  lengths = jax.random.randint(next(keys), (rows,), tokens // 2, tokens + 1)
  logprobs = lambda: -jnp.abs(normal(rows, tokens))
  return {
    "rewards": jax.random.bernoulli(next(keys), 0.5, (rows,)).astype(jnp.float32),
    "objectives": normal(rows, 3),
    "group_ids": jnp.arange(rows) // GROUP,
    "scored": jnp.ones(rows, bool),
    "finished": jax.random.bernoulli(next(keys), 0.5, (rows,)),
    "window_starts": lengths // 2,
    "lengths": lengths,
    "baselines": normal(rows),
    "mask": jnp.arange(tokens) < lengths[:, None],
    "attention_mask": jnp.ones((rows, tokens), bool),
    "token_rewards": normal(rows, tokens),
    "values": normal(rows, tokens),
    "old_values": normal(rows, tokens),
    "advantages": normal(rows, tokens),
    "logprobs": logprobs(),
    "old_logprobs": logprobs(),
    "ref_logprobs": logprobs(),
    "step_ids": jnp.broadcast_to(jnp.arange(tokens) // (tokens // STEPS), (rows, tokens)),
    "step_values": normal(rows, STEPS),
    "step_mask": jnp.ones((rows, STEPS), bool),
  }


def _on_tokens(estimator):
  """Advantages [B] put on the tokens."""
  return lambda *args: per_token(estimator(*args[:-1]), args[-1])


def _loss(per_token_losses, mode: str):
  """Value and gradient of an aggregated loss, by its first argument."""

  def loss(*args):
    return aggregate(per_token_losses(*args), args[-1], mode=mode).value

  return jax.value_and_grad(loss)


def _losses(function, **options):
  return lambda *args: function(*args, **options).losses


ROWS = ("rewards", "group_ids", "scored", "mask")
POLICY = ("logprobs", "old_logprobs", "advantages", "mask")
WORK: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
  "discounted_sums": (partial(discounted_sums, discount=0.99), ("token_rewards", "mask")),
  "running_sums": (running_sums, ("mask",)),
  "move_to_trainable": (move_to_trainable, ("token_rewards", "mask", "attention_mask")),
  "gae": (partial(returns.gae, discount=0.99, lam=0.95), ("token_rewards", "values", "mask")),
  "reinforce_pp": (returns.reinforce_pp, ("token_rewards", "mask")),
  "remax": (group.remax, ("token_rewards", "baselines", "mask")),
  "grpo": (_on_tokens(group.grpo), ROWS),
  "dr_grpo": (_on_tokens(group.dr_grpo), ROWS),
  "rloo": (_on_tokens(group.rloo), ROWS),
  "opo": (_on_tokens(group.opo), ("rewards", "group_ids", "lengths", "scored", "mask")),
  "gdpo": (_on_tokens(group.gdpo), ("objectives", "group_ids", "scored", "mask")),
  "reinforce_pp_baseline": (group.reinforce_pp_baseline, ROWS),
  "whiten": (whiten, ("token_rewards", "mask")),
  "prime": (process.prime, ("token_rewards", *ROWS)),
  "spo_chain": (segment.spo_chain, ("step_values", "rewards", "old_logprobs", "mask")),
  "spae": (step.spae, ("rewards", "group_ids", "scored", "step_values", "step_mask", "step_ids", "mask")),
  "tppo": (truncated.tppo, ("token_rewards", "values", "mask", "window_starts", "finished")),
  "ppo loss": (_loss(_losses(policy_gradient), "token_mean"), POLICY),
  "gspo loss": (_loss(_losses(policy_gradient, ratio="sequence"), "sequence_mean_token_mean"), POLICY),
  "cispo loss": (_loss(_losses(cispo), "token_mean"), POLICY),
  "kl k3 loss": (_loss(kl, "token_mean"), ("logprobs", "ref_logprobs", "mask")),
  "value loss": (_loss(value_loss, "token_mean"), ("values", "old_values", "token_rewards", "mask")),
}


def measure(rows: int, tokens: int, repeats: int, python: str) -> None:
  """Print the table of one batch size.

  >>> measure(8, 128, 1, "/nowhere/python")  # doctest: +ELLIPSIS
  rlax is left out: /nowhere/python does not run
  torch is left out: /nowhere/python does not run
  <BLANKLINE>
  [8, 128] tokens, float32, medians of 1; streaming: ... GB/s
  ...
  """
  peers = {
    name: peer_process.results(name, script, python, rows, tokens, max(1, repeats // 4))
    for name, script in PEERS.items()
  }
  rate, arrays = stream_rate((rows, tokens), repeats), batch(rows, tokens)
  print(f"\n[{rows}, {tokens}] tokens, float32, medians of {repeats}; streaming: {rate / 1e9:.1f} GB/s")
  heads = [f"{name + ' ms':>9} {'ratio':>6}" for name in peers]
  print(f"{'kernel':22} {'ms':>8} {'MB':>6} {'bound ms':>9} {'x bound':>8} {' '.join(heads)}")
  for name, (function, names) in WORK.items():
    arguments = [arrays[argument] for argument in names]
    compiled = jax.jit(function)
    moved = sum(x.nbytes for x in jax.tree.leaves((arguments, compiled(*arguments))))
    elapsed, bound = seconds(partial(compiled, *arguments), repeats), moved / rate
    peer_seconds = [peers[peer].get(name) for peer in peers]
    peer_columns = [f"{1e3 * s:9.2f} {s / elapsed:6.1f}" if s else f"{'':16}" for s in peer_seconds]
    print(
      f"{name:22} {1e3 * elapsed:8.2f} {moved / 1e6:6.1f} {1e3 * bound:9.2f} {elapsed / bound:8.1f} "
      f"{' '.join(peer_columns)}"
    )


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status.

  >>> main(["--repeats=0"])
  --repeats is at least 1, got 0
  2
  """
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("--repeats", type=int, default=30, help="calls of each kernel; the median counts")
  parser.add_argument("--peers", default=sys.executable, help="the Python that rlax and torch are installed in")
  options = parser.parse_args(argv)
  if options.repeats < 1:
    print(f"--repeats is at least 1, got {options.repeats}")
    return 2
  for rows, tokens in SHAPES:
    measure(rows, tokens, options.repeats, options.peers)
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
