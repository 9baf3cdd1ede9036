"""Environments in plain Python, in worker processes: a task of several turns for pretrained models.

config.task = {"name": "rl_jax.tasks.environments.host", "environment": "my_package.my_module:MyEnvironment"}

The class has `reset(problem, seed)` and `step(action)`, see `rl_jax.tasks.environments.text.TextEnvironment`. What
`reset` returns is the question; each answer to a turn is formatted with `observation_template`. The reward of an
episode is the sum of its turns' rewards. An episode in which the environment raises, returns a wrong result, dies or
takes too long has no verdict, and a note says why.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Bool, Int

from rl_jax.tasks import fields, host, observations, scoring
from rl_jax.tasks.datasets import entries
from rl_jax.tasks.datasets.prepare import PreparedDataset
from rl_jax.tasks.datasets.problems import Problem, divide
from rl_jax.tasks.environments.environment import OF_ENVIRONMENTS, UNKNOWN
from rl_jax.tasks.environments.episodes import Calls, Episodes, Outcome, Record
from rl_jax.tasks.environments.text import Host, problems_of
from rl_jax.tasks.environments.workers import TIME, Workers
from rl_jax.tasks.host import MOST_TOKENS, SPLITS, HostTask, Scorers
from rl_jax.tasks.notes import Notes
from rl_jax.tasks.prompting import Tokenizer, encode
from rl_jax.tasks.scoring import FAILURES
from rl_jax.tasks.task import Split, Turns, Verdicts, end_ids

PLACE = "{observation}"
FIELD = "task.environment"
_SHARED = (
  "tokenizer", "system_prompt", "question_template", "prompt_tokens", "workers", "isolation", "max_unscored_iterations",
  "chat_template_arguments",
)  # fmt: skip
_QUESTION, _ANSWER = "QUESTION", "ANSWER"


def get_config() -> dict[str, Any]:
  """The fields and their defaults."""
  return {name: host.FIELDS[name] for name in _SHARED} | {
    "environment": "",  # 'package.module:Class'
    "arguments": {},  # keyword arguments of the class, and of its `problems`
    "problems": 256,  # number of seeds, if the class lists no problems of its own
    "seed": 0,  # seed of the first problem; the seeds of the others count up from it
    "held_out_fraction": 0.125,  # share of all problems that is never trained on
    "max_turns": 4,
    "turn_tokens": 64,  # largest number of tokens in a turn
    "observation_tokens": 64,  # largest number of tokens in an answer; a longer one is cut
    "observation_template": "",  # text with "{observation}" in it; "": a user's turn in the model's chat template
    "stop_texts": (),  # texts that also end a turn, such as "</action>"
    "solved_reward": 1.0,  # an episode with at least this reward has solved its problem
    "seconds_per_call": 10.0,  # CPU seconds after which a call has failed; its wall time may be several times as long
  }


class Problems:
  """Problems of an environment with their first observations, in the form that `rl_jax.tasks.host.build` takes.

  Attributes:
    fingerprint: SHA-256 of problems, seeds and first observations.
    questions, levels: split -> one text per problem.
    starts: split -> {"problem": …, "seed": …} of each problem.
  """

  def __init__(self, starts: Mapping[Split, list[dict[str, Any]]], questions: Mapping[Split, list[str]]):
    self.starts, self.questions = starts, questions
    self.levels = {split: [str(s["problem"].get("level", "environment")) for s in starts[split]] for split in SPLITS}
    texts = [[split, questions[split], [entries.dumps(start) for start in starts[split]]] for split in SPLITS]
    self.fingerprint = hashlib.sha256(repr(texts).encode(errors="surrogatepass")).hexdigest()

  def entries(self, places: Sequence[int] | np.ndarray, split: Split) -> list[dict[str, Any]]:
    """Problems and seeds at the indices `places` of a split."""
    return [self.starts[split][int(place)] for place in places]


class _Environment(NamedTuple):
  """Everything that verdicts need."""

  layout: Turns
  episodes: Episodes
  sizes: Mapping[Split, int]
  vocabulary: Tokenizer
  solved_reward: float


def build(config: Mapping[str, Any], *, vocabulary: Tokenizer | None = None) -> HostTask:
  """The task of `config` (fields as in `get_config`).

  Args:
    vocabulary: used instead of the tokenizer that the config names.

  Raises: ValueError: in one line, for a field that makes no sense and for an environment that cannot be used.
  """
  config = fields.complete(config, get_config(), where="task")
  size = lambda name: fields.whole(config[name], 1, MOST_TOKENS, where=f"task.{name}")
  layout = Turns(size("max_turns"), size("turn_tokens"), size("observation_tokens"))
  solved_reward = fields.number(config["solved_reward"], -1e19, 1e19, where="task.solved_reward")
  workers, calls = _calls(config)
  try:
    starts = _starts(config)
    questions = _questions(calls, workers, starts)
  except ValueError:
    calls.close()
    raise
  vocabulary = vocabulary or host.pretrained_vocabulary(config["tokenizer"])
  of_text = {**config, "response_tokens": layout.response_tokens}
  kept = {split: encode(questions[split], of_text, vocabulary).places for split in SPLITS}
  take = lambda by_split: {split: [by_split[split][place] for place in kept[split]] for split in SPLITS}
  problems = (
    Problems(starts, questions) if not all(map(len, kept.values())) else Problems(take(starts), take(questions))
  )
  task = host.build(
    cast(PreparedDataset, problems), of_text, vocabulary=vocabulary, scorers=Scorers(own=lambda items: [])
  )
  slots, given = layout.observation_tokens, config["observation_template"]
  text, turn_ends = (given, ()) if given else _chat_turn(vocabulary, config)
  template = observations.template(text, PLACE, vocabulary, slots, field="observation_template")
  template = template._replace(turn_ends=turn_ends)
  start = lambda problem: problems.starts[problem[0]][problem[1]]
  episodes = Episodes(config["environment"], calls, workers, layout.max_turns, start, vocabulary, template)
  environment = _Environment(layout, episodes, task.sizes, vocabulary, solved_reward)
  notes = Notes([episodes], [])
  return dataclasses.replace(
    task,
    turns=layout,
    marks_steps=True,
    provides={**task.provides, **OF_ENVIRONMENTS},
    verify=partial(_verify, environment),
    notes=notes,
    reasons=notes.reasons,
    close=episodes.close,
    left_out={split: len(questions[split]) - len(kept[split]) for split in SPLITS},
  )


def _calls(config: Mapping[str, Any]) -> tuple[int, Calls]:
  """Number of workers, and the callable that answers their jobs: in worker processes, or in this process."""
  workers = fields.whole(config["workers"], 0, 1024, where="task.workers")
  seconds = fields.number(config["seconds_per_call"], 0.01, 3600.0, where="task.seconds_per_call")
  if config["isolation"] not in host.ISOLATION:
    raise ValueError(f"task.isolation: got {config['isolation']!r}, want one of {', '.join(host.ISOLATION)}")
  name, arguments = config["environment"], _plain(config["arguments"])
  if not workers:
    return 1, Host(scoring.load(name, field=FIELD, kind="Class"), arguments)
  isolated = config["isolation"] == "required"
  return workers, Workers(name, arguments, count=workers, seconds=seconds, isolated=isolated)


def _plain(arguments: Any) -> dict[str, Any]:
  if not hasattr(arguments, "items"):
    raise ValueError(f"task.arguments: got {arguments!r}, want names and values")
  return entries.loads(entries.dumps(dict(arguments)))


def _starts(config: Mapping[str, Any]) -> dict[Split, list[dict[str, Any]]]:
  """Problems and seeds of both splits; a problem's hash alone decides its split."""
  number = fields.whole(config["problems"], 2, 2**31 - 1, where="task.problems")
  seed = fields.whole(config["seed"], 0, 2**31 - 1, where="task.seed")
  fraction = fields.number(config["held_out_fraction"], 1 / 64, 1 / 2, where="task.held_out_fraction")
  listed = problems_of(scoring.load(config["environment"], field=FIELD, kind="Class"), _plain(config["arguments"]))
  starts = [
    {"problem": problem, "seed": seed + place}
    for place, problem in enumerate([{}] * number if listed is None else listed)
  ]
  # The split of a listed problem follows from its content, not from its place in the list.
  content = lambda start: entries.dumps(start["problem"]) if listed is not None else str(start["seed"])
  divided = divide([Problem(content(start), "", start) for start in starts], fraction)
  return {split: [problem.entry for problem in getattr(divided, split)] for split in SPLITS}


def _questions(calls: Calls, workers: int, starts: Mapping[Split, list[dict[str, Any]]]) -> dict[Split, list[str]]:
  """First observations of all problems. Each worker begins one at a time, so that if all hang, one deadline passes.

  Raises: ValueError: the environment gives none for a problem, in one line.
  """
  questions: dict[Split, list[str]] = {split: [] for split in SPLITS}
  everything = [(split, start) for split in SPLITS for start in starts[split]]
  for first in range(0, len(everything), workers):
    batch = everything[first : first + workers]
    jobs = [
      (index, {"episode": first + index, "actions": [], "drop": [], **start}) for index, (_, start) in enumerate(batch)
    ]
    for (split, start), answer in zip(batch, calls(jobs), strict=True):
      if "first" not in answer:
        raise ValueError(f"{FIELD}: problem {entries.dumps(start)[:80]} cannot begin: {_failure(answer)}")
      questions[split].append(answer["first"])
  return questions


def _failure(answer: Mapping[str, Any]) -> str:
  """Why a problem did not begin, in one line."""
  if answer.get("ended") == TIME:
    return "it took longer than task.seconds_per_call allows"
  how = "its process ended" if "ended" in answer else "out of memory"
  return str(answer.get("fatal") or answer.get("error") or how)


def _chat_turn(vocabulary: Tokenizer, config: Mapping[str, Any]) -> tuple[str, tuple[int, ...]]:
  """Template of an observation as a user's turn of a chat, up to the start of the policy's next turn, and the ids that
  end the previous turn. Without a chat template, an observation is put on lines of its own."""
  if not hasattr(vocabulary, "apply_chat_template") or getattr(vocabulary, "chat_template", None) == "":
    return f"\n{PLACE}\n", ()
  turns = ("user", _QUESTION), ("assistant", _ANSWER), ("user", PLACE)
  conversation = [{"role": role, "content": content} for role, content in turns]
  arguments = dict(config["chat_template_arguments"])
  text = vocabulary.apply_chat_template(conversation, add_generation_prompt=True, **arguments)
  rest, end = text.partition(_ANSWER)[2], vocabulary.decode([vocabulary.end_id])
  return (rest.removeprefix(end), end_ids(vocabulary)) if rest.startswith(end) else (rest, ())


def _verify(
  environment: _Environment,
  ids: Int[np.ndarray, " B"],
  split: Split,
  tokens: Int[np.ndarray, "B R"],
  mask: Bool[np.ndarray, "B R"],
) -> Verdicts:
  """Answer the last turns of recorded episodes, and score each whole episode."""
  layout = environment.layout
  layout.check(tokens)
  tokens, mask, ids = np.asarray(tokens), np.asarray(mask), np.asarray(ids)
  if len(ids) and not 0 <= ids.min() <= ids.max() < environment.sizes[split]:
    raise ValueError(f"{split} ids go from 0 to {environment.sizes[split] - 1}, got {ids.min()} to {ids.max()}")
  records = [_record(layout, (split, int(number)), *row) for number, *row in zip(ids, tokens, mask, strict=True)]
  outcomes = environment.episodes(records)
  arrays = _arrays(environment, outcomes)
  exists = np.array([[turn < len(record.turns) for turn in range(layout.max_turns)] for record in records], bool)
  step_ids = np.where(
    mask & ~layout.observed & exists.reshape(-1, layout.max_turns)[:, layout.turn_ids], layout.turn_ids, -1
  )
  rewards = arrays["turn_rewards"].sum(axis=1)
  scored = np.array([not outcome.failure for outcome in outcomes], bool)
  failed = {
    f"part/{name}": np.array([outcome.failure == name for outcome in outcomes], np.float32) for name in FAILURES
  }
  verdict: dict[str, Any] = {
    "rewards": rewards,
    "reward_mask": scored,
    "step_ids": step_ids.astype(np.int32),
    "token_rewards": _on_last_tokens(layout, arrays["turn_rewards"], mask),
    "extras": {"correct": scored & arrays["done"] & (rewards >= environment.solved_reward), **failed, **arrays},
  }
  return Verdicts(**verdict)


def _record(
  layout: Turns, problem: tuple[Split, int], tokens: Int[np.ndarray, " R"], mask: Bool[np.ndarray, " R"]
) -> Record:
  """The record of a row, up to the first turn that is missing."""
  written = lambda start, slots: tuple(int(t) for t in tokens[start : start + slots][mask[start : start + slots]])
  turns, answers = [], []
  for number in range(layout.max_turns):
    if turn := written(layout.start(number), layout.turn_tokens):
      turns.append(turn)
    else:
      break
    answer = written(layout.start(number) + layout.turn_tokens, layout.observation_tokens)
    if number == layout.max_turns - 1 or not answer:
      break
    answers.append(answer)
  return Record(problem, tuple(turns), tuple(answers))


def _arrays(environment: _Environment, outcomes: list[Outcome]) -> dict[str, np.ndarray]:
  """Extras of `OF_ENVIRONMENTS` except `correct`. The last turn gets no observation."""
  layout, rows = environment.layout, len(outcomes)
  arrays = {
    "observation": np.full((rows, layout.observation_tokens), environment.vocabulary.pad_id, np.int32),
    "observation_mask": np.zeros((rows, layout.observation_tokens), bool),
    "done": np.zeros(rows, bool),
    "turn_rewards": np.zeros((rows, layout.max_turns), np.float32),
    "state_ids": np.full((rows, layout.max_turns + 1), UNKNOWN, np.int32),
  }
  for row, outcome in enumerate(outcomes):
    arrays["turn_rewards"][row, : len(outcome.rewards)] = outcome.rewards
    arrays["state_ids"][row, : len(outcome.states)] = outcome.states
    arrays["done"][row] = outcome.done or len(outcome.rewards) == layout.max_turns
    if not arrays["done"][row]:
      arrays["observation"][row, -len(outcome.observation) :] = outcome.observation
      arrays["observation_mask"][row, -len(outcome.observation) :] = True
  return arrays


def _on_last_tokens(layout: Turns, rewards: np.ndarray, mask: Bool[np.ndarray, "B R"]) -> np.ndarray:
  """Rewards of turns, each on the last token of its turn."""
  on_tokens = np.zeros(mask.shape, np.float32)
  counts = mask[:, layout.slots].sum(axis=2)
  rows, turns = np.nonzero(counts)
  on_tokens[rows, layout.slots[turns, counts[rows, turns] - 1]] = rewards[rows, turns]
  return on_tokens
