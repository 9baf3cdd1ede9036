"""Loading of parameters, tensor by tensor, limited to what the devices of this process hold."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.errors import ModelFileError
from rl_jax.models.model import Model, Params

Index = tuple[slice, ...]
"""Part of a tensor: start and stop along every axis."""

MOST_LAYERS = 10_000
"""Largest number of layers in a file."""


class Tensors(Protocol):
  """The tensors of a file format, as stored."""

  @property
  def shapes(self) -> Mapping[str, tuple[int, ...]]:
    """Shapes of all tensors by name."""
    ...

  def read(self, tensor: str, index: Index) -> np.ndarray:
    """Part of a tensor, in a floating-point type."""
    ...


@dataclasses.dataclass(frozen=True)
class Names:
  """Names of tensors in a file format, by the path of the parameter, as "layer_0/attention/query".

  Attributes:
    whole: names by path, outside of the layers.
    layer: names by path, inside a layer.
    prefix: of a layer's names, with {} for its number.
  """

  whole: Mapping[str, str]
  layer: Mapping[str, str]
  prefix: str

  def tensor(self, parameter: str) -> str:
    """The name of a parameter's tensor.

    Raises: ModelFileError: the format knows no such parameter.
    """
    first, _, rest = parameter.partition("/")
    inside = first.startswith("layer_")
    name = self.layer.get(rest) if inside else self.whole.get(parameter)
    if name is None:
      raise ModelFileError(f"parameter {parameter!r} is none of a pretrained transformer: no file holds it")
    return self.prefix.format(first.removeprefix("layer_")) + name if inside else name


@dataclasses.dataclass(frozen=True)
class Source:
  """A model on disk.

  Attributes:
    path: its folder or file.
    config: its sizes; the output layer is that of a language model.
    context: tokens that it was made for.
    ignored: tensors that may be present and are not read.
    left_out: names of the parts that are not read, such as those for images; "": none.

  Raises: ModelFileError: a tensor is missing, has the wrong shape, or is unknown to the model.
  """

  path: Path
  config: TransformerConfig
  context: int
  names: Names
  tensors: Tensors
  ignored: frozenset[str] = frozenset()
  left_out: str = ""

  def __post_init__(self):
    expected = {self.names.tensor(name): _in_file(name, x, self.config) for name, x in _named(self.config).items()}
    stored = self.tensors.shapes
    missing = [name for name in expected if name not in stored]
    if missing:
      raise ModelFileError(f"{self.path} has no tensor {missing[0]!r} ({len(missing)} of {len(expected)} are missing)")
    for name, shape in expected.items():
      if stored[name] != shape:
        raise ModelFileError(f"{self.path}: tensor {name!r} has shape {stored[name]}, the config there says {shape}")
    surplus = sorted(set(stored) - set(expected) - self.ignored)
    if surplus:
      raise ModelFileError(f"{self.path}: the architecture has no tensor {surplus[0]!r} ({len(surplus)} such tensors)")

  def shape(self, parameter: str) -> tuple[int, ...]:
    """Shape of a parameter in our layout."""
    shape = self.tensors.shapes.get(self.names.tensor(parameter))
    if shape is None:
      raise ModelFileError(f"{self.path} has no tensor {self.names.tensor(parameter)!r}, for {parameter!r}")
    return shape[::-1] if is_transposed(parameter, len(shape), self.config) else shape

  def read(self, parameter: str, index: Index) -> np.ndarray:
    """A part of a parameter in our layout."""
    tensor = self.names.tensor(parameter)
    if is_transposed(parameter, len(index), self.config):
      return self.tensors.read(tensor, index[::-1]).T
    return self.tensors.read(tensor, index)


def config_of(sizes: Mapping[str, Any], path: Path) -> TransformerConfig:
  """The config of a file's sizes.

  Raises: ModelFileError: they do not fit one another.
  """
  try:
    return TransformerConfig(**sizes)
  except ValueError as error:
    raise ModelFileError(f"{path}: {error}") from error


def is_transposed(parameter: str, axes: int, config: TransformerConfig) -> bool:
  """Return whether files store a parameter transposed: matrices are [outputs, inputs] there, embeddings
  [vocabulary, width]."""
  return axes == 2 and (parameter != "embedding" or config.tied_embeddings)


def path_name(path: tuple[Any, ...]) -> str:
  """Name of a parameter from its path in a tree."""
  return "/".join(key.key for key in path)


def load(source: Source, model: Model, shardings: Any = None, dtype: str | None = None) -> Params:
  """Load the model's parameters in the form of `Model.init`, unboxed and without adapters, which files do not have.

  Tensors are read one after another, each limited to the slices of this process's devices, so that a process never
  holds more than that share and one tensor.

  Args:
    shardings: a tree of shardings like the parameters; None: all on the first device.
    dtype: None: the model's `param_dtype`.

  Raises: ModelFileError: the files lack a parameter, or it has another shape.
  """
  abstract = abstract_params(model.base.config)
  if shardings is None:
    shardings = jax.tree.map(lambda leaf: SingleDeviceSharding(jax.local_devices()[0]), abstract)
  target = np.dtype(dtype or model.config.param_dtype)

  def one(path, leaf, sharding) -> jax.Array:
    name = path_name(path)
    if source.shape(name) != leaf.shape:
      raise ModelFileError(f"{source.path}: {name} has shape {source.shape(name)}, that of the model is {leaf.shape}")
    parts: dict[tuple[Any, ...], np.ndarray] = {}

    def part(index: Any) -> np.ndarray:
      bounds = tuple(cut.indices(size)[:2] for cut, size in zip(index, leaf.shape, strict=True))
      if bounds not in parts:
        parts[bounds] = source.read(name, tuple(slice(*ends) for ends in bounds)).astype(target)
      return parts[bounds]

    # Wait for the transfer, so that the host does not read ahead.
    return jax.block_until_ready(jax.make_array_from_callback(leaf.shape, sharding, part))

  return jax.tree_util.tree_map_with_path(one, abstract, shardings)


@functools.lru_cache(maxsize=8)
def abstract_params(config: TransformerConfig) -> Params:
  """Shapes of the parameters, as a tree."""
  return jax.eval_shape(nn.unbox, Model(config).abstract)


def _named(config: TransformerConfig) -> dict[str, tuple[int, ...]]:
  """Shapes of the parameters by name. Only one layer is traced: all are alike, and a file may have any number."""
  one_layer = abstract_params(dataclasses.replace(config, layers=1))
  shapes = {path_name(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(one_layer)}
  of_layer = {name.removeprefix("layer_0/"): shape for name, shape in shapes.items() if name.startswith("layer_0/")}
  layers = {f"layer_{i}/{name}": shape for i in range(config.layers) for name, shape in of_layer.items()}
  return {name: shape for name, shape in shapes.items() if not name.startswith("layer_0/")} | layers


def _in_file(parameter: str, shape: tuple[int, ...], config: TransformerConfig) -> tuple[int, ...]:
  return shape[::-1] if is_transposed(parameter, len(shape), config) else shape
