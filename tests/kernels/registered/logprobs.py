"""Logprobs and divergences from hidden states and output matrices."""

from __future__ import annotations

import numpy as np

from rl_jax.kernels.logprobs import distillation, linear_logprobs, reference
from tests.kernels.kernel import Kernel

# Shapes so small that the gradient by a matrix counts as group-sized in the suite over devices.
SIZES = {"D": 3, "E": 2, "N": 11}
HIDDEN = {"hidden": "BTD", "matrix": "DN", "targets": "BT", "mask": "BT"}
PAIRS = {
  "student_hidden": "BTD",
  "student_matrix": "DN",
  "teacher_hidden": "BTE",
  "teacher_matrix": "EN",
  "mask": "BT",
}


def _targets(rng, shape):
  return rng.integers(0, SIZES["N"], shape).astype(np.int32)


def _logprobs(**options):
  axes = HIDDEN if options["layout"] == "DV" else {**HIDDEN, "matrix": "ND"}
  return Kernel(
    linear_logprobs, axes, options, gradients=("hidden", "matrix"), draws={"targets": _targets}, sizes=SIZES
  )


def _divergence(function, **options):
  gradients = ("student_hidden", "student_matrix")
  return Kernel(function, PAIRS, {"layout": "DV", **options}, gradients=gradients, sizes=SIZES)


KERNELS = [
  _logprobs(layout="DV", implementation="reference", temperature=0.7, soft_cap=2.0, top_k=2),
  _logprobs(layout="DV", implementation="chunked", temperature=0.7, soft_cap=2.0),
  _logprobs(layout="VD", implementation="chunked", top_k=2),
  Kernel(
    reference.linear_scores,
    {"hidden": "BTD", "matrix": "DN"},
    {"layout": "DV"},
    mask=None,
    gradients=("hidden", "matrix"),
    sizes=SIZES,
  ),
  _divergence(distillation.linear_generalized_jsd, temperature=0.7, beta=0.3),
  _divergence(distillation.linear_generalized_jsd, soft_cap=2.0, implementation="reference"),
  _divergence(distillation.linear_forward_kl),
  _divergence(distillation.linear_reverse_kl),
]
