"""Rooms with keys and doors: an environment with several sub-goals, recurring states and exact values.

Rooms of `width` x `height` cells are side by side, separated by walls. Each wall has a door in one row, which opens to
the holder of the key that lies in the room before it. The prompt "bc1g=" says: start in cell b, the key of the door is
in cell c, the door is in row 1 (from 0), the goal is cell g. Cells have letters, room by room and row by row:

  a b | e f        N
  c d # g h      W + E
                   S

A turn is one step, "S<end>"; the environment answers with the cell and the number of keys, "d1". A step against a wall
or a locked door changes nothing. Entering a key's cell takes the key. The episode ends at the goal, with the last turn,
and with any other kind of turn. The keys and the goal are worth 1 together. With `plans`, a turn first names a cell as
its sub-goal; see planned.py.

Values: see graph_values.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rl_jax.tasks import fields, splits
from rl_jax.tasks.environments import graph_values
from rl_jax.tasks.environments.environment import Environment, Problem, Step, as_task
from rl_jax.tasks.environments.planned import Subgoals, planned
from rl_jax.tasks.task import DeviceTask, ExtraSpec, Prompts, Split, Turns, Vocabulary

CELLS = "abcdefghijklmnopqrstuvwxyz"
ACTIONS = "NESW"
_SYMBOLS = ("<pad>", "<end>", *ACTIONS, *"=0123456789", *CELLS)
_NORTH, _EQUALS, _ZERO, _A = (_SYMBOLS.index(symbol) for symbol in "N=0a")
_END = Vocabulary.end_id
_TURN, _OBSERVATION = len("S."), len("d1")
_DOWN, _RIGHT = np.array([-1, 0, 1, 0]), np.array([0, 1, 0, -1])
_FIELDS_BEFORE_DOORS = 3

_LEVEL = {
  "doors": 1,  # 1 to 9; one more room than doors
  "weight": 1.0,  # share in the mixture of levels, relative to the others; 0 takes the level out
}


def get_config() -> dict[str, Any]:
  """The fields and their defaults. A level may leave out any of its fields."""
  return {
    "levels": {"one": dict(_LEVEL)},  # name -> fields of the level
    "width": 2,  # cells of a room from west to east; 26 cells in all, at most
    "height": 2,  # rows
    "max_turns": None,  # None: one more than the longest of the shortest paths; with fewer, some goals are too far
    "spare_tokens": 1,  # room in a turn beyond a step
    "key_reward": 0.0,  # reward of each key; the goal is worth the rest of 1
    "seed": 0,  # a different seed gives other problems for the same ids
    "pool_size": 0,  # ids (of each split) to draw problems from; 0: unlimited
    "held_out_fraction": 0.125,  # share of all problems that is never trained on, 1/64 to 1/2
    "stray_rate": 0.3,  # share of the steps of a demonstration that go in a random direction
    "plans": False,  # True: turns begin with a plan
    "plan_error_rate": 0.2,  # share of the plans of a demonstration that err
  }


class State(NamedTuple):
  """State of an episode."""

  cell: Int[Array, ""]
  keys: Int[Array, ""]
  """Keys that were taken, in the order of the doors."""


@dataclasses.dataclass(frozen=True)
class _Rooms:
  space: splits.Space
  turns: Turns
  width: int
  height: int
  doors: int
  """Largest number of doors of any level."""
  key_reward: float
  stray_rate: float

  @property
  def cells(self) -> int:
    return (self.doors + 1) * self.width * self.height


def build(config: Mapping[str, Any]) -> DeviceTask:
  """The task of `config` (fields as in `get_config`); ValueError in one line for a field that makes no sense."""
  return as_task(environment(config))


def environment(config: Mapping[str, Any]) -> Environment:
  """The environment of `config`. Raises: ValueError: a field makes no sense."""
  config = fields.complete(config, get_config(), where="task")
  width = fields.whole(config["width"], 2, len(CELLS), where="task.width")
  height = fields.whole(config["height"], 1, 9, where="task.height")
  check, choices = partial(_check_level, width * height), partial(_choices, width, height)
  levels, space = splits.read_levels(config, _LEVEL, check, choices)
  doors = max(level["doors"] for level in levels.values())
  longest = _longest(doors, width, height)
  most = longest + 1 if config["max_turns"] is None else config["max_turns"]
  spare = fields.whole(config["spare_tokens"], 0, 1024, where="task.spare_tokens")
  rooms = _Rooms(
    space=space,
    turns=Turns(fields.whole(most, 1, 1024, where="task.max_turns"), _TURN + spare, _OBSERVATION),
    width=width,
    height=height,
    doors=doors,
    key_reward=fields.number(config["key_reward"], 0.0, 1 / doors, where="task.key_reward"),
    stray_rate=fields.number(config["stray_rate"], 0.0, 1.0, where="task.stray_rate"),
  )
  number_of = lambda state: state.keys * rooms.cells + state.cell
  walks = graph_values.Walks(partial(_graph, rooms), number_of, _actions, longest, len(levels))
  error_rate = fields.number(config["plan_error_rate"], 0.0, 1.0, where="task.plan_error_rate")
  plain = Environment(
    vocabulary=Vocabulary(_SYMBOLS),
    prompt_tokens=2 * doors + len("bg="),
    levels=tuple(levels),
    turns=rooms.turns,
    problem_ids=partial(splits.draw_ids, space),
    prompts=partial(_prompts, rooms),
    reset=_reset,
    step=partial(_step, rooms),
    act=partial(_act, rooms, walks),
    state_id=lambda problem, state: number_of(state),
    facts={"subgoals": ExtraSpec(("K",), "int32", "keys held before the turn: the next key, or the goal, is sought")},
    expected_rewards=partial(graph_values.expected_rewards, walks),
    prover_rewards=partial(graph_values.prover_rewards, walks),
  )
  if not config["plans"]:
    return plain
  reached = lambda problem, state, cell: state.cell == cell
  return planned(
    plain, Subgoals(_A, rooms.cells, partial(_sought, rooms), reached, partial(_act_toward, rooms, walks), error_rate)
  )


def _longest(doors: int, width: int, height: int) -> int:
  """Number of steps of the longest of the shortest paths."""
  across = width + height - 2
  return doors * (2 * across + 1) + across


def _check_level(cells: int, level: dict[str, Any], name: str) -> dict[str, Any]:
  fields.whole(level["doors"], 1, 9, where=f"task.levels.{name}.doors")
  if cells * (level["doors"] + 1) > len(CELLS):
    raise ValueError(
      f"task.levels.{name}.doors={level['doors']} makes {cells * (level['doors'] + 1)} cells, more than {len(CELLS)}: "
      "take fewer doors, or lower task.width or task.height"
    )
  return level


def _choices(width: int, height: int, level: Mapping[str, Any]) -> list[list[int]]:
  """Possible values of each part of a problem: the number of doors, the start, the goal within its room; for each door,
  its key within the room, and its row. The first key is one of the cells other than the start."""
  cells, rows = list(range(width * height)), list(range(height))
  return [[level["doors"]], cells, cells, cells[:-1], rows] + [cells, rows] * (level["doors"] - 1)


def _prompts(rooms: _Rooms, ids: Int[Array, " N"], split: Split) -> Prompts:
  levels, content = splits.draw_problems(rooms.space, ids, split)
  doors, size = content[:, 0], rooms.width * rooms.height
  keys, rows = content[:, _FIELDS_BEFORE_DOORS::2], content[:, _FIELDS_BEFORE_DOORS + 1 :: 2]
  keys = keys.at[:, 0].add(keys[:, 0] >= content[:, 1])
  there = jnp.arange(rooms.doors) < doors[:, None]
  metadata = {
    "doors": doors,
    "starts": content[:, 1],
    "goals": content[:, 2] + doors * size,
    "keys": jnp.where(there, keys + jnp.arange(rooms.doors) * size, splits.ABSENT),
    "door_rows": jnp.where(there, rows, splits.ABSENT),
  }
  # Written for the largest number of doors, then shifted right past the doors that a problem lacks.
  of_doors = jnp.stack([_A + metadata["keys"], _ZERO + metadata["door_rows"]], axis=2).reshape(len(ids), -1)
  letter = lambda cells: _A + cells[:, None]
  written = jnp.concatenate([letter(metadata["starts"]), of_doors], axis=1)
  lacking = 2 * (rooms.doors - doors)[:, None]
  places = jnp.arange(written.shape[1]) - lacking
  tokens = jnp.take_along_axis(written, jnp.maximum(places, 0), axis=1)
  tokens = jnp.concatenate([tokens, letter(metadata["goals"]), jnp.full_like(lacking, _EQUALS)], axis=1)
  mask = jnp.arange(tokens.shape[1]) >= lacking
  return Prompts(jnp.where(mask, tokens, Vocabulary.pad_id), mask, ids, levels, metadata)


def _reset(problem: Problem) -> State:
  return State(problem["starts"], jnp.zeros_like(problem["starts"]))


def _moved(rooms: _Rooms, problem: Problem, state: State, action: Int[Array, ""]) -> State:
  """State after a step, which a wall or a locked door may stop."""
  size = rooms.width * rooms.height
  room, row, column = state.cell // size, state.cell % size // rooms.width, state.cell % rooms.width
  next_row, next_column = row + jnp.asarray(_DOWN)[action], column + jnp.asarray(_RIGHT)[action]
  across = (next_column == rooms.width).astype(jnp.int32) - (next_column < 0)
  door = room + jnp.minimum(across, 0)
  exists = (door >= 0) & (door < problem["doors"])
  at_door = problem["door_rows"][jnp.clip(door, 0, rooms.doors - 1)] == row
  free = (next_row >= 0) & (next_row < rooms.height) & ((across == 0) | (exists & at_door & (door < state.keys)))
  cell = (room + across) * size + next_row * rooms.width + next_column % rooms.width
  cell = jnp.where(free, cell, state.cell)
  return State(cell, state.keys + ((state.keys < problem["doors"]) & (cell == _sought(rooms, problem, state))))


def _sought(rooms: _Rooms, problem: Problem, state: State) -> Int[Array, ""]:
  """Cell of the next key, or of the goal if all keys are held."""
  key = problem["keys"][jnp.minimum(state.keys, rooms.doors - 1)]
  return jnp.where(state.keys < problem["doors"], key, problem["goals"])


def _is_goal(problem: Problem, state: State) -> Bool[Array, ""]:
  return (state.cell == problem["goals"]) & (state.keys == problem["doors"])


def _reward(rooms: _Rooms, problem: Problem, before: State, after: State) -> Float[Array, ""]:
  of_goal = jnp.where(_is_goal(problem, after), 1.0 - rooms.key_reward * problem["doors"], 0.0)
  return rooms.key_reward * (after.keys - before.keys) + of_goal


def _actions(tokens: Int[Array, "*N C"], mask: Bool[Array, "*N C"]) -> Int[Array, "*N"]:
  """Index of the step that each turn takes; -1 for a turn that is not a step."""
  actions = tokens[..., 0] - _NORTH
  well_formed = jnp.all(mask == (jnp.arange(mask.shape[-1]) < _TURN), axis=-1) & (tokens[..., 1] == _END)
  return jnp.where(well_formed & (actions >= 0) & (actions < len(ACTIONS)), actions, -1)


def _step(rooms: _Rooms, problem: Problem, state: State, tokens: Int[Array, " C"], mask: Bool[Array, " C"]) -> Step:
  action = _actions(tokens, mask)
  moved = _moved(rooms, problem, state, jnp.maximum(action, 0))
  after = jax.tree.map(lambda new, old: jnp.where(action >= 0, new, old), moved, state)
  solved = _is_goal(problem, after)
  return Step(
    state=after,
    observation=jnp.stack([_A + after.cell, _ZERO + after.keys]),
    observation_mask=jnp.ones(_OBSERVATION, bool),
    reward=jnp.where(action >= 0, _reward(rooms, problem, state, after), 0.0),
    done=(action < 0) | solved,
    solved=solved & (action >= 0),
    facts={"subgoals": state.keys},
  )


def _graph(rooms: _Rooms, problem: Problem) -> graph_values.Graph:
  """The graph of a problem; the number of a state is keys * cells + cell."""
  numbers = jnp.arange(rooms.cells * (rooms.doors + 1))
  states = State(numbers % rooms.cells, numbers // rooms.cells)
  of_actions = jax.vmap(partial(_moved, rooms, problem), (None, 0))
  after = jax.vmap(of_actions, (0, None))(states, jnp.arange(len(ACTIONS)))
  rewards = jax.vmap(jax.vmap(partial(_reward, rooms, problem), (None, 0)))(states, after)
  final = jax.vmap(partial(_is_goal, problem))(states)
  return graph_values.Graph(after.keys * rooms.cells + after.cell, rewards, final)


def _act(
  rooms: _Rooms, walks: graph_values.Walks, problem: Problem, state: State, key: PRNGKeyArray
) -> tuple[Int[Array, " C"], Bool[Array, " C"]]:
  """A step on a shortest path to the goal."""
  return _walk(rooms, walks, _graph(rooms, problem), state, key)


def _act_toward(
  rooms: _Rooms, walks: graph_values.Walks, problem: Problem, state: State, cell: Int[Array, ""], key: PRNGKeyArray
) -> tuple[Int[Array, " C"], Bool[Array, " C"]]:
  """A step on a shortest path to a cell."""
  graph = _graph(rooms, problem)
  at_cell = jnp.arange(graph.final.shape[0]) % rooms.cells == cell
  return _walk(rooms, walks, graph._replace(final=at_cell), state, key)


def _walk(
  rooms: _Rooms, walks: graph_values.Walks, graph: graph_values.Graph, state: State, key: PRNGKeyArray
) -> tuple[Int[Array, " C"], Bool[Array, " C"]]:
  """A random step among those on shortest paths to a final state; any step if it strays or there is no path."""
  toward = graph_values.toward(walks, graph)[walks.number_of(state)]
  stray = (jax.random.uniform(jax.random.fold_in(key, 0)) < rooms.stray_rate) | ~toward.any()
  action = jax.random.categorical(jax.random.fold_in(key, 1), jnp.where(toward | stray, 0.0, -jnp.inf))
  spare = jnp.full(rooms.turns.turn_tokens - _TURN, Vocabulary.pad_id)
  tokens = jnp.concatenate([jnp.stack([_NORTH + action, _END]), spare])
  return tokens, jnp.arange(tokens.shape[0]) < _TURN
