"""Text environments in plain Python: their protocol, and calls with checked results. Imports no JAX.

An environment is third-party code. Its results are checked here, at the call, so that a wrong one is reported in one
line. `reset` must return a non-empty text or a conversation; `step` a text, a finite number and a bool.
"""

from __future__ import annotations

import contextlib
import math
import random
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from rl_jax.tasks import messages
from rl_jax.tasks.datasets import entries
from rl_jax.tasks.verifiers.attempt import EXHAUSTED, LARGEST, line, without_copies
from rl_jax.tasks.verifiers.errors import CannotVerify

MOST_CHARACTERS = 2**20
"""Largest number of characters in an answer; a policy reads only a few of them."""
_HALF = re.compile("[\ud800-\udfff]")
"""A lone surrogate: no tokenizer encodes it."""


class TextEnvironment(Protocol):
  """One episode. A class with these methods is an environment; each episode is an object of its own.

  The same problem, seed and actions must give the same episode: Python's and NumPy's global generators are seeded for
  it. A class may also have `problems(**arguments)`, see `problems_of`, and `close()`. Workers give each call
  a deadline and can confine it; `problems` alone runs in the trainer's process, with neither.
  """

  def reset(self, problem: Mapping[str, Any], seed: int) -> str | list[messages.Message]:
    """Begin; return what the policy sees first: a text, or a conversation that ends with a user's message."""
    ...

  def step(self, action: str) -> tuple[str, float, bool]:
    """Take a turn of the policy, as text without its end token; return (observation, reward of the turn, done)."""
    ...


class Answer(NamedTuple):
  """Checked result of a step."""

  observation: str
  reward: float
  done: bool


def problems_of(environment: Any, arguments: Mapping[str, Any]) -> list[dict[str, Any]] | None:
  """The problems that a class lists: mappings of plain data, each given to `reset`. None: it has only seeds.

  They are listed in this process, which is the trainer's, without a deadline.

  Raises: ValueError: in one line, if it lists no problems or lists something else.
  """
  if not hasattr(environment, "problems"):
    return None
  try:
    with without_copies():
      found = list(environment.problems(**arguments))
  except Exception as error:  # third-party code
    raise ValueError(f"task.environment: problems raised {line(error, environment.problems)}") from error
  wrong = next((problem for problem in found if not isinstance(problem, Mapping)), None)
  if not found or wrong is not None:
    raise ValueError(
      f"task.environment: problems gave {found[:1] if not found else wrong!r:.80}, want mappings of data"
    )
  for place, problem in enumerate(found):
    try:
      _whole_characters("problems", entries.dumps(dict(problem)))
    except ValueError as error:
      raise ValueError(f"task.environment: problem {place}: {error}") from error
  return [dict(problem) for problem in found]


class Episode:
  """A live episode with global random states of its own.

  Args:
    make: function that makes the environment.
    seed: seed of the global generators that the environment draws from.
    clock: context manager around each of its calls, such as one with a deadline.
  """

  def __init__(self, make: Callable[[], TextEnvironment], seed: int, clock: Callable[[], AbstractContextManager[Any]]):
    self._seed, self._clock = seed, clock
    self._states: dict[str, Any] = {}
    with self._clock(), self._own_randomness():
      self._environment = make()
      lacking = [name for name in ("reset", "step") if not callable(getattr(self._environment, name, None))]
    if lacking:
      raise TypeError(f"{_kind(self._environment)} has no method {lacking[0]}, want reset and step")

  def reset(self, problem: Mapping[str, Any]) -> str:
    """The first observation; a conversation is written with `messages.dumps`. Raises: ValueError: it is neither text
    nor a conversation, or a text that would be read as one."""
    with self._clock(), self._own_randomness():
      first = self._environment.reset(problem, self._seed)
    if isinstance(first, list):
      return _checked("reset", messages.dumps(messages.check(first)))
    if not isinstance(first, str) or not first.strip():
      raise ValueError(f"reset gave {_shown(first)}, want text, or a list of messages")
    if first.startswith(messages.MARK):
      raise ValueError(f"reset gave a text that begins with {messages.MARK!r}, which marks lists of messages")
    return _checked("reset", first)

  def step(self, action: str) -> Answer:
    """The answer to a turn. Raises: ValueError: the environment returned something else."""
    with self._clock(), self._own_randomness():
      result = self._environment.step(action)
    if not isinstance(result, tuple) or len(result) != len(Answer._fields):
      raise ValueError(f"step gave {_shown(result)}, want (observation, reward, done)")
    observation, reward, done = result
    if not isinstance(observation, str):
      raise ValueError(f"step gave the observation {_shown(observation)}, want text")
    if not hasattr(reward, "__float__") or not math.isfinite(float(reward)) or abs(float(reward)) > LARGEST:
      raise ValueError(f"step gave the reward {_shown(reward)}, want a number from {-LARGEST:g} to {LARGEST:g}")
    if not _is_bool(done):
      raise ValueError(f"step gave done={_shown(done)}, want True or False")
    return Answer(_checked("step", observation), float(reward), bool(done))

  def close(self) -> None:
    """Close the environment, if it can be closed."""
    with contextlib.suppress(Exception):  # third-party code; the episode is over in any case
      getattr(self._environment, "close", lambda: None)()

  @contextlib.contextmanager
  def _own_randomness(self) -> Iterator[None]:
    """Give the global generators the episode's own state, and save that state afterwards."""
    generators = _generators()
    before = {name: get() for name, (get, _, _) in generators.items()}
    for name, (_, put, seeded) in generators.items():
      put(self._states[name]) if name in self._states else seeded(self._seed)
    try:
      yield
    finally:
      for name, (get, put, _) in generators.items():
        self._states[name] = get()
        put(before[name])


_Generator = tuple[Callable[[], Any], Callable[[Any], Any], Callable[[int], Any]]
"""(read, write, seed) of a global generator of random numbers."""


def _generators() -> dict[str, _Generator]:
  """The global generators of the imported modules."""
  found: dict[str, _Generator] = {"random": (random.getstate, random.setstate, random.seed)}
  if "numpy" in sys.modules:
    generator = sys.modules["numpy"].random
    found["numpy"] = (generator.get_state, generator.set_state, lambda seed: generator.seed(seed % 2**32))
  return found


def _checked(name: str, text: str) -> str:
  """The text. Raises: ValueError: it is too long, or no text that can be encoded."""
  if len(text) > MOST_CHARACTERS:
    raise ValueError(f"{name} gave {len(text)} characters, want at most {MOST_CHARACTERS}")
  return _whole_characters(name, text)


def _whole_characters(name: str, text: str) -> str:
  if half := _HALF.search(text):
    raise ValueError(f"{name} gave half a character (the lone surrogate {half[0]!r}), which is no text")
  return text


def _is_bool(value: Any) -> bool:
  """Return whether a value is a bool of Python or, if that is imported, of NumPy."""
  numpy = sys.modules.get("numpy")
  return isinstance(value, bool) or (numpy is not None and isinstance(value, numpy.bool_))


def _shown(value: Any) -> str:
  return repr(value)[:60] if value is None or isinstance(value, str | int | float) else _kind(value)


def _kind(value: Any) -> str:
  name = type(value).__name__
  return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


class Host:
  """Live episodes by number, in one process.

  Args:
    environment: the class, or a function that makes an environment.
    arguments: its keyword arguments.
    clock: context manager around each call of an environment.
  """

  def __init__(
    self,
    environment: Callable[..., TextEnvironment],
    arguments: Mapping[str, Any],
    clock: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
  ):
    self._environment, self._arguments, self._clock = environment, dict(arguments), clock
    self._live: dict[int, Episode] = {}

  def answer(self, job: Mapping[str, Any]) -> dict[str, Any]:
    """Take the last action of an episode that is live here; otherwise begin the episode and take all its actions.

    Args:
      job: `episode`, its number; `problem` and `seed`; `actions`, all so far; `drop`, numbers of episodes to forget.

    Returns: `first`, the first observation if the episode began with this job, else None, and `answers` to the actions
      taken; or one of `error` (a line: the environment failed), `fatal` (a line: no episode can succeed) and
      `exhausted` (out of memory). An episode stays live until it is done or has failed; it is not kept if the job asks
      only for its first observation.
    """
    with without_copies():
      return self._answer(job)

  def _answer(self, job: Mapping[str, Any]) -> dict[str, Any]:
    for number in job["drop"]:
      self._forget(number)
    number = job["episode"]
    try:
      episode, first, actions = self._live.pop(number, None), None, job["actions"][-1:]
      if episode is None:
        episode, actions = (
          Episode(lambda: self._environment(**self._arguments), job["seed"], self._clock),
          job["actions"],
        )
        first = episode.reset(job["problem"])
      answers: list[Answer] = []
      for action in actions:
        answers.append(episode.step(action))
        if answers[-1].done:
          break
    except CannotVerify as error:
      return {"fatal": str(error)}
    except EXHAUSTED:
      return {"exhausted": True}
    except Exception as error:  # an environment is third-party code
      return {"error": line(error, self._environment)}
    if not answers or answers[-1].done:
      episode.close()
    else:
      self._live[number] = episode
    return {"first": first, "answers": [tuple(answer) for answer in answers]}

  def _forget(self, number: int) -> None:
    episode = self._live.pop(number, None)
    if episode is not None:
      episode.close()

  def __call__(self, jobs: Iterable[tuple[int, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Answers to jobs, as `Workers` gives them, in this process and without a deadline."""
    return [self.answer(job) for _, job in jobs]

  def close(self) -> None:
    """Forget all episodes."""
    for number in list(self._live):
      self._forget(number)
