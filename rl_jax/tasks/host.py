"""Host tasks: text problems, scored by a verifier in Python between compiled programs."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from rl_jax.tasks import fields, forced_answers, stop_texts
from rl_jax.tasks.datasets.prepare import PreparedDataset
from rl_jax.tasks.notes import Notes
from rl_jax.tasks.prompting import Encoding, Tokenizer, encode
from rl_jax.tasks.scoring import FAILURES, Scorer, without_rewards_of_failures_alone
from rl_jax.tasks.stop_texts import StopTexts
from rl_jax.tasks.task import ExtraSpec, ForcedAnswer, Prompts, Split, Turns, Verdicts, end_ids
from rl_jax.tasks.verifiers import companions, rewards
from rl_jax.tasks.verifiers.attempt import LARGEST
from rl_jax.tasks.verifiers.errors import CannotVerify
from rl_jax.tasks.verifiers.in_process import InProcess

SPLITS: tuple[Split, ...] = ("train", "held_out")
OWN_SCORE = "score"
"""Name of the task's own score among the parts of a training reward."""
MOST_TOKENS = 2**20
ISOLATION = ("required", "none")
FAILED_RESPONSES = {"zero": 0.0, "unscored": None}
_AT_A_TIME = 4096

FIELDS = {
  "tokenizer": "smollm2-135m-instruct",  # pretrained model that provides tokenizer and chat template
  "system_prompt": "",  # "": none
  "question_template": "{question}",  # the user's turn
  "prompt_tokens": 256,  # problems with longer prompts are dropped
  "response_tokens": 256,
  # texts of which each ends a response with the token that completes it, as in ("\n\nQuestion:",), and stays in what is
  # scored. What a prompt, an earlier turn, or a response before a cut holds of it does not count
  "stop_texts": (),
  "forced_answer_tokens": 0,  # most tokens of a right answer that a method forces to probe a belief; 0: none does
  "workers": 2,  # number of scoring processes; 0: this process, without a deadline
  "seconds_per_response": 10.0,  # CPU seconds after which a response has failed; wall time may be some times longer
  # "required": workers have no network, a read-only view of Python's folders and a user of their own, or the task is
  # refused; "none": they have the rights of this process (no namespaces here, or a verifier that needs a network)
  "isolation": "required",
  # a response that hangs, crashes or exhausts its verifier: reward "zero", or "unscored"; always unscored where nothing
  # asked with it was judged, as then the verifier is at fault
  "failed_responses": "zero",
  # in a row, in which every response timed out, crashed or had no verdict, after which a run stops; errors of the
  # verifier on all of them stop it at once
  "max_unscored_iterations": 3,
  "chat_template_arguments": {},  # variables of the chat template, as in {"enable_thinking": False}
  # in training alone, beside the task's own score: name -> {"verifier": "package.module:function", "arguments": {…},
  # "weight": 1.0}, as in {"format": {"verifier": "rl_jax.tasks.verifiers.rewards:tags", "arguments": {"names": […]}}}
  "training_terms": {},
}
"""Config fields common to all host tasks."""


PROVIDES = {
  "correct": ExtraSpec((), "bool", "True if the task's own score is 1, whatever other terms the reward has"),
  "part/timed_out": ExtraSpec((), "float32", "1 where the verifier ran out of time"),
  "part/crashed": ExtraSpec((), "float32", "1 where the verifier's process ended"),
  "part/error": ExtraSpec((), "float32", "1 where the verifier raised an error"),
}
"""Extras of all host tasks."""


def on_rows(verdicts: Verdicts, index: Int[np.ndarray, " n"], rows: int) -> Verdicts:
  """Verdicts on the rows `index`, extended to the whole batch; other rows have no step, zeros and no reward."""

  def spread(x: Any, fill: Any = 0) -> np.ndarray:
    array = np.full((rows, *np.shape(x)[1:]), fill, np.asarray(x).dtype)
    array[index] = x
    return array

  return jax.tree.map(spread, verdicts).replace(step_ids=spread(verdicts.step_ids, -1))


class Scorers(NamedTuple):
  """Functions that score responses.

  Attributes:
    own: the task's own score, used on the held-out split, and in training if there is no `train`.
    train: scores training responses, for example with format and length terms.
    parts: names of the verdicts' parts, fixed because compiled programs have fixed arrays.
    ready: checks entries before scoring, and returns notes for the user.
  """

  own: Scorer
  train: Scorer | None = None
  parts: tuple[str, ...] = ()
  ready: Callable[[Iterable[Mapping[str, Any]]], list[str]] = lambda entries: []


@dataclasses.dataclass(frozen=True)
class HostTask:
  """Python counterpart of `rl_jax.tasks.task.DeviceTask`; only `problem_ids` runs under jit.

  Attributes:
    vocabulary: tokenizer with pad_id, end_id, len, encode and decode.
    prompt_tokens, response_tokens: static widths P and R.
    levels: names of the data sets or difficulty levels.
    sizes: number of problems of each split; ids count from 0.
    fingerprint: hash of the prepared data and of the prompts made of it.
    problem_ids: (key, n, split) -> ids [n], uniform; held-out ids differ from one another where there are enough.
    prompts: (ids [N], split) -> Prompts of NumPy arrays, left-padded.
    levels_of: (ids, split) -> index of each problem's level.
    verify: (ids of the B rows, split, tokens [B, R], mask [B, R]) -> Verdicts of NumPy arrays; of no rows where a phase
      names none, for shapes and types. On the held-out split the rewards are the task's own score alone, without format
      or length terms. Objectives: the parts of the verdicts, 0 where one has no such part. Extras: `correct` [B], bool,
      the own score is 1; `part/<name>` [B], float32, for each of `FAILURES`.
    notes: lines on the verifier since the last call, for the user.
    reasons: latest lines of `notes` on the outcomes of responses, whether shown before or not.
    close: ends the verifier's workers.
    left_out: number of problems in each split with a prompt longer than `prompt_tokens`.
    max_unscored_iterations: number of consecutive iterations in which every response timed out, crashed or had no
      verdict, after which a run stops.
    stop_texts: texts that end a response, or a turn; None: only end tokens do.
    turns, provides, objectives, marks_steps, forced_answer: as in a DeviceTask. Turns are marked as steps.
  """

  vocabulary: Any
  prompt_tokens: int
  response_tokens: int
  levels: tuple[str, ...]
  sizes: Mapping[Split, int]
  fingerprint: str
  problem_ids: Callable[[PRNGKeyArray, int, Split], Int[Array, " n"]]
  prompts: Callable[[np.ndarray, Split], Prompts]
  levels_of: Callable[[Int[Array, " N"], Split], Int[Array, " N"]]
  verify: Callable[[np.ndarray, Split, Int[np.ndarray, "B R"], Bool[np.ndarray, "B R"]], Verdicts]
  notes: Callable[[], list[str]]
  reasons: Callable[[], list[str]]
  close: Callable[[], None]
  left_out: Mapping[Split, int] = dataclasses.field(default_factory=dict)
  max_unscored_iterations: int = 3
  turns: Turns | None = None
  marks_steps: bool = False
  stop_texts: StopTexts | None = None
  provides: Mapping[str, ExtraSpec] = dataclasses.field(default_factory=lambda: dict(PROVIDES))
  objectives: tuple[str, ...] = ()
  forced_answer: ForcedAnswer | None = None

  on_device: ClassVar[bool] = False
  step_values: ClassVar[None] = None
  prover_values: ClassVar[None] = None
  guessing_floor: ClassVar[None] = None
  blank_token: ClassVar[None] = None  # no token of a tokenizer says nothing
  solutions: ClassVar[None] = None
  preferences: ClassVar[None] = None
  aspects: ClassVar[tuple[str, ...]] = ()

  def demonstrate(self, key: PRNGKeyArray, prompts: Prompts) -> tuple[Any, Any]:
    """Raise ValueError: answers are texts, and no solution is known."""
    raise ValueError("a task that is scored in Python has no demonstrations: start from a pretrained model or a run")


@dataclasses.dataclass(frozen=True)
class _Problems:
  """Problems of one split, by id, without those whose prompt is too long."""

  encoded: Encoding
  levels: Int[np.ndarray, " n"]


def build(
  data: PreparedDataset,
  config: Mapping[str, Any],
  *,
  vocabulary: Tokenizer,
  scorers: Scorers,
) -> HostTask:
  """Build a host task over prepared data.

  Args:
    config: has `FIELDS`.

  Raises: ValueError: an invalid field, or a split without a prompt that is short enough.
  """
  for name in ("prompt_tokens", "response_tokens"):
    fields.whole(config[name], 1, MOST_TOKENS, where=f"task.{name}")
  names = tuple(sorted({level for split in SPLITS for level in data.levels[split]}))
  problems = {split: _problems(data, config, vocabulary, names, split) for split in SPLITS}
  sizes = {split: len(problems[split].levels) for split in SPLITS}
  by_split = {"train": scorers.train or scorers.own, "held_out": scorers.own}
  unique_scorers = list({id(scorer): scorer for scorer in by_split.values()}.values())
  writer = forced_answers.writer(config, vocabulary)
  notes = Notes(unique_scorers, scorers.ready(_all_entries(data, problems)))
  return HostTask(
    vocabulary=vocabulary,
    prompt_tokens=config["prompt_tokens"],
    response_tokens=config["response_tokens"],
    levels=names,
    sizes=sizes,
    fingerprint=_fingerprint(data, problems),
    problem_ids=partial(_problem_ids, sizes),
    prompts=partial(_prompts, data, problems, config["prompt_tokens"], vocabulary.pad_id, writer),
    forced_answer=writer and writer.forced_answer(),
    levels_of=partial(_levels_of, problems),
    verify=partial(_verify, data, problems, vocabulary, by_split, scorers.parts),
    objectives=scorers.parts,
    notes=notes,
    reasons=notes.reasons,
    close=partial(_close, unique_scorers),
    left_out={split: len(data.questions[split]) - sizes[split] for split in SPLITS},
    stop_texts=stop_texts.build(config["stop_texts"], vocabulary),
    max_unscored_iterations=fields.whole(
      config["max_unscored_iterations"], 1, 2**31 - 1, where="task.max_unscored_iterations"
    ),
  )


def scorer(verifier: str, arguments: Mapping[str, Any], config: Mapping[str, Any]) -> Scorer:
  """Scorer that runs a verifier in `workers` isolated processes with a deadline per response, or in this process.

  Args:
    verifier: 'package.module:function', see `scoring`.
    config: has `FIELDS`.

  Raises: ValueError: a field makes no sense, or this machine cannot isolate the workers.
  """
  workers = fields.whole(config["workers"], 0, 1024, where="task.workers")
  seconds = fields.number(config["seconds_per_response"], 0.01, 3600.0, where="task.seconds_per_response")
  for name, choices in (("isolation", ISOLATION), ("failed_responses", FAILED_RESPONSES)):
    if config[name] not in tuple(choices):
      raise ValueError(f"task.{name}: got {config[name]!r}, want one of {', '.join(choices)}")
  least = companions.seconds(verifier, arguments)
  if least > seconds:
    raise ValueError(
      f"task.seconds_per_response: {seconds:g} s are less than the {least:g} s that the limits of {verifier} give to "
      "one response: raise it, or lower limits.total_seconds"
    )
  failed_reward = FAILED_RESPONSES[config["failed_responses"]]
  if not workers:
    return InProcess(verifier, arguments, failed_reward=failed_reward)
  from rl_jax.tasks.verifiers import confinement
  from rl_jax.tasks.verifiers.pool import Pool

  isolated = config["isolation"] == "required"
  if isolated:
    confinement.check()
  return Pool(verifier, arguments, workers=workers, seconds=seconds, isolated=isolated, failed_reward=failed_reward)


def scorers(verifier: str, arguments: Mapping[str, Any], config: Mapping[str, Any]) -> Scorers:
  """Scorers: the task's own score, and for training its sum with the terms of `training_terms`.

  Args:
    verifier, arguments: the task's own score.
    config: has `FIELDS`.

  Raises: ValueError: a term makes no sense.
  """
  terms = _terms(config["training_terms"])
  if OWN_SCORE in terms:
    raise ValueError(f"task.training_terms: {OWN_SCORE!r} is the name of the task's own score, take another")
  own = scorer(verifier, arguments, config)
  if not terms:
    return Scorers(
      own, parts=companions.parts(verifier, arguments), ready=partial(companions.ready, verifier, arguments)
    )
  components = {OWN_SCORE: {"verifier": verifier, "arguments": dict(arguments)}, **terms}
  combined, options = f"{rewards.__name__}:combined", {"components": components}
  parts, ready = companions.parts(combined, options), partial(companions.ready, combined, options)
  return Scorers(own, scorer(combined, options, config), parts, ready)


def _terms(terms: Any) -> dict[str, dict[str, Any]]:
  """The training terms. Raises: ValueError: they are not a mapping of mappings."""
  if not hasattr(terms, "items"):
    raise ValueError(f"task.training_terms: got {terms!r}, want names, each with a mapping of fields")
  for name, term in terms.items():
    if not hasattr(term, "items"):
      raise ValueError(f"task.training_terms.{name}: got {term!r}, want a mapping of fields")
  return {name: dict(term) for name, term in terms.items()}


def pretrained_vocabulary(name: str) -> Tokenizer:
  """The tokenizer of a pretrained model."""
  from rl_jax.models.tokenizer import load

  return load(name)


def _problems(
  data: PreparedDataset, config: Mapping[str, Any], vocabulary: Tokenizer, names: tuple[str, ...], split: Split
) -> _Problems:
  encoded = encode(data.questions[split], config, vocabulary)
  if not len(encoded.places):
    raise ValueError(
      f"all {len(data.questions[split])} {split} prompts have more than task.prompt_tokens={config['prompt_tokens']} "
      f"tokens; the longest has {encoded.longest}"
    )
  numbers = {name: number for number, name in enumerate(names)}
  return _Problems(encoded, np.array([numbers[data.levels[split][place]] for place in encoded.places], np.int32))


def _fingerprint(data: PreparedDataset, problems: Mapping[Split, _Problems]) -> str:
  digest = hashlib.sha256(data.fingerprint.encode())
  for split in SPLITS:
    for array in problems[split].encoded[:3]:
      digest.update(np.asarray(array, "<i8").tobytes())
  return digest.hexdigest()


def _problem_ids(sizes: Mapping[Split, int], key: PRNGKeyArray, n: int, split: Split) -> Int[Array, " n"]:
  if split == "held_out" and n <= sizes[split]:
    return jax.random.permutation(key, jnp.arange(sizes[split], dtype=jnp.int32))[:n]
  return jax.random.randint(key, (n,), 0, sizes[split], jnp.int32)


def _prompts(
  data: PreparedDataset,
  problems: Mapping[Split, _Problems],
  width: int,
  pad_id: int,
  writer: forced_answers.Writer | None,
  ids: Int[np.ndarray, " N"],
  split: Split,
) -> Prompts:
  ids = _checked(problems, ids, split)
  tokens, mask = problems[split].encoded.padded(ids, width, pad_id)
  answers = writer.metadata(data.entries(problems[split].encoded.places[ids], split)) if writer else {}
  arrays: dict[str, Any] = {"tokens": tokens, "mask": mask, "ids": ids.astype(np.int32), "metadata": answers}
  return Prompts(**arrays, levels=problems[split].levels[ids])


def _checked(problems: Mapping[Split, _Problems], ids: Int[np.ndarray, " N"], split: Split) -> Int[np.ndarray, " N"]:
  ids, size = np.asarray(ids), len(problems[split].levels)
  if len(ids) and not 0 <= ids.min() <= ids.max() < size:
    raise ValueError(f"{split} ids go from 0 to {size - 1}, got {ids.min()} to {ids.max()}")
  return ids


def _verify(
  data: PreparedDataset,
  problems: Mapping[Split, _Problems],
  vocabulary: Tokenizer,
  scorers: Mapping[str, Scorer],
  parts: tuple[str, ...],
  ids: Int[np.ndarray, " B"],
  split: Split,
  tokens: Int[np.ndarray, "B R"],
  mask: Bool[np.ndarray, "B R"],
) -> Verdicts:
  different, rows = np.unique(_checked(problems, ids, split), return_inverse=True)
  entries = data.entries(problems[split].encoded.places[different], split)
  responses = [_text(vocabulary, row[slots]) for row, slots in zip(np.asarray(tokens), np.asarray(mask), strict=True)]
  verdicts = scorers[split]([(response, entries[row]) for response, row in zip(responses, rows, strict=True)])
  if len(verdicts) != len(responses):
    raise CannotVerify(f"the scorer gave {len(verdicts)} verdicts on {len(responses)} responses")
  unknown = {name for verdict in verdicts for name in verdict.parts} - {*parts, *FAILURES}
  if unknown:
    raise CannotVerify(
      f"the verifier gave parts {sorted(unknown)} that were not announced: known are {list(parts)}; name all in a "
      "function <verifier>_parts(**arguments) beside it"
    )
  verdicts = without_rewards_of_failures_alone(verdicts)
  part = lambda name: np.array([verdict.parts.get(name, 0.0) for verdict in verdicts], np.float32)
  scored = [verdict.reward is not None and abs(verdict.reward) <= LARGEST for verdict in verdicts]
  totals = np.array([v.reward if is_scored else 0.0 for v, is_scored in zip(verdicts, scored, strict=True)], np.float32)
  part_values = {name: part(name) for name in (*parts, *FAILURES)}
  own = part_values[OWN_SCORE] if split == "train" and OWN_SCORE in part_values else totals
  arrays: dict[str, Any] = {
    "rewards": totals,
    "reward_mask": np.array(scored, bool),
    "step_ids": np.full(np.shape(tokens), -1, np.int32),
    "extras": {"correct": own >= 1.0, **{f"part/{name}": part_values[name] for name in FAILURES}},
    "objectives": np.stack([part_values[name] for name in parts], axis=1) if parts else None,
  }
  return Verdicts(**arrays)


def _text(vocabulary: Tokenizer, ids: Int[np.ndarray, " n"]) -> str:
  """The response without its end token."""
  if len(ids) and ids[-1] in end_ids(vocabulary):
    ids = ids[:-1]
  return vocabulary.decode([int(token) for token in ids])


def _levels_of(problems: Mapping[Split, _Problems], ids: Int[Array, " N"], split: Split) -> Int[Array, " N"]:
  return jnp.asarray(problems[split].levels)[ids]


def _all_entries(data: PreparedDataset, problems: Mapping[Split, _Problems]) -> Iterator[dict[str, Any]]:
  for split in SPLITS:
    places = problems[split].encoded.places
    for first in range(0, len(places), _AT_A_TIME):
      yield from data.entries(places[first : first + _AT_A_TIME], split)


def _close(scorers: list[Scorer]) -> None:
  for source in scorers:
    getattr(source, "close", lambda: None)()
