"""Every public kernel with the shapes of its arguments: what the invariance suites run over.

A new kernel is one entry of `KERNELS`; `test_invariances.py` fails while a public function of `kernels/` has none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kernels import reductions, scans
from kernels.advantages import gae, group
from kernels.curricula import dynamic_sampling
from kernels.logprobs import reference
from kernels.losses import kl, policy_gradient, preference, supervised, value
from kernels.rewards import length

MASKS = ("mask", "token_mask", "attention_mask", "weights")


def quick_jit(function: Callable[..., Any]) -> Callable[..., Any]:
  """jit that spends less time on machine code: these programs are tiny and run a few times."""
  options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
  return jax.jit(function, compiler_options=options)


@dataclass(frozen=True)
class Kernel:
  """One public function, with options, under the invariance suites.

  `axes`: argument to its axes, letters of B rows, T tokens, K objectives, V vocabulary; "" is a scalar.
  `mask`: the mask that covers the values; None where the function has none.
  `scope`: what an output entry depends on, so how a batch may be split: "row", "group" or "batch".
  `gradients`: arguments to differentiate, empty where the output carries no gradient.
  `zero_masked`: whether outputs are 0 in masked slots.
  """

  function: Callable[..., Any]
  axes: dict[str, str]
  options: dict[str, Any] = field(default_factory=dict)
  mask: str | None = "mask"
  scope: str = "row"
  gradients: tuple[str, ...] = ()
  zero_masked: bool = True
  public: Callable[..., Any] | None = None

  @property
  def name(self) -> str:
    function = self.public or self.function
    options = ",".join(f"{k}={v}" for k, v in self.options.items())
    return f"{function.__module__.removeprefix('kernels.')}.{function.__name__}({options})"

  def call(self, arrays: dict[str, Any]) -> list[Any]:
    """The output leaves."""
    return jax.tree.leaves(self.function(**arrays, **self.options))

  @cached_property
  def jitted(self) -> Callable[[dict[str, Any]], list[Any]]:
    return quick_jit(self.call)

  def gradient_of(self, arrays: dict[str, Any]) -> dict[str, Any]:
    """Gradients of a fixed combination of all float outputs."""

    def total(inputs):
      leaves = [x for x in self.call({**arrays, **inputs}) if jnp.issubdtype(x.dtype, jnp.floating)]
      return sum((jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape) * x).sum() for x in leaves)

    return jax.grad(total)({name: arrays[name] for name in self.gradients})

  @cached_property
  def gradient(self) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return quick_jit(self.gradient_of)

  def make(self, rng: np.random.Generator, B: int = 6, T: int = 5, K: int = 3, V: int = 11) -> dict[str, np.ndarray]:
    """Random arguments: gaps in token masks, one row without tokens, one unscored row, groups of several sizes."""
    sizes = {"B": B, "T": T, "K": K, "V": V}
    return {name: _draw(rng, name, tuple(sizes[a] for a in axes)) for name, axes in self.axes.items()}

  def covered(self, name: str, arrays: dict[str, np.ndarray]) -> np.ndarray | None:
    """Where an argument's values must not matter."""
    axes, mask = self.axes[name], self.mask
    if mask is None or name == mask or name in MASKS[:3]:
      return None
    if mask == "mask" and self.axes[mask] != axes[: len(self.axes[mask])]:
      return None
    off = arrays[mask] == 0
    if axes == "BTV":  # the logits of slot t score the token of slot t + 1
      off = np.concatenate([off[:, 1:], np.ones_like(off[:, :1])], axis=1)
    return np.broadcast_to(off.reshape(off.shape + (1,) * (arrays[name].ndim - off.ndim)), arrays[name].shape)


def _draw(rng, name, shape):
  if name in ("mask", "token_mask", "attention_mask"):
    mask = rng.random(shape) < 0.75
    mask[0] = True
    mask[-1] = False
    if len(shape) == 2:
      mask[:, 0] = False  # the first slot of a sequence is never sampled
    return mask
  if name == "weights":
    return (rng.random(shape) * (_draw(rng, "mask", shape))).astype(np.float32)
  if name == "group_ids":
    return np.sort(rng.permuted(np.arange(shape[0]) // 3)).astype(np.int32) * 5 - 2
  if name == "tokens":
    return rng.integers(0, 11, shape).astype(np.int32)
  if name == "lengths":
    return rng.integers(0, 300, shape).astype(np.int32)
  if name == "correct":
    return np.arange(shape[0]) % 2 == 0
  if name in ("a", "lam"):
    return rng.random(shape).astype(np.float32)
  if name == "metric":
    return rng.integers(0, 2, shape).astype(np.float32)
  if "logprobs" in name:
    return -np.abs(rng.normal(size=shape)).astype(np.float32)
  return rng.normal(size=shape).astype(np.float32)


ROWS = {"rewards": "B", "group_ids": "B", "mask": "B"}
POLICY = {"logprobs": "BT", "old_logprobs": "BT", "advantages": "BT", "mask": "BT"}
GROUPED = {"x": "B", "group_ids": "B", "mask": "B"}
WEIGHTED = {"x": "B", "group_ids": "B", "weights": "B"}


def _grpo(**options):
  scope = "batch" if options.get("scale") == "batch" else "group"
  return Kernel(group.grpo, ROWS, options, scope=scope)


def _policy(**options):
  return Kernel(policy_gradient.policy_gradient, POLICY, options, gradients=("logprobs",))


def _kl(**options):
  return Kernel(
    kl.kl, {"logprobs": "BT", "ref_logprobs": "BT", "mask": "BT"}, options, gradients=("logprobs",)
  )


def _aggregate(mode, **options):
  return Kernel(
    reductions.aggregate,
    {"losses": "BT", "weights": "BT"},
    {"mode": mode, **options},
    mask="weights",
    scope="batch" if mode == "constant" else "row",
    gradients=("losses",),
  )


def _whole_scan(x):
  return scans.reverse_scan(lambda c, x_t: (c + x_t, c * x_t), jnp.zeros(x.shape[0], x.dtype), x)


KERNELS = [
  Kernel(reductions.widen, {"x": "BT"}, mask=None, gradients=("x",)),
  Kernel(reductions.zero_masked, {"x": "BT", "mask": "BT"}, gradients=("x",)),
  Kernel(reductions.masked_mean, {"x": "BT", "weights": "BT"}, mask="weights", gradients=("x",)),
  Kernel(reductions.masked_mean, {"x": "BT", "weights": "BT"}, {"axis": 1}, mask="weights", gradients=("x",)),
  Kernel(reductions.per_token, {"x": "B", "mask": "BT"}, gradients=("x",)),
  Kernel(reductions.densify, {"group_ids": "B"}, mask=None, scope="batch"),
  Kernel(reductions.group_sum, WEIGHTED, mask="weights", scope="group", gradients=("x",), zero_masked=False),
  Kernel(reductions.group_mean, WEIGHTED, mask="weights", scope="group", gradients=("x",), zero_masked=False),
  Kernel(reductions.group_is_constant, GROUPED, scope="group", zero_masked=False),
  Kernel(reductions.group_deviations, GROUPED, scope="group", gradients=("x",)),
  Kernel(reductions.group_std, GROUPED, scope="group", gradients=("x",), zero_masked=False),
  Kernel(reductions.whiten, {"x": "BT", "mask": "BT"}, scope="batch", gradients=("x",)),
  Kernel(reductions.whiten, {"x": "BT", "mask": "BT"}, {"form": "openrlhf"}, scope="batch", gradients=("x",)),
  _aggregate("token_mean"),
  _aggregate("sequence_mean_token_mean"),
  _aggregate("sequence_mean_token_sum"),
  _aggregate("sequence_mean_constant", constant=4.0),
  _aggregate("constant", constant=4.0),
  Kernel(_whole_scan, {"x": "BT"}, mask=None, gradients=("x",), public=scans.reverse_scan),
  Kernel(scans.linear_recurrence, {"a": "BT", "b": "BT", "mask": "BT"}, gradients=("a", "b")),
  Kernel(scans.discounted_sums, {"x": "BT", "mask": "BT"}, {"discount": 0.9}, gradients=("x",)),
  Kernel(scans.discounted_sums, {"x": "BT", "mask": "BT"}, {"discount": 0.9, "gaps": "reset"}, gradients=("x",)),
  Kernel(
    scans.move_to_trainable,
    {"rewards": "BT", "mask": "BT", "attention_mask": "BT"},
    mask="attention_mask",
    gradients=("rewards",),
    zero_masked=False,
  ),
  _grpo(),
  _grpo(scale="batch"),
  _grpo(scale="none", singleton="zero"),
  _grpo(ddof=0),
  Kernel(group.dr_grpo, ROWS, scope="group"),
  Kernel(group.rloo, ROWS, scope="group"),
  Kernel(group.rloo, ROWS, {"singleton": "zero"}, scope="group"),
  Kernel(group.opo, {**ROWS, "lengths": "B"}, scope="group"),
  Kernel(group.gdpo, {**ROWS, "rewards": "BK"}, scope="batch"),
  Kernel(group.gdpo, {**ROWS, "rewards": "BK"}, {"normalization": "none"}, scope="group"),
  Kernel(group.reinforce_pp_baseline, {**ROWS, "token_mask": "BT"}, scope="batch"),
  Kernel(group.remax, {"token_rewards": "BT", "baselines": "B", "mask": "BT"}),
  Kernel(
    gae.gae,
    {"token_rewards": "BT", "values": "BT", "mask": "BT", "lam": "B", "bootstrap": "B"},
    {"discount": 0.9},
  ),
  Kernel(gae.length_adaptive_lambda, {"lengths": "B"}, mask=None),
  Kernel(gae.reinforce_pp, {"token_rewards": "BT", "mask": "BT"}, scope="batch"),
  _policy(),
  _policy(dual_clip=3.0, clip_high=0.28),
  _policy(clip="none"),
  _policy(clip="cispo"),
  _policy(ratio="sequence", clip_low=3e-4, clip_high=4e-4),
  _policy(ratio="sequence_sum"),
  Kernel(
    policy_gradient.truncated_importance_weights, {"old_logprobs": "BT", "behaviour_logprobs": "BT", "mask": "BT"}
  ),
  _kl(value="k1"),
  _kl(value="k2"),
  _kl(value="k3", log_ratio_clamp=20.0, value_clamp=10.0),
  _kl(value="k3", gradient="k2"),
  Kernel(
    kl.adaptive_kl_coefficient,
    {"coefficient": "", "kl_value": ""},
    {"target": 0.1, "horizon": 100.0},
    mask=None,
    scope="batch",
  ),
  Kernel(
    value.value_loss,
    {"values": "BT", "old_values": "BT", "returns": "BT", "mask": "BT"},
    gradients=("values",),
  ),
  Kernel(value.value_loss, {"values": "BT", "old_values": "BT", "returns": "BT", "mask": "BT"}, {"clip": None}),
  Kernel(supervised.negative_log_likelihood, {"logprobs": "BT", "mask": "BT"}, gradients=("logprobs",)),
  Kernel(
    supervised.positive_example_nll, {"logprobs": "BT", "correct": "B", "mask": "BT"}, gradients=("logprobs",)
  ),
  Kernel(
    preference.dpo,
    dict.fromkeys(
      ["chosen_logprobs", "rejected_logprobs", "ref_chosen_logprobs", "ref_rejected_logprobs", "mask"], "B"
    ),
    {"label_smoothing": 0.1},
    gradients=("chosen_logprobs", "rejected_logprobs"),
  ),
  Kernel(length.overlong_penalty, {"lengths": "B"}, {"max_length": 200, "buffer": 50}, mask=None),
  Kernel(dynamic_sampling.informative_groups, {"metric": "B", "group_ids": "B", "mask": "B"}, scope="group"),
  Kernel(
    reference.token_logprobs,
    {"logits": "BTV", "tokens": "BT", "mask": "BT"},
    {"temperature": 0.7},
    gradients=("logits",),
  ),
  Kernel(reference.categorical, {"logits": "BTV", "tokens": "BT"}, mask=None, gradients=("logits",)),
  Kernel(reference.align, {"x": "BT"}, mask=None, gradients=("x",)),
]
