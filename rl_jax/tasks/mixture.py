"""Mixture of device tasks: one task over a joint vocabulary, with a level for each level of each component.

An id determines its component: id = C * (id within the component) + index of the component, for C components in the
order of their names. Every component computes every row, and each row keeps the result of its own; so a mixture costs
the sum of its components, and needs no branch on data. A prompt must identify its problem: give chain components of
different moduli `modulus_in_prompt=True`.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rl_jax.tasks import fields, splits
from rl_jax.tasks.task import DeviceTask, ExtraSpec, ForcedAnswer, Prompts, Split, Verdicts, Vocabulary


def get_config() -> dict[str, Any]:
  """Fields and their defaults."""
  return {
    # component name -> {"name": dotted path of a task, "weight": share in the mixture (default 1, 0 takes the component
    # out), and any fields of that task; the others take that task's defaults}
    "components": {
      "chain": {"name": "rl_jax.tasks.chain", "weight": 0.5},
      "addition": {"name": "rl_jax.tasks.addition", "weight": 0.5},
    },
  }


@dataclasses.dataclass(frozen=True)
class _Mixture:
  """The components, and how their tokens and levels map to the joint ones."""

  names: tuple[str, ...]
  tasks: tuple[DeviceTask, ...]
  shares: np.ndarray
  """[C], the sum is 1."""
  to_joint: tuple[np.ndarray, ...]
  """Joint id of each symbol of a component's vocabulary."""
  from_joint: tuple[np.ndarray, ...]
  """A component's id of each joint symbol; padding where it has none."""
  first_levels: np.ndarray
  """[C] joint index of each component's first level."""
  prompt_tokens: int
  response_tokens: int


def build(config: Mapping[str, Any]) -> DeviceTask:
  """Build the task of `config` (fields as in `get_config`). Raises ValueError, in one line, for an invalid field."""
  config = fields.complete(config, get_config(), where="task")
  components = fields.named(config["components"], where="task.components")
  tasks = _build_components(components)
  joint = Vocabulary(tuple(dict.fromkeys(symbol for task in tasks for symbol in task.vocabulary.symbols)))
  weights = np.array([component.get("weight", 1.0) for component in components.values()], np.float64)
  num_levels = [len(task.levels) for task in tasks]
  mixture = _Mixture(
    names=tuple(components),
    tasks=tasks,
    shares=(weights / weights.sum()).astype(np.float32),
    to_joint=tuple(_symbol_map(task.vocabulary, joint) for task in tasks),
    from_joint=tuple(_symbol_map(joint, task.vocabulary) for task in tasks),
    first_levels=np.cumsum([0, *num_levels[:-1]]).astype(np.int32),
    prompt_tokens=max(task.prompt_tokens for task in tasks),
    response_tokens=max(task.response_tokens for task in tasks),
  )
  return DeviceTask(
    vocabulary=joint,
    prompt_tokens=mixture.prompt_tokens,
    response_tokens=mixture.response_tokens,
    levels=tuple(f"{name}/{level}" for name, task in zip(components, tasks, strict=True) for level in task.levels),
    problem_ids=partial(_problem_ids, mixture),
    prompts=partial(_prompts, mixture),
    verify=partial(_verify, mixture),
    forced_answer=_forced_answer(mixture),
    demonstrate=partial(_demonstrate, mixture),
    solutions=partial(_solutions, mixture) if all(task.solutions for task in tasks) else None,
    provides=_provided(tasks),
    objectives=_objectives(tasks),
  )


def _provided(tasks: tuple[DeviceTask, ...]) -> dict[str, ExtraSpec]:
  """Extras provided by all components in the same form."""
  alike = lambda name, spec: all(name in task.provides and task.provides[name][:2] == spec[:2] for task in tasks)
  return {name: spec for name, spec in tasks[0].provides.items() if alike(name, spec)}


def _objectives(tasks: tuple[DeviceTask, ...]) -> tuple[str, ...]:
  """Objectives named by all components, in the order of the first."""
  return tuple(name for name in tasks[0].objectives if all(name in task.objectives for task in tasks))


def _build_components(components: Mapping[str, Any]) -> tuple[DeviceTask, ...]:
  tasks, fractions = [], {}
  for name, component in components.items():
    where = f"task.components.{name}"
    if "name" not in component:
      raise ValueError(f"{where}: no `name`; give the dotted path of a task, as in 'rl_jax.tasks.chain'")
    try:
      module = importlib.import_module(component["name"])
    except ModuleNotFoundError as error:
      raise ValueError(f"{where}.name: cannot import {component['name']!r} ({error})") from error
    values = {key: component[key] for key in component if key not in ("name", "weight")}
    full = ml_collections.ConfigDict(fields.complete(values, module.get_config(), where=where))
    try:
      tasks.append(module.build(full))
    except ValueError as error:
      raise ValueError(f"{where}: {error}") from error
    if "held_out_fraction" in full:
      fractions[name] = full.held_out_fraction
  turning = [name for name, task in zip(components, tasks, strict=True) if task.turns is not None]
  if turning:
    raise ValueError(f"task.components.{turning[0]}: a task of several turns cannot be part of a mixture")
  if len(set(fractions.values())) > 1:
    raise ValueError(
      f"task.components: different held_out_fraction {fractions}; a problem of two components could be in both splits, "
      "so give all the same"
    )
  return tuple(tasks)


def _symbol_map(source: Vocabulary, target: Vocabulary) -> np.ndarray:
  return np.array(
    [target.symbols.index(symbol) if symbol in target.symbols else Vocabulary.pad_id for symbol in source.symbols],
    np.int32,
  )


def _problem_ids(mixture: _Mixture, key: PRNGKeyArray, n: int, split: Split) -> Int[Array, " n"]:
  num = len(mixture.tasks)
  uniform = jax.random.uniform(jax.random.fold_in(key, 0), (n,))
  component = jnp.sum(uniform[:, None] >= np.cumsum(mixture.shares)[:-1], axis=1, dtype=jnp.int32)
  ids = [task.problem_ids(jax.random.fold_in(key, 1 + c), n, split) for c, task in enumerate(mixture.tasks)]
  # Modulo, because ids of a component without a pool go up to 2**31: the joint id must stay an int32.
  return _select(component, ids) % (splits.UNLIMITED_IDS // num) * num + component


def _prompts(mixture: _Mixture, ids: Int[Array, " N"], split: Split) -> Prompts:
  num = len(mixture.tasks)
  component = ids % num
  parts = [task.prompts(ids // num, split) for task in mixture.tasks]
  tokens, masks = [], []
  metadata: dict[str, Array] = {}
  for c, (name, part) in enumerate(zip(mixture.names, parts, strict=True)):
    left = ((0, 0), (mixture.prompt_tokens - part.tokens.shape[1], 0))
    tokens.append(jnp.pad(jnp.asarray(mixture.to_joint[c])[part.tokens], left, constant_values=Vocabulary.pad_id))
    masks.append(jnp.pad(part.mask, left))
    metadata |= {f"{name}/{key}": value for key, value in part.metadata.items()}
  return Prompts(
    tokens=_select(component, tokens),
    mask=_select(component, masks),
    ids=ids,
    levels=_select(component, [part.levels + first for part, first in zip(parts, mixture.first_levels, strict=True)]),
    metadata=metadata,
  )


def _own_prompts(mixture: _Mixture, prompts: Prompts, c: int) -> Prompts:
  """The prompts as component c made them. In rows of other components only ids and metadata are its own."""
  name, task = mixture.names[c], mixture.tasks[c]
  width = prompts.tokens.shape[1] - task.prompt_tokens
  return Prompts(
    tokens=_translate(prompts.tokens[:, width:], mixture.from_joint[c]),
    mask=prompts.mask[:, width:],
    ids=prompts.ids // len(mixture.tasks),
    levels=jnp.clip(prompts.levels - mixture.first_levels[c], 0, len(task.levels) - 1),
    metadata={
      key.removeprefix(f"{name}/"): value for key, value in prompts.metadata.items() if key.startswith(f"{name}/")
    },
  )


def _verify(mixture: _Mixture, prompts: Prompts, tokens: Int[Array, "B R"], mask: Bool[Array, "B R"]) -> Verdicts:
  """The verdict of each row's component. Every extra of any component is kept: -1 or False in the rows of one without.

  A symbol that the component's vocabulary lacks reaches its verifier as padding within the mask.
  """
  component = prompts.ids % len(mixture.tasks)
  parts = [
    task.verify(_own_prompts(mixture, prompts, c), _translate(tokens, mixture.from_joint[c]), mask)
    for c, task in enumerate(mixture.tasks)
  ]
  extras = {key: value for part in reversed(parts) for key, value in part.extras.items()}
  return Verdicts(
    rewards=_select(component, [part.rewards for part in parts]),
    reward_mask=_select(component, [part.reward_mask for part in parts]),
    step_ids=_select(component, [part.step_ids for part in parts]),
    extras={
      key: _select(component, [part.extras.get(key, _missing(like)) for part in parts]) for key, like in extras.items()
    },
    objectives=_shared_objectives(mixture, component, parts),
    token_rewards=_token_rewards(component, parts),
  )


def _token_rewards(component: Int[Array, " B"], parts: list[Verdicts]) -> Float[Array, "B R"] | None:
  """Rewards where they were earned; 0 in the rows of a component that says nothing of it."""
  if all(part.token_rewards is None for part in parts):
    return None
  nothing = jnp.zeros(parts[0].step_ids.shape, jnp.float32)
  return _select(component, [nothing if part.token_rewards is None else part.token_rewards for part in parts])


def _shared_objectives(
  mixture: _Mixture, component: Int[Array, " B"], parts: list[Verdicts]
) -> Float[Array, "B K"] | None:
  shared = _objectives(mixture.tasks)
  if not shared:
    return None
  columns = [np.array([task.objectives.index(name) for name in shared]) for task in mixture.tasks]
  values = [part.objectives[:, own] for part, own in zip(parts, columns, strict=True) if part.objectives is not None]
  return _select(component, values)


def _forced_answer(mixture: _Mixture) -> ForcedAnswer | None:
  """Forced answer of the components, if all have one with the same opening."""
  forced = [task.forced_answer for task in mixture.tasks]
  joint = lambda c, form: tuple(int(mixture.to_joint[c][token]) for token in form.opening)
  openings = {joint(c, form) for c, form in enumerate(forced) if form}
  if len(openings) != 1 or None in forced:
    return None

  def answers(prompts: Prompts) -> tuple[Int[Array, "N A"], Bool[Array, "N A"]]:
    parts = [form.answers(_own_prompts(mixture, prompts, c)) for c, form in enumerate(forced) if form]
    width = max(mask.shape[1] for _, mask in parts)
    wide = lambda x: jnp.pad(x, ((0, 0), (0, width - x.shape[1])))
    component = prompts.ids % len(mixture.tasks)
    tokens = [wide(jnp.asarray(mixture.to_joint[c])[part]) for c, (part, _) in enumerate(parts)]
    return _select(component, tokens), _select(component, [wide(mask) for _, mask in parts])

  return ForcedAnswer(openings.pop(), answers)


def _demonstrate(
  mixture: _Mixture, key: PRNGKeyArray, prompts: Prompts
) -> tuple[Int[Array, "N R"], Bool[Array, "N R"]]:
  return _written(mixture, prompts, lambda c, task, own: task.demonstrate(jax.random.fold_in(key, c), own))


def _solutions(mixture: _Mixture, prompts: Prompts) -> tuple[Int[Array, "N R"], Bool[Array, "N R"]]:
  return _written(mixture, prompts, lambda c, task, own: task.solutions(own))


def _written(
  mixture: _Mixture, prompts: Prompts, write: Callable[[int, Any, Prompts], tuple[Array, Array]]
) -> tuple[Int[Array, "N R"], Bool[Array, "N R"]]:
  """(tokens, mask) of the response that each row's component writes: (its index, the task, its prompts) -> response."""
  tokens, masks = [], []
  for c, task in enumerate(mixture.tasks):
    part, mask = write(c, task, _own_prompts(mixture, prompts, c))
    right = ((0, 0), (0, mixture.response_tokens - part.shape[1]))
    tokens.append(jnp.pad(jnp.asarray(mixture.to_joint[c])[part], right, constant_values=Vocabulary.pad_id))
    masks.append(jnp.pad(mask, right))
  component = prompts.ids % len(mixture.tasks)
  return _select(component, tokens), _select(component, masks)


def _select(component: Int[Array, " N"], parts: list[Array]) -> Array:
  """Row n of parts[component[n]]; ValueError if the parts differ in shape."""
  shapes = {part.shape for part in parts}
  if len(shapes) > 1:
    raise ValueError(f"components give arrays of different shapes {sorted(shapes)} for the same thing; make them equal")
  out = parts[0]
  for c, part in enumerate(parts[1:], start=1):
    out = jnp.where((component == c).reshape((-1,) + (1,) * (part.ndim - 1)), part, out)
  return out


def _missing(like: Array) -> Array:
  return jnp.full(like.shape, False if like.dtype == bool else -1, like.dtype)


def _translate(tokens: Int[Array, "B R"], table: np.ndarray) -> Int[Array, "B R"]:
  valid = (tokens >= 0) & (tokens < len(table))
  return jnp.where(valid, jnp.asarray(table)[jnp.where(valid, tokens, 0)], Vocabulary.pad_id)
