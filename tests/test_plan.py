"""The plan of a run: on fake devices of a CPU in a process of its own, and on TPUs that are not there."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

from rl_jax.planning.chips import CHIPS, GIB
from rl_jax.planning.collectives import Collective
from rl_jax.planning.compiled import CompiledProgram, OutOfMemory, extrapolated, falls
from rl_jax.planning.fitting import State
from rl_jax.planning.ideal import Ideal, Sizes
from rl_jax.planning.planned import Plan, scaling
from tests import commands, compilation

ROLLOUT = CompiledProgram(2 * GIB, 0, 3 * GIB, 0, 197e9, 819e9, [Collective("all-gather", 8, 5.0, 400e9)], 0, 1.0)
UPDATE = CompiledProgram(6 * GIB, GIB, 2 * GIB, 0, 788e12, 819e9, [], 0, 1.0)


def make(**changes):
  fields = dict(
    what="a model, a task",
    topology="v5e:2x4",
    chip=CHIPS["v5e"],
    mesh={"data": 1, "fsdp": 8, "tensor": 1},
    sizes=Sizes(2, 16, 8, 30),
    seeds=1,
    layers=None,
    notes=[],
    state=State(2 * GIB, 4 * GIB, 0),
    cache=GIB,
    programs={"rollout": ROLLOUT, "update": UPDATE},
    ideal={"rollout": Ideal(100e9, 1e9), "update": Ideal(700e12, 2e9)},
    advise=lambda large: [f"less {large}"],
  )
  return Plan(**fields | changes)


def test_the_roofline_by_hand():
  """Rollout: 1 ms of compute, 1 s of HBM, 2 s of sending; update: 4 s, 1 s, none. 480 tokens in 6 s."""
  assert ROLLOUT.times(CHIPS["v5e"]) == {"compute": 0.001, "HBM": 1.0, "interconnect": 2.0}
  assert make().prediction() == {"seconds": 6.0, "tokens_per_second": 80.0, "program": "update", "binds": "compute"}


def test_memory_by_hand():
  """State 6 GiB in both; a rollout adds 3, the update 2 and an output of 1."""
  plan = make()
  assert (plan.total("rollout") / GIB, plan.total("update") / GIB) == (9, 9)
  assert plan.fits and "fits" in plan.text() and plan.advice() == []
  large = make(state=State(4 * GIB, 9 * GIB, 0))
  assert large.too_large == ["rollout", "update"] and large.advice() == ["less rollout"]
  assert "does not fit: rollout, update; change\n  less rollout" in large.text()


def test_a_program_that_the_compiler_refused():
  plan = make(programs={"rollout": ROLLOUT, "update": OutOfMemory(20 * GIB)})
  assert plan.too_large == ["update"] and plan.total("update") == 26 * GIB and plan.prediction() is None
  assert "update: the compiler refused it, it needs 20.00 GiB besides its arguments" in plan.text()
  assert json.loads(json.dumps(plan.record()))["programs"]["update"]["refused"]


def test_numbers_lie_on_the_line_through_two_depths():
  one = ROLLOUT._replace(flops=3.0, collectives=[Collective("all-gather", 8, 2.0, 10.0)])
  more = [Collective("all-gather", 8, 3.0, 14.0), Collective("all-to-all", 8, 1.0, 1.0)]
  two = ROLLOUT._replace(flops=5.0, collectives=more)
  found = extrapolated(one, two, (1, 2), 10)
  assert found.flops == 21 and found.temporary == ROLLOUT.temporary
  assert found.collectives == [Collective("all-gather", 8, 11.0, 46.0), Collective("all-to-all", 8, 9.0, 9.0)]


def test_a_line_that_falls_is_not_followed():
  less = ROLLOUT._replace(temporary=ROLLOUT.temporary / 2)
  assert falls(ROLLOUT, less) == ["temporary"] and falls(less, ROLLOUT) == []
  assert extrapolated(ROLLOUT, less, (1, 2), 10).temporary == less.temporary


def test_the_table_of_scaling_has_a_line_per_program():
  lines = scaling([make(), make(programs={"rollout": OutOfMemory(GIB)})]).splitlines()
  assert lines[1].split() == "8 rollout 197 G 100 G 400 G 1 G 1 x 8 x 1".split()
  assert lines[2].split() == "8 update 788 T 700 T 0 2 G 1 x 8 x 1".split()
  assert lines[3].split() == "8 rollout refused 1 x 8 x 1".split()


def command(cache, *arguments, **environment):
  line = [sys.executable, "-m", "rl_jax.plan", *arguments]
  env = commands.environment(cache, **environment)
  return subprocess.run(line, cwd=commands.ROOT, env=env, capture_output=True, text=True, timeout=900)


SMALL = [f"--config.{override}" for override in (*commands.SMALL, "init_from=", "num_seeds=1", "model.layers=2")]
EIGHT = {"XLA_FLAGS": compilation.devices(8)}


def test_the_command_on_eight_devices(tmp_path_factory):
  """The matrix products of the programs are those of the theory, but for slots that nobody sees and what the mesh does
  not divide."""
  done = command(
    commands.shared_cache(tmp_path_factory),
    "--config=experiments/grpo.py:smoke",
    "--topology=cpu:8",
    "--format=json",
    *SMALL,
    "--config.mesh.data=1",
    "--config.mesh.fsdp=-1",
    **EIGHT,
  )
  assert done.returncode == 0, done.stderr
  assert "compiling update of 2 layers for 8 chips" in done.stderr
  (plan,) = json.loads(done.stdout)
  assert plan["fits"] and plan["chips"] == 8 and plan["prediction"]["tokens_per_second"] > 0
  for name, program in plan["programs"].items():
    assert plan["ideal"][name]["flops"] < program["flops"] < 2.5 * plan["ideal"][name]["flops"]
    assert {one["kind"] for one in program["collectives"]} >= {"all-gather"} and program["sent"] > 0


@pytest.mark.parametrize(
  "arguments, told",
  [
    (["--config=experiments/grpo.py"], "--topology is missing"),
    (["--config=experiments/grpo.py", "--topology=v5p"], "--topology='v5p': write one of"),
    (["--config=experiments/grpo.py", "--topology=cpu:1", "--layers=2,1"], "two numbers that rise, as in 1,2"),
    (["--config=experiments/grpo.py", "--topology=cpu:1", "--config.model.logprobs=pallas"], "model.logprobs=chunked"),
  ],
)
def test_mistakes_are_one_line(arguments, told, capsys):
  from rl_jax import plan

  assert plan.main(arguments) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith("rl_jax.plan: ") and told in line


ON_TPU = pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None, reason="libtpu, which compiles for TPUs, is not here"
)
FLAGS = ["--config=experiments/grpo.py", "--format=json", "--config.init_from=", "--config.num_seeds=1"]
FLAGS += ["--config.mesh.data=1", "--config.mesh.fsdp=8", "--config.model.dtype=bfloat16"]


@pytest.mark.slow
@ON_TPU
@pytest.mark.parametrize("topology", ["v5e:2x4", "v5p:2x2x2", "v6e:2x4"])
def test_chips_that_are_not_there(topology, tmp_path_factory):
  model = ["--config.model.name=qwen3-0.6b", "--config.model.layers=1"]
  done = command(commands.shared_cache(tmp_path_factory), f"--topology={topology}", *FLAGS, *model)
  assert done.returncode == 0, done.stderr
  (plan,) = json.loads(done.stdout)
  for name, program in plan["programs"].items():
    assert 0.99 * plan["ideal"][name]["flops"] < program["flops"] < 2 * plan["ideal"][name]["flops"]
    assert 0 < program["total"] < plan["chip"]["hbm"] and program["sent"] > 0


@pytest.mark.slow
@ON_TPU
def test_a_layout_for_generation_on_chips_that_are_not_there(tmp_path_factory):
  """Parameters are gathered once before the rollout, which then sends less than their share at every token."""
  model = ["--config.model.name=qwen3-0.6b", "--config.model.layers=1"]
  cache, sent = commands.shared_cache(tmp_path_factory), []
  for rules in ([], ["--config.mesh.rollout_rules.width="]):
    done = command(cache, "--topology=v5e:2x4", *FLAGS, *model, *rules)
    assert done.returncode == 0, done.stderr
    programs = json.loads(done.stdout)[0]["programs"]
    assert ("reshard" in programs) == bool(rules)
    sent.append(sum(programs[name]["sent"] for name in ("reshard", "rollout") if name in programs))
  assert sent[1] < 0.5 * sent[0], sent


@pytest.mark.slow
@ON_TPU
def test_a_model_that_is_too_large_for_them(tmp_path_factory):
  """The compiler refuses it; the command says what to change, with exit status 1."""
  model = ["--config.model.name=llama3.1-70b", "--config.model.layers=4", "--config.prompts_per_iteration=1024"]
  done = command(commands.shared_cache(tmp_path_factory), "--topology=v5e:2x4", *FLAGS, *model)
  assert done.returncode == 1, done.stderr
  (plan,) = json.loads(done.stdout)
  assert plan["programs"]["update"]["refused"] and not plan["fits"] and plan["advice"]
