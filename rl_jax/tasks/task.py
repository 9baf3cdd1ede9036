"""Interface of a task: problems by id, prompts, a verifier. Device tasks are JAX; host tasks score in Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import flax.struct
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rl_jax.tasks.stop_texts import StopTexts

Split = Literal["train", "held_out"]


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """Vocabulary with one symbol per token. Id 0 pads and id 1 ends a response; masks, not ids, mark empty slots."""

  symbols: tuple[str, ...]

  pad_id: ClassVar[int] = 0
  end_id: ClassVar[int] = 1

  def __len__(self) -> int:
    return len(self.symbols)

  def encode(self, text: str) -> list[int]:
    """Ids of the characters of `text`; ValueError on a character outside the vocabulary."""
    unknown = sorted(set(text) - set(self.symbols))
    if unknown:
      raise ValueError(f"characters {unknown} are not in the vocabulary {''.join(self.symbols[2:])!r}")
    return [self.symbols.index(character) for character in text]

  def decode(self, ids: Iterable[int]) -> str:
    """Text of `ids`."""
    return "".join(self.symbols[int(i)] for i in ids)


def end_ids(vocabulary: Any) -> tuple[int, ...]:
  """Ids of which each ends a response: `end_id`, and `more_end_ids` of a vocabulary that has them."""
  return (vocabulary.end_id, *getattr(vocabulary, "more_end_ids", ()))


@flax.struct.dataclass
class Prompts:
  """Prompts of N problems, left-padded so that responses start in one column."""

  tokens: Int[Array, "N P"]
  mask: Bool[Array, "N P"]
  ids: Int[Array, " N"]
  levels: Int[Array, " N"]
  """Index of the difficulty level in `Task.levels`."""
  metadata: dict[str, Array]
  """Data of each problem for the verifier (answer, true values of steps, …), with leading axis N."""


class ExtraSpec(NamedTuple):
  """Description of an extra in a task's verdicts, or set by a phase of a rollout."""

  shape: tuple[str | int, ...]
  """Shape after the row axis. "R" is the slots of a response, "T" those of a row, prompt included; "R" in verdicts
  becomes "T" in a batch. "K" is the turns of a task, at most. Other letters are sizes of their own."""
  dtype: str
  meaning: str


@flax.struct.dataclass
class Verdicts:
  """Verdicts of the verifier on B responses of R token slots."""

  rewards: Float[Array, " B"]
  reward_mask: Bool[Array, " B"]
  step_ids: Int[Array, "B R"]
  """Index of the step that a response token belongs to, -1 outside."""
  extras: dict[str, Array]
  """Further arrays of the task, such as `step_correct [B, R]`: whether a token's step is true."""
  objectives: Float[Array, "B K"] | None = None
  """Parts of the reward, as `Task.objectives` names them; None where it names none."""
  token_rewards: Float[Array, "B R"] | None = None
  """Parts of the reward where they were earned, see `Trajectories.token_rewards`; None: all of it at the end."""


class Preferences(NamedTuple):
  """Two responses to each of N prompts, with the ranks that judges give them: 1 is best, equal ranks are a tie, and a
  pair with ranks of 0 has no label."""

  tokens: Int[Array, "N 2 R"]
  mask: Bool[Array, "N 2 R"]
  ranks: Int[Array, "N 2"]
  """Ranks by the whole response."""
  aspect_ranks: Int[Array, "N 2 K"]
  """Ranks by each of the task's `aspects` alone."""


class StepValues(NamedTuple):
  """Probabilities of success before and after the step of each token; 0 on tokens outside of steps."""

  before: Float[Array, "B R"]
  after: Float[Array, "B R"]


OF_TURNS = {
  "observation": ExtraSpec(("O",), "int32", "answer of the environment to the last turn, right-aligned"),
  "observation_mask": ExtraSpec(("O",), "bool", "its tokens"),
  "done": ExtraSpec((), "bool", "the episode is over"),
}
"""Extras of every task with turns; O counts slots of an observation."""


@dataclasses.dataclass(frozen=True)
class ForcedAnswer:
  """Form of an answer forced in the middle of a response, to probe a policy's beliefs.

  Attributes:
    opening: token ids before an answer.
    answers: prompts -> (tokens [N, A], mask [N, A]): the right answer as written after the opening, with the end token,
      left-aligned.
  """

  opening: tuple[int, ...]
  answers: Callable[[Prompts], tuple[Int[Array, "N A"], Bool[Array, "N A"]]]


@dataclasses.dataclass(frozen=True)
class Turns:
  """Layout of a response of several turns in its slots: turn | observation | turn | observation | … | last turn.

  The verifier is the environment too. `Verdicts.extras` of a task with turns hold, of each row's last turn,
    observation [B, O], observation_mask [B, O]: the environment's answer, right-aligned, so that the next turn begins
      right after it; at least one token where the episode continues;
    done [B]: the episode is over (an answer was given, a turn was malformed, or it was the last one).

  Attributes:
    max_turns: turns of a response, at most.
    turn_tokens: slots of a turn, which is left-aligned in them. It ends with the end token or a stop sequence.
    observation_tokens: O, slots of an observation.
    stop_sequences: tuples of token ids that end a turn too.
  """

  max_turns: int
  turn_tokens: int
  observation_tokens: int
  stop_sequences: tuple[tuple[int, ...], ...] = ()

  def __post_init__(self):
    for name in ("max_turns", "turn_tokens", "observation_tokens"):
      if getattr(self, name) < 1:
        raise ValueError(f"task.{name} is at least 1, got {getattr(self, name)}")

  def start(self, turn: Any) -> Any:
    """First slot of a turn in the response; the turn may be a traced number."""
    return turn * (self.turn_tokens + self.observation_tokens)

  @property
  def response_tokens(self) -> int:
    """Number of slots of a complete response."""
    return self.start(self.max_turns) - self.observation_tokens

  def check(self, responses: Int[Array | np.ndarray, "B R"]) -> None:
    """Raises ValueError unless responses have the slots of all turns."""
    if responses.shape[1] != self.response_tokens:
      raise ValueError(
        f"a response of {self.max_turns} turns has {self.response_tokens} slots, got {responses.shape[1]}"
      )

  @property
  def slots(self) -> Int[np.ndarray, "K C"]:
    """Slots of each turn in the response: x[:, slots] are the turns of per-token arrays x [B, R]."""
    return np.array([np.arange(self.turn_tokens) + self.start(turn) for turn in range(self.max_turns)])

  @property
  def turn_ids(self) -> Int[np.ndarray, " R"]:
    """Turn of each slot; an observation belongs to the turn before it."""
    return np.arange(self.response_tokens, dtype=np.int32) // self.start(1)

  @property
  def observed(self) -> Bool[np.ndarray, " R"]:
    """True on slots of observations."""
    return np.arange(self.response_tokens) % self.start(1) >= self.turn_tokens


class Task(Protocol):
  """Interface of a task. A class that inherits from it has defaults for all but the first group of attributes.

  With `on_device` it consists of pure functions under jit and vmap, as described in `DeviceTask`. Otherwise it runs in
  Python between compiled programs, as described in `rl_jax.tasks.host.HostTask`. `prompts` and `verify` differ.
  """

  on_device: bool
  vocabulary: Any
  prompt_tokens: int
  response_tokens: int
  levels: tuple[str, ...]
  problem_ids: Callable[..., Any]
  prompts: Callable[..., Prompts]
  verify: Callable[..., Verdicts]

  provides: Mapping[str, ExtraSpec] = MappingProxyType({})
  objectives: tuple[str, ...] = ()
  marks_steps: bool = True
  forced_answer: ForcedAnswer | None = None
  step_values: Any = None
  prover_values: Any = None
  guessing_floor: float | None = None
  blank_token: int | None = None
  solutions: Any = None
  preferences: Any = None
  aspects: tuple[str, ...] = ()
  turns: Turns | None = None
  stop_texts: StopTexts | None = None
  fingerprint: str = ""
  max_unscored_iterations: int = 3

  def demonstrate(self, key: PRNGKeyArray, prompts: Prompts) -> tuple[Array, Array]:
    """Worked solutions. Raises ValueError if there are none."""
    raise ValueError("this task has no demonstrations: start from a trained model, without a warm start")

  def levels_of(self, ids: Int[Array, " N"], split: Split) -> Int[Array, " N"]:
    """Index of each problem's level."""
    return self.prompts(ids, split).levels

  def notes(self) -> list[str]:
    """Lines for the terminal, since the last call."""
    return []

  def reasons(self) -> list[str]:
    """Reasons why responses had no verdict."""
    return []

  def close(self) -> None:
    """Release resources of the task."""


def missing(task: Any) -> list[str]:
  """Attributes of `Task` that an object lacks."""
  return sorted(name for name in (*Task.__annotations__, *_METHODS) if not hasattr(task, name))


_METHODS = ("demonstrate", "levels_of", "notes", "reasons", "close")


@dataclasses.dataclass(frozen=True)
class DeviceTask:
  """Pure functions under jit and vmap. `prompts` is a function of id and split alone; no problem is in both splits.

  Attributes:
    vocabulary: the symbols.
    prompt_tokens, response_tokens: static widths P and R.
    levels: names of the difficulty levels.
    problem_ids: (key, n, split) -> ids [n], int32 >= 0, drawn from the task's distribution (from the finite pool, if
      set). An id names one problem of each split.
    prompts: (ids [N], split) -> Prompts.
    verify: (prompts of the B rows, tokens [B, R], mask [B, R]) -> Verdicts. R may be any width, not only
      `response_tokens`; any slot may hold any token id. Reads the rows' metadata, not their order.
    demonstrate: (key, prompts) -> (tokens [N, R], mask [N, R]): imperfect worked solutions for a warm start, with the
      environment's answers in the slots of observations where there are turns.
    forced_answer: form of a forced answer; None if answers cannot be forced.
    step_values: (prompts of the B rows, tokens [B, R], mask [B, R], finished [B]) -> StepValues, exact up to stated
      assumptions on the policy; `finished` rows have ended. None: the task has no exact values.
    prover_values: (prompts of the B rows, tokens [B, R], mask [B, R], strength) -> exact StepValues of the task's own
      prover of a given strength; the value of a finished response is its reward. None: it has no prover.
    provides: extras of its verdicts, by name; methods and curricula may require them.
    objectives: names of the parts of a reward that `Verdicts.objectives` holds.
    guessing_floor: accuracy of the best constant answer to each level; None: it is not known.
    blank_token: token that takes the place of those of a part that is left out of a response: it says nothing to the
      verifier. None: there is none.
    solutions: prompts -> (tokens [N, R], mask [N, R]): reference solutions, left-aligned right responses with the end
      token. None: there are none.
    preferences: prompts -> Preferences, pairs with the labels of imperfect judges. None: there are none.
    aspects: names of the aspects of a response that pairs are labelled by.
    sizes: number of problems by split, with ids from 0; None: they are unlimited, or have no such count.
    turns: None where a response is one piece; else R is `turns.response_tokens`, in `verify` too.
    fingerprint: of data that is read; "" as there is none.
    notes, reasons: lines on the verifier to show to the user; empty.
    close: closes what the task holds open; does nothing.
  """

  on_device: ClassVar[bool] = True
  marks_steps: ClassVar[bool] = True
  """`Verdicts.step_ids` name the steps of responses."""
  max_unscored_iterations: ClassVar[int] = 3
  stop_texts: ClassVar[None] = None
  """Symbols end a response, no texts."""

  vocabulary: Vocabulary
  prompt_tokens: int
  response_tokens: int
  levels: tuple[str, ...]
  problem_ids: Callable[[PRNGKeyArray, int, Split], Int[Array, " n"]]
  prompts: Callable[[Int[Array, " N"], Split], Prompts]
  verify: Callable[[Prompts, Int[Array, "B R"], Bool[Array, "B R"]], Verdicts]
  demonstrate: Callable[[PRNGKeyArray, Prompts], tuple[Int[Array, "N R"], Bool[Array, "N R"]]]
  forced_answer: ForcedAnswer | None = None
  step_values: Callable[[Prompts, Int[Array, "B R"], Bool[Array, "B R"], Bool[Array, " B"]], StepValues] | None = None
  prover_values: Callable[[Prompts, Int[Array, "B R"], Bool[Array, "B R"], float], StepValues] | None = None
  provides: Mapping[str, ExtraSpec] = dataclasses.field(default_factory=dict)
  objectives: tuple[str, ...] = ()
  guessing_floor: float | None = None
  blank_token: int | None = None
  solutions: Callable[[Prompts], tuple[Int[Array, "N R"], Bool[Array, "N R"]]] | None = None
  preferences: Callable[[Prompts], Preferences] | None = None
  aspects: tuple[str, ...] = ()
  sizes: Mapping[str, int] | None = None
  turns: Turns | None = None
  fingerprint: str = ""
  notes: Callable[[], list[str]] = list
  reasons: Callable[[], list[str]] = list
  close: Callable[[], None] = lambda: None

  def levels_of(self, ids: Int[Array, " N"], split: Split) -> Int[Array, " N"]:
    """Index of each problem's level."""
    return self.prompts(ids, split).levels
