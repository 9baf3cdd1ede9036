"""Format and length rewards, and sums and products of verifiers with their parts."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.rewards.length import overlong_penalty
from rl_jax.tasks.verifiers import companions
from rl_jax.tasks.verifiers.errors import CannotVerify
from rl_jax.tasks.verifiers.rewards import combined, combined_parts, overlong, pattern, tags

HERE = "rl_jax.tasks.verifiers.rewards"
FORMAT = {"verifier": f"{HERE}:tags", "arguments": {"names": ["think", "answer"]}, "weight": 0.2}
RIGHT = {"verifier": "rl_jax.tasks.scoring:equal_numbers", "arguments": {"answer": "tag"}}


def test_a_pattern_matches_the_whole_response():
  regex = r"<think>.*</think>\s*\d+"
  assert pattern(" <think>a\nb</think>\n12\n", {}, regex=regex).reward == 1.0
  assert pattern("<think>a</think> 12 apples", {}, regex=regex).reward == 0.0
  with pytest.raises(CannotVerify, match=r"'\(' is no regular expression"):
    pattern("", {}, regex="(")


@pytest.mark.parametrize(
  ("response", "share"),
  [
    ("<think>a</think><answer>1</answer>", 1.0),
    ("<answer>1</answer><think>a</think>", 0.5),
    ("<think>a<answer>1</answer></think>", 0.5),
    ("<answer>1</answer>", 0.5),
    ("<think>a</think><answer>1</answer><answer>2</answer>", 0.5),
    ("</think><think>", 0.0),
    ("", 0.0),
  ],
)
def test_tags_stand_once_and_in_order(response, share):
  assert tags(response, {}, names=["think", "answer"]).reward == share


def test_length_follows_the_kernel():
  lengths = np.arange(0, 130, 7)
  expected = overlong_penalty(jnp.array(lengths), max_length=100, buffer=40, factor=0.5)
  for unit, text in (("characters", "x"), ("words", "ab ")):
    found = [overlong(text * n, {}, longest=100, buffer=40, factor=0.5, unit=unit).reward for n in lengths]
    np.testing.assert_allclose(found, expected, atol=1e-6)
  with pytest.raises(CannotVerify, match="want 0 < buffer <= longest"):
    overlong("", {}, longest=5, buffer=6)


def test_sums_and_products_show_their_parts():
  components = {"right": RIGHT, "format": FORMAT}
  response, entry = "<answer>3</answer>", {"answer": "3"}
  verdict = combined(response, entry, components=components)
  assert verdict.reward == pytest.approx(1.0 + 0.2 * 0.5)
  assert verdict.parts == {"right": 1.0, "format": 0.5}
  assert combined(response, entry, components=components, how="product").reward == pytest.approx(0.5**0.2)
  nested = {"all": {"verifier": f"{HERE}:combined", "arguments": {"components": components}}, "format": FORMAT}
  parts = combined(response, entry, components=nested).parts
  assert set(parts) == set(combined_parts(components=nested)) == {"all", "all/right", "all/format", "format"}


def test_parts_of_a_component_are_announced():
  code = {"verifier": "rl_jax.tasks.verifiers.programs:unit_tests", "arguments": {"slots": 1}}
  names = companions.parts(f"{HERE}:combined", {"components": {"code": code}})
  assert names == ("code", "code/tests", "code/tests_passed", "code/tests_unjudged", "code/tests_inside", "code/test/0")
  assert companions.parts("rl_jax.tasks.scoring:equal_numbers", {"answer": "tag"}) == ()


def test_components_are_ready_and_need_the_time_of_all():
  code = {"verifier": "rl_jax.tasks.verifiers.programs:unit_tests", "arguments": {"limits": {"total_seconds": 3.0}}}
  components = {"code": code, "again": code, "right": RIGHT}
  assert companions.seconds(f"{HERE}:combined", {"components": components}) == 6.0
  with pytest.raises(CannotVerify, match="an entry needs a list of `tests`"):
    companions.ready(f"{HERE}:combined", {"components": components}, [{"answer": "1"}])
  assert companions.ready(f"{HERE}:combined", {"components": {"right": RIGHT}}, [{"answer": "1"}]) == []


def test_an_empty_tag_is_none():
  names = ["think", "answer"]
  assert tags("<think></think><answer> \n</answer>", {}, names=names).reward == 0.0
  assert tags("<think>so</think><answer>1</answer>", {}, names=names).reward == 1.0
  assert tags("<think>so</think><answer>12</answer>", {}, names=names, shortest=3).reward == 0.0
  assert tags("<think></think><answer></answer>", {}, names=names, shortest=0).reward == 1.0


def test_without_one_component_the_whole_is_unscored():
  missing = {"verifier": "tests.tasks.verifiers.test_rewards:no_verdict"}
  verdict = combined("<think>so</think>", {"answer": 1}, components={"no": missing, "format": FORMAT})
  assert verdict.reward is None and verdict.parts == {"no/why": 3.0, "format": 0.5}


def no_verdict(response, entry):
  from rl_jax.tasks.scoring import Verdict

  return Verdict(None, {"why": 3.0})


@pytest.mark.parametrize(
  ("components", "how", "line"),
  [
    ({}, "sum", "want components"),
    ({"a": RIGHT}, "mean", "'mean'"),
    ({"a": {**RIGHT, "wieght": 1}}, "sum", "a wants verifier, arguments, weight"),
    ({"a": {**RIGHT, "weight": float("inf")}}, "sum", "the weight of a is inf"),
    ({"a": {"verifier": "rl_jax.none:f"}}, "sum", "a: task.verifier: cannot import"),
    ({"a": {"verifier": f"{HERE}:overlong", "arguments": {"longest": 1, "buffer": 1}}}, "product", "no negative"),
  ],
)
def test_components_that_make_no_sense_are_told(components, how, line):
  with pytest.raises(CannotVerify, match=line):
    combined("a long response", {"answer": "1"}, components=components, how=how)
