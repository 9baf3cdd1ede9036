"""A public kernel with the shapes of its arguments: what the invariance suites run over."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SIZES = {"B": 6, "T": 5, "S": 4, "K": 3, "V": 11}
"""Default lengths of the axes: rows, tokens, segments (steps, turns), objectives, vocabulary."""
IDS = ("step_ids", "turn_ids", "segment_ids")


def quick_jit(function: Callable[..., Any]) -> Callable[..., Any]:
  """jit that spends less time on machine code: these programs are tiny and run a few times."""
  options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
  return jax.jit(function, compiler_options=options)


@cache
def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
  """A function with options as one program, made once for all calls with arrays of the same shapes; gives NumPy's."""
  program = quick_jit(partial(function, **options))
  return lambda *arrays: jax.tree.map(np.asarray, program(*arrays))


@dataclass(frozen=True)
class Kernel:
  """One public function, with options, under the invariance suites.

  `axes`: argument to its axes, one letter each (`SIZES`, or others named in `sizes`); "" is a scalar.
  `mask`: the mask that covers the values of every argument whose axes begin with its own; None: the function has none.
  `covers`: argument to the mask that covers it, where that is another one; "" where nothing covers it.
  `scope`: what an output entry depends on, so how a batch may be split: "row", "group" or "batch".
  `gradients`: arguments to differentiate, empty where the output carries no gradient.
  `zero_masked`: whether outputs are 0 in masked slots.
  `moves`: axes of the largest array that has to move between devices, where rows share more than a number each.
  `ordered`: the order of the rows is part of the input, such as the order of sampling.
  `draws`: argument to a function of (rng, shape) that draws it, where its name does not say how.
  """

  function: Callable[..., Any]
  axes: dict[str, str]
  options: dict[str, Any] = field(default_factory=dict)
  mask: str | None = "mask"
  scope: str = "row"
  gradients: tuple[str, ...] = ()
  zero_masked: bool = True
  public: Callable[..., Any] | None = None
  covers: dict[str, str] = field(default_factory=dict)
  moves: str = ""
  ordered: bool = False
  draws: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = field(default_factory=dict)
  sizes: dict[str, int] = field(default_factory=dict)

  @property
  def name(self) -> str:
    function = self.public or self.function
    options = ",".join(f"{k}={v}" for k, v in self.options.items())
    return f"{function.__module__.removeprefix('rl_jax.kernels.')}.{function.__name__}({options})"

  def call(self, arrays: dict[str, Any]) -> list[Any]:
    """The output leaves."""
    return jax.tree.leaves(self.function(**arrays, **self.options))

  def eager(self, arrays: dict[str, Any]) -> list[Any]:
    """The output leaves, operation by operation."""
    return self.call({name: jnp.asarray(x) for name, x in arrays.items()})

  @cached_property
  def outputs(self) -> Callable[[dict[str, Any]], list[Any]]:
    """The output leaves as one program: quicker to make than one for each operation."""
    return quick_jit(self.call)

  @cached_property
  def expected(self) -> list[Any]:
    """`outputs` for the arguments that a new generator of seed 0 makes: many tests of a file ask for it."""
    return self.outputs(self.make(np.random.default_rng(0)))

  def gradient_of(self, arrays: dict[str, Any]) -> dict[str, Any]:
    """Gradients of a fixed combination of all float outputs."""

    def total(inputs):
      leaves = [x for x in self.call({**arrays, **inputs}) if jnp.issubdtype(x.dtype, jnp.floating)]
      return sum((jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape) * x).sum() for x in leaves)

    return jax.grad(total)({name: arrays[name] for name in self.gradients})

  @cached_property
  def gradient(self) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return quick_jit(self.gradient_of)

  def make(self, rng: np.random.Generator, **sizes: int) -> dict[str, np.ndarray]:
    """Random arguments: gaps in token masks, one row without tokens, one unscored row, groups of several sizes."""
    sizes = SIZES | self.sizes | sizes
    made = {}
    for name, axes in self.axes.items():
      shape = tuple(sizes[a] for a in axes)
      made[name] = self.draws[name](rng, shape) if name in self.draws else _draw(rng, name, axes, shape, sizes)
    return made

  def covered(self, name: str, arrays: dict[str, np.ndarray]) -> np.ndarray | None:
    """Mask of the entries where an argument's values must not matter, or None."""
    axes, mask = self.axes[name], self.covers.get(name, self.mask)
    if not mask or is_mask(name) or not axes.startswith(self.axes[mask]):
      return None
    off = arrays[mask] == 0
    if axes == "BTV":  # the logits of slot t score the token of slot t + 1
      off = np.concatenate([off[:, 1:], np.ones_like(off[:, :1])], axis=1)
    return np.broadcast_to(off.reshape(off.shape + (1,) * (arrays[name].ndim - off.ndim)), arrays[name].shape)


def is_mask(name: str) -> bool:
  """Return whether an argument is itself a mask."""
  return name.endswith("mask") or name == "weights"


def _draw(rng, name, axes, shape, sizes):
  if name.endswith("mask"):
    if axes.endswith("S") and len(axes) > 1:  # segments that exist come first: a ragged number per row
      counts = rng.integers(0, shape[-1] + 1, shape[:-1])
      counts[0], counts[-1] = shape[-1], 0
      return np.arange(shape[-1]) < counts[..., None]
    mask = rng.random(shape) < 0.75
    mask[0] = True
    mask[-1] = False
    if axes == "BT":
      mask[:, 0] = False  # the first slot of a sequence is never sampled
    return mask
  if name == "weights":
    return (rng.random(shape) * (_draw(rng, "mask", axes, shape, sizes))).astype(np.float32)
  if name == "group_ids":
    return np.sort(rng.permuted(np.arange(shape[0]) // math.ceil(shape[0] / 2))).astype(np.int32) * 5 - 2
  if name in IDS:
    return np.minimum(np.cumsum(rng.random(shape) < 0.6, axis=-1) - 1, sizes["S"] - 1).astype(np.int32)
  if name == "tokens":
    return rng.integers(0, sizes["V"], shape).astype(np.int32)
  if name == "lengths":
    return rng.integers(0, 300, shape).astype(np.int32)
  if name == "correct":
    return (np.arange(math.prod(shape)) % 2 == 0).reshape(shape)
  if name in ("a", "lam"):
    return rng.random(shape).astype(np.float32)
  if name == "metric":
    return rng.integers(0, 2, shape).astype(np.float32)
  if "logprobs" in name:
    return -np.abs(rng.normal(size=shape)).astype(np.float32)
  return rng.normal(size=shape).astype(np.float32)
