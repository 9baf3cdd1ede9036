"""Environments of other packages, real ones, where they are installed: played by hand, and begun again."""

from __future__ import annotations

import itertools
import sys
import textwrap
import types

import pytest

from rl_jax.tasks.environments.gymnasium_text import Gymnasium
from rl_jax.tasks.environments.packages import package
from rl_jax.tasks.environments.suspended import Suspended
from rl_jax.tasks.environments.text import Host, problems_of
from rl_jax.tasks.environments.textarena_games import TextArena
from rl_jax.tasks.environments.verifiers_package import Tasks, Verifiers
from rl_jax.tasks.verifiers.errors import CannotVerify


def played(environment, arguments, actions, problem=None, seed=0):
  """What a job gives: (first observation, answers)."""
  job = {"episode": 1, "problem": problem or {}, "seed": seed, "actions": actions, "drop": []}
  answer = Host(environment, arguments).answer(job)
  assert answer.keys() == {"first", "answers"}, answer
  return answer["first"], answer["answers"]


def failure(environment, arguments, actions=(), problem=None):
  job = {"episode": 1, "problem": problem or {}, "seed": 0, "actions": list(actions), "drop": []}
  answer = Host(environment, arguments).answer(job)
  return answer.get("fatal") or answer.get("error")


def test_a_package_that_is_not_there_is_one_line():
  with pytest.raises(CannotVerify, match="the package not_a_package is not installed here.*pip install not_a_package"):
    package("not_a_package.part")


# Programs that ask.


def test_a_program_is_suspended_where_it_asks():
  log = []

  async def program(ask):
    for number in itertools.count():
      log.append(await ask(f"question {number}"))
      if log[-1] == "stop":
        return len(log)

  one, other = Suspended(program), Suspended(program)
  assert [one.question(), other.question(), one.question()] == ["question 0"] * 3
  one.reply("a")
  assert one.question() == "question 1" and log == ["a"]
  other.reply("stop")
  assert other.question() is None and other.result() == 2
  one.cancel()


def test_what_a_program_raises_comes_where_it_is_asked():
  async def program(ask):
    raise KeyError(await ask(1))

  suspended = Suspended(program)
  assert suspended.question() == 1
  suspended.reply("gone")
  with pytest.raises(KeyError, match="gone"):
    suspended.question()


# gymnasium.

LAKE = {
  "id": "FrozenLake-v1",
  "options": {"render_mode": "ansi", "is_slippery": False},
  "actions": ["left", "down", "right", "up"],
  "instructions": "Go to G.",
}


def test_a_frozen_lake_of_gymnasium():
  pytest.importorskip("gymnasium")
  way = ["down", "down", "right", "right", "down", "right"]
  first, answers = played(Gymnasium, LAKE, way)
  assert first.startswith("Go to G.\n\n") and "[S]FFF" in first
  assert [(reward, done) for _, reward, done in answers] == [(0.0, False)] * 5 + [(1.0, True)]
  assert "[F]HFH" in answers[0][0]
  assert played(Gymnasium, LAKE, ["swim"])[1] == [("no action: write one of left, down, right, up", 0.0, False)]


def test_a_slippery_lake_is_the_same_again_with_one_seed():
  pytest.importorskip("gymnasium")
  slippery = LAKE | {"options": {"render_mode": "ansi", "is_slippery": True}}
  runs = [played(Gymnasium, slippery, ["right", "right", "down", "down"], seed=seed) for seed in (3, 3, 4, 5)]
  assert runs[0] == runs[1] and runs[0] not in runs[2:]


def test_an_observation_that_is_no_text_is_one_line():
  pytest.importorskip("gymnasium")
  assert "neither the observation, of type int, nor the" in failure(Gymnasium, {"id": "FrozenLake-v1"})


# textarena.


def test_a_game_of_textarena():
  pytest.importorskip("textarena")
  game = {"game": "GuessTheNumber-v0"}
  first, answers = played(TextArena, game, [f"[{n}]" for n in range(1, 4)], seed=7)
  assert "Guess" in first and 1 <= len(answers) <= 3 and all("Player" not in text[:10] for text, *_ in answers)
  reached = None
  for number in range(1, 21):
    text, reward, done = played(TextArena, game, [f"[{number}]"], seed=7)[1][0]
    if done:
      reached = number, reward
  assert reached is not None and reached[1] == 1.0
  assert played(TextArena, game, ["[3]"], seed=7) == played(TextArena, game, ["[3]"], seed=7)


def test_a_game_that_is_not_known_is_one_line():
  pytest.importorskip("textarena")
  assert "not found in registry" in failure(TextArena, {"game": "Nothing-v0"})


# verifiers.


@pytest.fixture
def module(tmp_path, monkeypatch):
  """Makes an importable module of some source, as an installed environment is."""

  def make(name, source):
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name

  return make


CLASSIC = """
  import verifiers as vf
  from datasets import Dataset

  class Doubling(vf.MultiTurnEnv):
    async def env_response(self, messages, state, **kwargs):
      said = messages[-1].content
      if said == state["answer"]:
        state["final_env_response"] = [{"role": "user", "content": "right"}]
        return state["final_env_response"]
      return [{"role": "user", "content": f"not {said}"}]

  def right(completion, answer, **kwargs):
    return float(any(m.content == answer for m in completion))

  def load_environment(count=4):
    rows = [{"prompt": [{"role": "user", "content": f"twice {n}?"}], "answer": str(2 * n)} for n in range(count)]
    return Doubling(dataset=Dataset.from_list(rows), rubric=vf.Rubric(funcs=[right]), max_turns=3)
"""


def classic():
  vf = pytest.importorskip("verifiers")
  if not (hasattr(vf, "load_environment") and hasattr(vf, "Client")):
    pytest.skip("a release that Verifiers does not take")


def test_an_environment_of_verifiers_with_turns(module):
  classic()
  arguments = {"environment": module("doubling_one", CLASSIC), "options": {"count": 5}}
  problems = problems_of(Verifiers, arguments)
  assert [p["answer"] for p in problems] == ["0", "2", "4", "6", "8"]
  first, answers = played(Verifiers, arguments, ["5", "6"], problems[3])
  assert "twice 3?" in first and answers == [("not 5", 0.0, False), ("", 1.0, True)]
  assert played(Verifiers, arguments, ["5", "7", "8"], problems[3])[1][-1] == ("", 0.0, True)


def test_an_environment_of_the_package_with_problems_of_reasoning_gym(module):
  classic()
  pytest.importorskip("reasoning_gym")
  source = """
    from verifiers.envs.integrations.reasoninggym_env import ReasoningGymEnv
    def load_environment():
      return ReasoningGymEnv(gym="chain_sum", num_train_examples=3, num_eval_examples=1, seed=1)
  """
  arguments = {"environment": module("sums_of_reasoning_gym", source)}
  problem = problems_of(Verifiers, arguments)[0]
  assert played(Verifiers, arguments, ["<answer>nothing</answer>"], problem)[1] == [("", 0.0, True)]


TASKSET = """
  import verifiers.v1 as vf

  class Data(vf.TaskData):
    answer: str

  class Task(vf.Task[Data, vf.State, vf.TaskConfig]):
    @vf.reward
    async def right(self, trace) -> float:
      return float(trace.last_reply == self.data.answer)

  class Doubling(vf.Taskset[Task, vf.TasksetConfig]):
    def load(self):
      for n in range(6):
        yield Task(Data(prompt=f"twice {n}?", system_prompt="Count.", answer=str(2 * n)), self.config.task)

  __all__ = ["Doubling"]
"""
TURNS = """
  class PatientConfig(vf.EnvConfig):
    player: vf.AgentConfig = vf.AgentConfig()

  class Patient(vf.Env[PatientConfig]):
    async def run(self, task, agents):
      async with agents.player.interaction(task) as interaction:
        segment = await interaction.turn()
        for _ in range(2):
          if segment.last_reply == task.data.answer:
            break
          segment = await interaction.turn(f"not {segment.last_reply}")
      interaction.trace.record_reward("turns", interaction.trace.num_turns / 10)

  __all__ = ["Doubling", "Patient"]
"""


def test_a_taskset_of_verifiers_in_one_turn(module):
  pytest.importorskip("verifiers.v1.tasksets")
  arguments = {"taskset": module("doubling_tasks", TASKSET), "problems": 4}
  problems = problems_of(Tasks, arguments)
  assert [problem["place"] for problem in problems] == [0, 1, 2, 3] and len({p["key"] for p in problems}) == 4
  first, answers = played(Tasks, arguments, ["6"], problems[3])
  assert "Count." in first and "twice 3?" in first and answers == [("", 1.0, True)]
  assert played(Tasks, arguments, ["7"], problems[3])[1] == [("", 0.0, True)]


def test_an_environment_of_verifiers_that_runs_an_agent_over_turns(module):
  pytest.importorskip("verifiers.v1.tasksets")
  arguments = {"taskset": module("doubling_turns", TASKSET + TURNS)}
  problem = problems_of(Tasks, arguments)[3]
  assert played(Tasks, arguments, ["5", "6"], problem)[1] == [("not 5", 0.0, False), ("", pytest.approx(1.2), True)]


@pytest.mark.parametrize(
  ("has", "message"),
  [
    ((), "has no load_environment: take Tasks, or install 'verifiers>=0.1.11,<0.2'"),
    (("load_environment",), "verifiers gives no Client (module 'verifiers' has no attribute 'Client'): install 'verif"),
  ],
)
def test_a_release_that_cannot_be_played_says_what_to_take(monkeypatch, has, message):
  release = types.ModuleType("verifiers")
  for name in has:
    setattr(release, name, lambda *_, **__: None)
  monkeypatch.setitem(sys.modules, "verifiers", release)
  assert message in failure(Verifiers, {"environment": "any"})
  with pytest.raises(ValueError, match="^task.environment: problems raised CannotVerify: .*verifiers"):
    problems_of(Verifiers, {"environment": "any"})
