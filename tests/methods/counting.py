"""Number of tokens that the sampler writes, counted independently of the trajectories."""

from __future__ import annotations

import contextlib
from unittest import mock

import jax


@contextlib.contextmanager
def counted(*modules):
  """Yield a list of the numbers of tokens that each call of `sample` in these modules writes; whole after an exit."""
  counts: list[int] = []

  def counting(sample):
    def run(*args, **options):
      done = sample(*args, **options)
      jax.debug.callback(lambda count: counts.append(int(count)), done.mask.sum())
      return done

    return run

  with contextlib.ExitStack() as stack:
    for module in modules:
      stack.enter_context(mock.patch.object(module, "sample", counting(module.sample)))
    yield counts
    jax.effects_barrier()
