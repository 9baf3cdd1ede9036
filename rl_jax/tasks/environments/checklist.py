"""Checklists of items that depend on one another, judged after every turn by a judge that errs.

The prompt "dbf=" asks for its letters in alphabetical order, one per turn: "b<end>", "d<end>", "f<end>". Each letter is
an item of a checklist, and each depends on the one before it. A round has `steps` turns. The environment answers "."
after each turn but the last, and then gives the letters of the next round, "ahc=". Any other turn counts as empty.

With `strict`, a round ends the episode unless all its items are satisfied. Demonstrations err, and a lure makes them
write the letters in the order of the prompt.

For every item, the judge says whether its letter was written in the round so far. An item is satisfied, and stays so,
when the judge says so and the item before it was satisfied before the turn. A turn earns the share of all items that it
satisfies. Each label of the judge is wrong with probability `flip_rate`, decided by a hash of the problem and of all
turns so far, so that the same text always gets the same labels. `exact_rewards` are the rewards from a judge that does
not err; `correct` is computed from them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray, UInt32

from rl_jax.tasks import fields, splits
from rl_jax.tasks.environments.environment import Environment, Problem, Step, as_task
from rl_jax.tasks.task import DeviceTask, ExtraSpec, Prompts, Split, Turns, Vocabulary

ITEMS = 3
LETTERS = "abcdefghij"
_VOCABULARY = Vocabulary(("<pad>", "<end>", *LETTERS, *"=."))
_A, _EQUALS, _GOES_ON = _VOCABULARY.encode("a=.")
_END = Vocabulary.end_id
_TURN, _QUESTION = len("b."), len("dbf=")
_MIX = 0x9E3779B1


def get_config() -> dict[str, Any]:
  """The fields and their defaults."""
  return {
    "letters": 10,  # number of different letters, 4 to 10
    "rounds": 2,
    "steps": 4,  # turns in a round, 3 or more; 4 turns for 3 items leave room for one slip
    "flip_rate": 0.0,  # chance that a label of the judge is wrong
    "strict": False,  # True: a round ends the episode unless the judge finds all its items satisfied
    "spare_tokens": 1,  # room in a turn beyond a letter
    "seed": 0,  # a different seed gives other problems for the same ids, and other errors of the judge
    "pool_size": 0,  # ids (of each split) to draw problems from; 0: unlimited
    "held_out_fraction": 0.125,  # share of all problems that is never trained on, 1/64 to 1/2
    "error_rate": 0.4,  # share of the turns of a demonstration that write a random letter
    "lure_rate": 0.0,  # share of the other turns that write the next letter in the prompt's order
  }


class State(NamedTuple):
  """State of an episode; the items are those of the current round, in the order of the alphabet."""

  turn: Int[Array, ""]
  written: Bool[Array, " 3"]
  satisfied: Bool[Array, " 3"]
  """Items that are satisfied according to the judge that errs."""
  exact: Bool[Array, " 3"]
  """Items that are satisfied according to a judge that does not err."""
  perfect: Bool[Array, ""]
  """All items of the earlier rounds are satisfied, according to the judge that does not err."""
  history: UInt32[Array, ""]
  """Hash of the turns so far."""


@dataclasses.dataclass(frozen=True)
class _Checklist:
  space: splits.Space
  turns: Turns
  letters: int
  rounds: int
  steps: int
  flip_rate: float
  strict: bool
  error_rate: float
  lure_rate: float

  @property
  def item_rounds(self) -> Int[np.ndarray, " C"]:
    """Round of each item."""
    return np.repeat(np.arange(self.rounds, dtype=np.int32), ITEMS)


def build(config: Mapping[str, Any]) -> DeviceTask:
  """The task of `config` (fields as in `get_config`); ValueError in one line for a field that makes no sense."""
  return as_task(environment(config))


def environment(config: Mapping[str, Any]) -> Environment:
  """The environment of `config`. Raises: ValueError: a field makes no sense."""
  config = fields.complete(config, get_config(), where="task")
  rounds = fields.whole(config["rounds"], 1, 64, where="task.rounds")
  steps = fields.whole(config["steps"], ITEMS, 64, where="task.steps")
  spare = fields.whole(config["spare_tokens"], 0, 1024, where="task.spare_tokens")
  letters = fields.whole(config["letters"], ITEMS + 1, len(LETTERS), where="task.letters")
  choices = [list(range(letters - place)) for place in range(ITEMS)]
  space = splits.build_space(
    {"letters": choices * rounds}, [1.0],
    seed=config["seed"], pool_size=config["pool_size"], held_out_fraction=config["held_out_fraction"],
  )  # fmt: skip
  checklist = _Checklist(
    space=space,
    turns=Turns(rounds * steps, _TURN + spare, _QUESTION),
    letters=letters,
    rounds=rounds,
    steps=steps,
    flip_rate=fields.number(config["flip_rate"], 0.0, 0.5, where="task.flip_rate"),
    strict=bool(config["strict"]),
    error_rate=fields.number(config["error_rate"], 0.0, 1.0, where="task.error_rate"),
    lure_rate=fields.number(config["lure_rate"], 0.0, 1.0, where="task.lure_rate"),
  )
  items = ITEMS * rounds
  return Environment(
    vocabulary=_VOCABULARY,
    prompt_tokens=_QUESTION,
    levels=("letters",),
    turns=checklist.turns,
    problem_ids=partial(splits.draw_ids, space),
    prompts=partial(_prompts, checklist),
    reset=_reset,
    step=partial(_step, checklist),
    act=partial(_act, checklist),
    facts={
      "rounds": ExtraSpec(("K",), "int32", "round of the turn"),
      "judge": ExtraSpec(("K", items), "bool", "label of each item by the judge that errs; False in other rounds"),
      "judge_exact": ExtraSpec(("K", items), "bool", "the same by one that does not"),
      "exact_rewards": ExtraSpec(("K",), "float32", "reward of each turn by it"),
    },
    problem_facts={
      "item_rounds": ExtraSpec((items,), "int32", "round of each item"),
      "item_needs": ExtraSpec((items, items), "bool", "an item (row) depends on another"),
      "item_weights": ExtraSpec((items,), "float32", "weight of each item, 1 in all in each round"),
    },
  )


def _prompts(checklist: _Checklist, ids: Int[Array, " N"], split: Split) -> Prompts:
  levels, content = splits.draw_problems(checklist.space, ids, split)
  letters = jax.vmap(jax.vmap(_different))(content.reshape(len(ids), checklist.rounds, ITEMS))
  tokens = jax.vmap(_question)(letters[:, 0])
  rounds = checklist.item_rounds
  of_items = {
    "item_rounds": rounds,
    "item_needs": np.eye(len(rounds), k=-1, dtype=bool) & (rounds[:, None] == rounds),
    "item_weights": np.full(len(rounds), 1 / ITEMS, np.float32),
  }
  metadata = {
    "letters": letters,
    "hash": jnp.asarray(splits.content_hash(content)),
    **{name: jnp.broadcast_to(x, (len(ids), *x.shape)) for name, x in of_items.items()},
  }
  return Prompts(tokens, jnp.ones(tokens.shape, bool), ids, levels, metadata)


def _different(choices: Int[Array, " 3"]) -> Int[Array, " 3"]:
  """Three different letters: each choice is an index among the letters that are left."""
  first, second, third = choices
  second = second + (second >= first)
  low, high = jnp.minimum(first, second), jnp.maximum(first, second)
  third = third + (third >= low)
  return jnp.stack([first, second, third + (third >= high)])


def _question(letters: Int[Array, " 3"]) -> Int[Array, " 4"]:
  return jnp.append(_A + letters, _EQUALS)


def _round(checklist: _Checklist, turn: Int[Array, ""]) -> Int[Array, ""]:
  """Round of a turn; after the last turn, the last round."""
  return jnp.minimum(turn // checklist.steps, checklist.rounds - 1)


def _asked(checklist: _Checklist, problem: Problem, turn: Int[Array, ""]) -> Int[Array, " 3"]:
  """Letters of a turn's round, as asked."""
  return problem["letters"][_round(checklist, turn)]


def _reset(problem: Problem) -> State:
  nothing = jnp.zeros(ITEMS, bool)
  return State(jnp.int32(0), nothing, nothing, nothing, jnp.bool_(True), jnp.uint32(0))


def _step(
  checklist: _Checklist, problem: Problem, state: State, tokens: Int[Array, " C"], mask: Bool[Array, " C"]
) -> Step:
  well_formed = jnp.all(mask == (jnp.arange(mask.shape[0]) < _TURN)) & (tokens[1] == _END)
  letter = jnp.where(well_formed, tokens[0] - _A, -1)
  written = state.written | (jnp.sort(_asked(checklist, problem, state.turn)) == letter)
  history = (state.history ^ (letter + 2).astype(jnp.uint32)) * jnp.uint32(_MIX) + jnp.uint32(1)
  of_round = checklist.item_rounds == _round(checklist, state.turn)
  on_items = lambda labels: jnp.tile(labels, checklist.rounds) & of_round
  key = jax.random.fold_in(jax.random.key(checklist.space.seed, impl="threefry2x32"), problem["hash"])
  flips = jax.random.bernoulli(jax.random.fold_in(key, history), checklist.flip_rate, (ITEMS,))
  judge = written ^ flips
  satisfied, exact = _satisfied(state.satisfied, judge), _satisfied(state.exact, written)
  share = lambda after, before: (after.sum() - before.sum()) / (ITEMS * checklist.rounds)

  round_ends = state.turn % checklist.steps == checklist.steps - 1
  is_last = state.turn == checklist.turns.max_turns - 1
  perfect = state.perfect & (exact.all() | ~round_ends)
  new = lambda items: items & ~round_ends
  goes_on = jnp.full(_QUESTION, _GOES_ON)
  return Step(
    state=State(state.turn + 1, new(written), new(satisfied), new(exact), perfect, history),
    observation=jnp.where(round_ends, _question(_asked(checklist, problem, state.turn + 1)), goes_on),
    observation_mask=round_ends | (jnp.arange(_QUESTION) == _QUESTION - 1),
    reward=share(satisfied, state.satisfied),
    done=is_last | (round_ends & checklist.strict & ~satisfied.all()),
    solved=is_last & perfect,
    facts={
      "rounds": _round(checklist, state.turn),
      "judge": on_items(judge),
      "judge_exact": on_items(written),
      "exact_rewards": share(exact, state.exact),
    },
  )


def _satisfied(before: Bool[Array, " 3"], judge: Bool[Array, " 3"]) -> Bool[Array, " 3"]:
  """Items that are satisfied after a turn: those satisfied before it, and those that the judge confirms and whose
  previous item was satisfied before it."""
  may = jnp.concatenate([jnp.ones(1, bool), before[:-1]])
  return before | (judge & may)


def _act(
  checklist: _Checklist, problem: Problem, state: State, key: PRNGKeyArray
) -> tuple[Int[Array, " C"], Bool[Array, " C"]]:
  """The first letter not yet written, in alphabetical order or in the prompt's order, or any letter."""
  errs, anything, lured = jax.random.uniform(key, (3,))
  asked = _asked(checklist, problem, state.turn)
  in_order = jnp.sort(asked)
  next_asked = asked[jnp.argmin(state.written[jnp.searchsorted(in_order, asked)])]
  wanted = jnp.where(lured < checklist.lure_rate, next_asked, in_order[jnp.argmin(state.written)])
  any_letter = jnp.minimum((anything * checklist.letters).astype(jnp.int32), checklist.letters - 1)
  token = _A + jnp.where(errs < checklist.error_rate, any_letter, wanted)
  spare = jnp.full(checklist.turns.turn_tokens - _TURN, Vocabulary.pad_id)
  tokens = jnp.concatenate([jnp.stack([token, jnp.full_like(token, _END)]), spare])
  return tokens, jnp.arange(tokens.shape[0]) < _TURN
