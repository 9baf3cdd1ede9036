"""Methods of reasoning steps refuse a task whose verifier marks none: they would find none in any response."""

from __future__ import annotations

import json

import pytest

from rl_jax.configuration import configs
from rl_jax.tasks import json_lines
from tests.methods.batches import config_of
from tests.tasks.byte_vocabulary import Bytes

OPTIONS = {
  "spae": {},
  "pav": {"prover": "samples"},
  "scar": {"blank_token": 2},
  "verifier_training": {},
  "oracle": {"completions": 2},
}


@pytest.fixture(scope="module")
def task(tmp_path_factory):
  """Questions in a file, whose answers are judged as a whole and can be forced."""
  folder = tmp_path_factory.mktemp("questions")
  lines = [json.dumps({"question": f"{i}+1=", "answer": f"#### {i + 1}"}) for i in range(40)]
  (folder / "sums.jsonl").write_text("\n".join(lines))
  fields = {"file": str(folder / "sums.jsonl"), "workers": 0, "prompt_tokens": 12}
  fields |= {"answer": "whole", "forced_answer_tokens": 3}
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("RL_JAX_CACHE", str(folder / "cache"))
    yield json_lines.build(json_lines.get_config() | fields, vocabulary=Bytes())


@pytest.mark.parametrize("name", OPTIONS)
def test_a_task_without_steps_is_refused(name, task):
  assert task.forced_answer is not None and not task.marks_steps
  build = configs.resolve_role(f"rl_jax.methods.{name}").build
  with pytest.raises(ValueError, match="of steps, and the verifier of this task marks none: use another task"):
    build(config_of(name, **OPTIONS[name]), task)


def test_scar_takes_tokens_where_there_are_no_steps(task):
  build = configs.resolve_role("rl_jax.methods.scar").build
  assert build(config_of("scar", blank_token=2, spans="tokens"), task).rollout.phases
