"""Data passed from `signal` to `loss`: streams of targets and weights, and loss terms that are each divided once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import flax.struct
from jaxtyping import Array, Float

from rl_jax.kernels.reductions import Mean


@flax.struct.dataclass
class Stream:
  """Per-token targets and weights of one loss term."""

  targets: Float[Array, "B T"]
  """Advantages, value targets or other inputs of the stream's loss; constants without gradient."""
  weights: Float[Array, "B T"]
  """Weights, 0 on tokens that the term ignores. They may be non-zero outside `loss_mask`, on hints."""


@flax.struct.dataclass
class Term:
  """Term of a loss: `mean` is divided once, after the sum over all rows, then scaled."""

  mean: Mean
  coefficient: float | Array = 1.0
  trains: str | None = flax.struct.field(pytree_node=False, default=None)
  """Model whose outputs the term reads; None: any. If no term of a model has weight in a minibatch, the model takes no
  step: only momentum would move it."""


class Signal(NamedTuple):
  """Streams and metrics that a method computes from a batch, constants for the gradient."""

  streams: dict[str, Stream]
  """Streams by name; samples and credit evaluation use "policy"."""
  metrics: dict[str, Mean] = {}  # noqa: RUF012


Streams = Mapping[str, Stream]
"""Streams by name."""

Outputs = Mapping[str, Mapping[str, Float[Array, "..."]]]
"""Outputs of the trained models by model and output name, e.g. outputs["policy"]["logprobs"]; for frozen models only
outputs that need no rows, e.g. outputs["teacher"]["readout"]."""


class Loss(NamedTuple):
  """Terms to minimise and metrics to log. Weights depend only on trajectories and signal, never on outputs, so they can
  be summed over a minibatch before its micro-batches are differentiated."""

  terms: dict[str, Term]
  metrics: dict[str, Mean]
