"""Environments of the package verifiers (github.com/PrimeIntellect-ai/verifiers) as text environments.

config.task = {"name": "rl_jax.tasks.environments.host",
               "environment": "rl_jax.tasks.environments.verifiers_package:Verifiers",
               "arguments": {"environment": "my-environment", "options": {…}, "problems": 256}}

The package plays an episode by itself and asks a model client for replies; here the replies are the policy's turns.
`Verifiers` takes packages with `load_environment` (releases from 0.1.11 and below 0.2), `Tasks` those with a taskset
(`verifiers.v1`). The rubric, or the task, gives the reward at the end of an episode.

An environment that calls tools, starts containers or servers, or has several agents needs more than text and is refused
in one line. Imports no JAX.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from rl_jax.tasks.environments.packages import package
from rl_jax.tasks.environments.suspended import Ask, Suspended
from rl_jax.tasks.verifiers.errors import CannotVerify

Message = dict[str, str]
CLASSIC = "verifiers>=0.1.11,<0.2"
"""Releases with `load_environment` whose environments ask a client of the package; earlier ones ask OpenAI's."""


class _Played:
  """An episode played by a program of the package, which subclasses define."""

  def __init__(self) -> None:
    self._episode: Suspended | None = None

  def _program(self, problem: Mapping[str, Any], ask: Ask) -> Any:
    """A coroutine that plays the problem and returns the reward of all of it."""
    raise AssertionError("a subclass has it")

  def reset(self, problem: Mapping[str, Any], seed: int) -> list[Message]:
    """Begin; return the messages that the policy replies to first."""
    self._episode = Suspended(lambda ask: self._program(problem, ask))
    question = self._episode.question()
    if question is None:
      raise ValueError("the episode has ended before the policy was asked")
    return question

  def step(self, action: str) -> tuple[str, float, bool]:
    """Reply; return the next messages as one text, and the reward at the end."""
    assert self._episode is not None, "an episode begins with reset"
    self._episode.reply(action)
    question = self._episode.question()
    if question is None:
      return "", float(self._episode.result()), True
    return "\n\n".join(message["content"] for message in question), 0.0, False

  def close(self) -> None:
    """Abandon the episode."""
    if self._episode is not None:
      self._episode.cancel()


def _text(content: Any) -> str:
  """Text of a message's content. Raises: CannotVerify: it contains images or audio."""
  if content is None or isinstance(content, str):
    return content or ""
  parts = [part if isinstance(part, dict) else part.model_dump() for part in content]
  if any(part.get("type") != "text" for part in parts):
    raise CannotVerify("a message of the environment holds more than text")
  return "\n".join(part["text"] for part in parts)


def _plain(messages: Any) -> list[Message]:
  """Messages as roles and texts."""
  if isinstance(messages, str):
    return [{"role": "user", "content": messages}]
  dumped = [message if isinstance(message, dict) else message.model_dump() for message in messages]
  return [{"role": message["role"], "content": _text(message.get("content"))} for message in dumped]


def _cached(load: Any) -> Any:
  """A function of a name and options, cached per process."""
  by_text = functools.cache(lambda name, options: load(name, json.loads(options)))
  return lambda name, options: by_text(name, json.dumps(dict(options or {}), sort_keys=True))


# `CLASSIC` releases: an environment loops over turns and asks a client.


@_cached
def _environment(name: str, options: Mapping[str, Any]) -> Any:
  vf = package("verifiers")
  if not hasattr(vf, "load_environment"):
    raise CannotVerify(f"this release of verifiers has no load_environment: take Tasks, or install '{CLASSIC}'")
  try:
    vf.Client  # noqa: B018
  except AttributeError as error:  # an early release, or a later one without a package that its clients import
    raise CannotVerify(f"verifiers gives no Client ({error}): install '{CLASSIC}'") from error
  return vf.load_environment(name, **options)


class Verifiers(_Played):
  """One episode of an environment with `load_environment`.

  Args:
    environment: its name, which is that of an installed package.
    options: keyword arguments of `load_environment`.
    problems: largest number of rows of its data set.
  """

  def __init__(self, environment: str, options: Mapping[str, Any] | None = None, problems: int = 256):
    super().__init__()
    del problems
    self._environment = _environment(environment, options)

  @staticmethod
  def problems(environment: str, options: Mapping[str, Any] | None = None, problems: int = 256) -> list[dict[str, Any]]:
    """Rows of its data set."""
    rows = _environment(environment, options).get_dataset()
    return [json.loads(json.dumps(dict(rows[place]))) for place in range(min(problems, len(rows)))]

  async def _program(self, problem: Mapping[str, Any], ask: Ask) -> float:
    state = await self._environment.rollout(dict(problem), _client(ask), "policy", {})
    if state.get("error"):
      raise RuntimeError(f"the environment failed: {state['error']!r}") from state["error"]
    await self._environment.rubric.score_rollout(state)
    return float(state["reward"] or 0.0)


def _client(ask: Ask) -> Any:
  """A client of the package that sends the policy the messages it has not seen yet and returns its reply."""
  vf, types = package("verifiers"), package("verifiers.types")

  async def get_response(self, prompt, model, sampling_args, tools=None, **more):
    if tools:
      raise CannotVerify("the environment calls tools by the interface of a model's API, which a policy of text lacks")
    messages = _plain(prompt)
    spoken = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    new = messages[spoken[-1] + 1 :] if self.replies else messages
    self.replies += 1
    reply = types.ResponseMessage(
      content=await ask(new), reasoning_content=None, finish_reason="stop", is_truncated=False, tokens=None
    )
    return types.Response(id="policy", created=0, model=model, usage=None, message=reply)

  unused = {name: lambda *_, **__: None for name in getattr(vf.Client, "__abstractmethods__", ())}
  client = type("Policy", (vf.Client,), {**unused, "get_response": get_response, "replies": 0})
  return client(None)


# verifiers.v1: an environment runs agents; each plays one seat.


@_cached
def _tasks(name: str, options: Mapping[str, Any]) -> tuple[Any, Any]:
  """(environment, iterator over its tasks)."""
  loaders = package("verifiers.v1.utils.loaders")
  config = {"taskset": {"id": name, **{key: x for key, x in options.items() if key != "env"}}, **options.get("env", {})}
  environment = loaders.load_environment(loaders.resolve_env_config(config))
  vf = package("verifiers.v1")
  if type(environment).finalize is not vf.Env.finalize:
    raise CannotVerify(f"{name} judges several agents together, which one policy cannot be")
  return environment, environment.taskset


@functools.cache
def _first_tasks(name: str, options: str, count: int) -> list[Any]:
  return list(itertools.islice(_tasks(name, json.loads(options))[1], count))


class Tasks(_Played):
  """One episode of a task of a taskset.

  Args:
    taskset: its id, which is that of an installed package, or of the package's own.
    options: fields of its config; `env` holds the fields of the environment's config, such as its id.
    problems: largest number of its tasks.
  """

  def __init__(self, taskset: str, options: Mapping[str, Any] | None = None, problems: int = 256):
    super().__init__()
    self._environment, _ = _tasks(taskset, options)
    self._taskset = _first_tasks(taskset, json.dumps(dict(options or {}), sort_keys=True), problems)

  @staticmethod
  def problems(taskset: str, options: Mapping[str, Any] | None = None, problems: int = 256) -> list[dict[str, Any]]:
    """Index and key of each task."""
    found = _first_tasks(taskset, json.dumps(dict(options or {}), sort_keys=True), problems)
    return [{"place": place, "key": task.key} for place, task in enumerate(found)]

  async def _program(self, problem: Mapping[str, Any], ask: Ask) -> float:
    agents = _Agents(ask)
    await self._environment.run(self._taskset[problem["place"]], agents)
    if agents.seat is None or agents.seat.trace is None:
      raise ValueError("the environment ran no agent")
    return float(agents.seat.trace.reward)


class _Agents:
  """The agents of an episode: the policy takes the only seat, whatever its name."""

  def __init__(self, ask: Ask):
    self._ask, self._name = ask, ""
    self.seat: _Seat | None = None

  def __getattr__(self, name: str) -> Any:
    if self._name not in ("", name):
      raise CannotVerify(f"the environment has several agents ({self._name}, {name}): a policy plays one")
    self._name, self.seat = name, self.seat or _Seat(self._ask)
    return self.seat


class _Seat:
  """The policy as an agent: the part of `verifiers.v1.Agent` that environments call."""

  def __init__(self, ask: Ask):
    self._ask = ask
    self.trace: Any = None
    self._task: Any = None

  async def run(self, task: Any) -> Any:
    """Reply to a task once; return the trace, scored."""
    async with self.interaction(task) as interaction:
      await interaction.turn()
    return self.trace

  @contextlib.asynccontextmanager
  async def interaction(self, task: Any) -> AsyncIterator[Any]:
    """A conversation over a task, which is scored at its end."""
    vf = package("verifiers.v1")
    kind = type(task)
    own = [name for name in ("setup", "finalize") if getattr(kind, name) is not getattr(vf.Task, name)]
    if kind.NEEDS_CONTAINER or own or kind.toolsets(task.config):
      raise CannotVerify(
        f"a {kind.__name__} needs a container, tools or a machine of its own ({', '.join(own) or 'tools'})"
      )
    trace = package("verifiers.v1.trace")
    config = package("verifiers.v1.configs.agent").AgentConfig()
    self._task = task
    self.trace = trace.Trace(
      task=trace.TraceTask(type=kind.__name__, data=task.data), agent=trace.AgentInfo(config=config)
    )
    yield self
    await task.score(self.trace)

  async def turn(self, message: Any = None) -> Any:
    """Say something; return the policy's reply."""
    types, agent = package("verifiers.v1.types"), package("verifiers.v1.agent")
    new: list[Message] = []
    if not self.trace.nodes:
      if self._task.data.system_prompt:
        new.append({"role": "system", "content": self._task.data.system_prompt})
      if self._task.data.prompt is not None:
        new += _plain(self._task.data.prompt)
    if message is not None:
      new += _plain(message)
    kinds = {"system": types.SystemMessage, "user": types.UserMessage, "assistant": types.AssistantMessage}
    self._write([kinds[m["role"]](content=m["content"]) for m in new], sampled=False)
    reply = types.AssistantMessage(content=await self._ask(new))
    self._write([reply], sampled=True)
    return agent.Segment(messages=[reply], root_reply=reply.content)

  def _write(self, messages: list[Any], *, sampled: bool) -> None:
    node = package("verifiers.v1.graph").MessageNode
    for message in messages:
      parent = len(self.trace.nodes) - 1 if self.trace.nodes else None
      self.trace.nodes.append(node(parent=parent, message=message, sampled=sampled))
