"""Cross-entropy from hidden states in PyTorch: `python torch_cross_entropy.py ROWS WIDTH VOCABULARY REPEATS TYPE KIND`.

Plain (unless the kind is "chunked"), and as chunks of 256 rows under a checkpoint. Each in a process of its own, as
peak memory never falls: on a CPU it is the resident set's, on a GPU the allocator's, less what was there before and the
two gradients. Prints as JSON seconds and MiB, forward plus backward, by the name of the work. Liger's fused linear GRPO
loss is added on a GPU.
"""

import json
import multiprocessing
import resource
import statistics
import sys
import time

import torch
from torch.utils.checkpoint import checkpoint

rows, width, vocabulary, repeats = map(int, sys.argv[1:5])
device = "cuda" if torch.cuda.is_available() else "cpu"
dtype, kind = getattr(torch, sys.argv[5]), sys.argv[6]


def cross_entropy(hidden, matrix, targets):
  """Sum over rows, from float32 logits."""
  return torch.nn.functional.cross_entropy((hidden @ matrix).float(), targets, reduction="sum")


def chunked(hidden, matrix, targets):
  """Sum in chunks, as trainers write it: a chunk's logits live once forward and once more backward."""
  pieces = zip(hidden.split(256), targets.split(256), strict=True)
  return sum(checkpoint(cross_entropy, h, matrix, t, use_reentrant=False) for h, t in pieces)


def liger(hidden, matrix, targets):
  """GRPO on responses of 1024 tokens, without reference model; gradients are made forward."""
  from liger_kernel.chunked_loss import LigerFusedLinearGRPOLoss

  length = min(1024, len(targets))
  grpo = LigerFusedLinearGRPOLoss(beta=0.0, use_ref_model=False, compiled=device == "cuda")
  shape = (len(targets) // length, length)
  ones = torch.ones(shape, device=device)
  return grpo(hidden.view(*shape, -1), matrix.t(), targets.view(shape), ones, torch.ones(shape[0], device=device))[0]


def peak():
  """Bytes at the peak so far."""
  if device == "cuda":
    return torch.cuda.max_memory_allocated()
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(work, results):
  """Seconds and MiB of one kind of work, put on the queue."""
  torch.manual_seed(0)
  random = lambda *shape: torch.randn(shape, device=device, dtype=dtype)  # no copy: the peak before is what is held
  hidden, matrix = random(rows, width).requires_grad_(), random(width, vocabulary).mul_(width**-0.5).requires_grad_()
  targets = torch.randint(vocabulary, (rows,), device=device)
  work(random(8, width).requires_grad_(), random(width, 16).requires_grad_(), targets[:8] % 16).backward()  # loads code
  times, before = [], peak()
  for _ in range(repeats + 1):
    hidden.grad = matrix.grad = None
    started = time.perf_counter()
    work(hidden, matrix, targets).backward()
    if device == "cuda":
      torch.cuda.synchronize()
    times.append(time.perf_counter() - started)
  gradients = hidden.nbytes + matrix.nbytes
  results.put([statistics.median(times[1:]), max(0, peak() - before - gradients) / 2**20])


if __name__ == "__main__":
  works = {"torch": cross_entropy} if kind == "all" else {}
  works["torch checkpoint"] = chunked
  if device == "cuda":
    works["liger grpo"] = liger
  taken, context = {}, multiprocessing.get_context("spawn")
  for name, work in works.items():
    results = context.Queue()
    process = context.Process(target=measure, args=(work, results))
    process.start()
    process.join()
    if process.exitcode == 0:
      taken[name] = results.get()
  print(json.dumps(taken))
