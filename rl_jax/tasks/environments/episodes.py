"""Recorded episodes, continued by environments that live in workers.

A batch holds the whole record of an episode: the policy's turns and the answers to them. An episode stays alive between
the phases of a rollout and is found again by its record, wherever its row is in the batch, so each turn is answered
once. An episode that is no longer alive, because its worker has died or the record is an old one, is restarted with the
problem's seed and replayed. It must then give the recorded answers again; if it does not, it has no verdict.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from rl_jax.tasks.environments.text import Answer
from rl_jax.tasks.environments.workers import CRASH, TIME
from rl_jax.tasks.observations import Template
from rl_jax.tasks.prompting import Tokenizer
from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.verifiers.attempt import Tally
from rl_jax.tasks.verifiers.errors import CannotVerify

Tokens = tuple[int, ...]
CHANGED = "the environment did not repeat its answers: with one seed they are to be the same"


class Record(NamedTuple):
  """The record of an episode.

  Attributes:
    problem: hashable name of its problem.
    turns: tokens of each turn of the policy.
    observations: tokens of the answer to each turn, except a last turn that is not answered yet.
  """

  problem: Any
  turns: tuple[Tokens, ...]
  observations: tuple[Tokens, ...]


class Outcome(NamedTuple):
  """Outcome of an episode so far.

  Attributes:
    rewards: rewards of its turns.
    states: ids of the texts seen before each turn and after the last one: equal for equal texts.
    observation: tokens of the answer to the last turn; () where the episode is over.
    done: it is over.
    failure: one of `scoring.FAILURES` where the environment has failed; "" otherwise.
  """

  rewards: tuple[float, ...]
  states: tuple[int, ...]
  observation: Tokens
  done: bool
  failure: str = ""


class Calls(Protocol):
  """Jobs for live episodes: `workers.Workers`, or `text.Host`."""

  def __call__(self, jobs: Sequence[tuple[int, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Answers to jobs."""
    ...

  def close(self) -> None:
    """End all episodes."""
    ...


class _Live(NamedTuple):
  """A live episode, identified by its number in a worker, and its outcome so far."""

  worker: int
  number: int
  rewards: tuple[float, ...]
  states: tuple[int, ...]


class Episodes:
  """Episodes of one environment.

  Args:
    name: name of the environment, for messages.
    calls: function that sends jobs to the workers.
    workers: number of workers.
    most_turns: largest number of turns, after which an episode is over.
    start: name of a problem -> {"problem": data for `reset`, "seed": its seed}.
    template: template of observations.

  Attributes:
    tally: counts of the results of the calls so far.
  """

  def __init__(
    self,
    name: str,
    calls: Calls,
    workers: int,
    most_turns: int,
    start: Callable[[Any], Mapping[str, Any]],
    vocabulary: Tokenizer,
    template: Template,
  ):
    self._calls, self._workers, self._most_turns, self._start = calls, workers, most_turns, start
    self._vocabulary, self._template = vocabulary, template
    self._live: dict[bytes, list[_Live]] = {}
    self._begun, self._waiting, self._most = 0, 0, 0
    self._drops: list[list[int]] = [[] for _ in range(workers)]
    self._cut, self._told = 0, 0
    self.tally = Tally(name)

  def __call__(self, records: Sequence[Record]) -> list[Outcome]:
    """Answer the last turn of each record that does not have an answer yet.

    Raises: CannotVerify: the environment cannot answer anything.
    """
    self._most = max(self._most, len(records))
    lives = [self._found(record) for record in records]
    outcomes = [self._over(live) for live in lives]
    asked = [i for i, (record, live) in enumerate(zip(records, lives, strict=True)) if _is_asked(record, live)]
    for i, (place, answer) in zip(asked, self._asked([(records[i], lives[i]) for i in asked]), strict=True):
      outcomes[i] = self._outcome(records[i], place, answer)
    for i in set(range(len(records))) - set(asked):
      self._drop(lives[i])
    return outcomes

  def _found(self, record: Record) -> _Live | None:
    """The live episode of a record, or the one that its last turn continues; removed from those that wait."""
    known = len(record.observations)
    key = _key(record.problem, record.turns[:known], record.observations)
    if key not in self._live:
      return None
    live, self._waiting = self._live[key].pop(), self._waiting - 1
    if not self._live[key]:
      del self._live[key]
    return live

  def _asked(self, items: list[tuple[Record, _Live | None]]) -> list[tuple[_Live, dict[str, Any]]]:
    """(live episode, answer) of each item; a job that ended its worker is tried once more."""
    places = [live or self._new() for _, live in items]
    answers = self._calls([self._job(record, place) for (record, _), place in zip(items, places, strict=True)])
    crashed = [i for i, answer in enumerate(answers) if answer.get("ended") == CRASH]
    for i in crashed:
      places[i] = self._new()
    for i, answer in zip(crashed, self._calls([self._job(items[i][0], places[i]) for i in crashed]), strict=True):
      answers[i] = answer
    return list(zip(places, answers, strict=True))

  def _new(self) -> _Live:
    self._begun += 1
    return _Live(self._begun % self._workers, self._begun, (), ())

  def _job(self, record: Record, place: _Live) -> tuple[int, dict[str, Any]]:
    drops, self._drops[place.worker] = self._drops[place.worker], []
    actions = [self._text(turn) for turn in record.turns]
    return place.worker, {"episode": place.number, "actions": actions, "drop": drops, **self._start(record.problem)}

  def _text(self, turn: Tokens) -> str:
    """A turn without its end token."""
    return self._vocabulary.decode(turn[:-1] if turn[-1:] == (self._vocabulary.end_id,) else turn)

  def _outcome(self, record: Record, place: _Live, answer: dict[str, Any]) -> Outcome:
    if failure := self._failure(answer):
      return Outcome((), (), (), True, failure)
    answers = [Answer(*x) for x in answer["answers"]]
    turns = record.turns[-1:] if answer["first"] is None else record.turns
    observed = [self._tokens(x.observation, turn) for x, turn in zip(answers, turns, strict=False)]
    rewards, states = place.rewards, place.states
    if answer["first"] is not None:
      if not self._repeats(record, answers, observed):
        self.tally.raised(CHANGED)
        self._drop(place)
        return Outcome((), (), (), True, "error")
      rewards, states = (), (state_of(answer["first"]),)
    rewards = (*rewards, *(x.reward for x in answers))
    states = (*states, *(state_of(x.observation) for x in answers))
    live = place._replace(rewards=rewards, states=states)
    if answers[-1].done:
      return self._over(live)
    if len(record.observations) == len(record.turns) or len(record.turns) == self._most_turns:  # no turn comes after it
      self._drop(live)
      return self._over(live)
    self._keep(_key(record.problem, record.turns, (*record.observations, observed[-1])), live)
    return Outcome(rewards, states, observed[-1], False)

  def _repeats(self, record: Record, answers: list[Answer], observed: list[Tokens]) -> bool:
    """Return whether a restarted episode has given the recorded answers again."""
    known = len(record.observations)
    is_over_too_soon = len(answers) < len(record.turns) or any(answer.done for answer in answers[:known])
    return not is_over_too_soon and tuple(observed[:known]) == record.observations

  def _failure(self, answer: dict[str, Any]) -> str:
    """The failure of a call, counted; "" for an answer."""
    if "fatal" in answer:
      raise CannotVerify(str(answer["fatal"]))
    if "error" in answer:
      self.tally.raised(str(answer["error"]))
      return "error"
    if "exhausted" in answer or "ended" in answer:
      failure = "timed_out" if answer.get("ended") == TIME else "crashed"
      self.tally.judged(Verdict(None, {failure: 1.0}))
      return failure
    return ""

  def _tokens(self, observation: str, turn: Tokens) -> Tokens:
    tokens, is_cut = self._template.tokens(observation, self._vocabulary, turn)
    self._cut += is_cut
    return tuple(tokens)

  def _keep(self, key: bytes, live: _Live) -> None:
    """Keep a live episode for its next turn. Those that have waited longest, such as those of cut rows, are dropped."""
    self._live.setdefault(key, []).append(live)
    self._waiting += 1
    while self._waiting > 2 * self._most:
      given_up = self._live.pop(next(iter(self._live)))
      self._waiting -= len(given_up)
      for old in given_up:
        self._drop(old)

  def _drop(self, live: _Live | None) -> None:
    """Have the worker forget an episode with its next job."""
    if live is not None:
      self._drops[live.worker].append(live.number)

  @staticmethod
  def _over(live: _Live | None) -> Outcome:
    """The outcome of an episode that has no further turn."""
    return Outcome(live.rewards, live.states, (), True) if live else Outcome((), (), (), True)

  def notes(self) -> list[str]:
    """Lines about errors, failures and cut observations since the last call."""
    lines, cut = self.tally.notes(), self._cut
    if cut != self._told:
      self._told = cut
      lines.append(
        f"{cut} observations had more than task.observation_tokens={self._template.slots} tokens, and were cut"
      )
    return lines

  def close(self) -> None:
    """End all episodes."""
    self._live.clear()
    self._waiting = 0
    self._calls.close()


def state_of(text: str) -> int:
  """Id of a text, from 0 to 2**31 - 1."""
  return zlib.crc32(text.encode(errors="surrogatepass")) & 0x7FFFFFFF


def _key(problem: Any, turns: Sequence[Tokens], observations: Sequence[Tokens]) -> bytes:
  return hashlib.sha256(repr((problem, *turns, "|", *observations)).encode()).digest()


def _is_asked(record: Record, live: _Live | None) -> bool:
  """Return whether the environment must be asked: there is a turn, and it has no answer or its episode is not alive."""
  return bool(record.turns) and (live is None or len(record.observations) < len(record.turns))
