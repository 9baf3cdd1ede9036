"""Arguments of verifiers: each gets those that it takes, and what does not fit is one line."""

from __future__ import annotations

import functools

import pytest

from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.verifier_arguments import bound_arguments, names_argument


def optional(response, entry, *, answer="tag", form="any"):
  return Verdict(1.0)


def required(response, entry, answer):
  return Verdict(1.0)


def deaf(response, entry, *, slots=0):
  return Verdict(1.0)


def plain(response, entry):
  return Verdict(1.0)


def open_to_all(response, entry, **arguments):
  return Verdict(1.0)


def starred(*args, answer):
  return Verdict(1.0)


def of_response_alone(response):
  return Verdict(1.0)


class Called:
  def __call__(self, response, entry, *, answer):
    return Verdict(1.0)


called = Called()
partly = functools.partial(required, answer="tag")
number = 3
HERE = __name__
OFFERED = {"answer": "line"}


@pytest.mark.parametrize(
  ("name", "given", "arguments"),
  [
    ("optional", {}, OFFERED),
    ("optional", {"answer": "tag", "form": "x"}, {"answer": "tag", "form": "x"}),
    ("required", {}, OFFERED),
    ("deaf", {}, {}),
    ("deaf", {"slots": 2}, {"slots": 2}),
    ("plain", {}, {}),
    ("open_to_all", {"what": 1, "arguments": 2}, {**OFFERED, "what": 1, "arguments": 2}),
    ("starred", {}, OFFERED),
    ("called", {}, OFFERED),
    ("partly", {}, OFFERED),
  ],
)
def test_a_verifier_gets_what_it_takes(name, given, arguments):
  assert bound_arguments(f"{HERE}:{name}", OFFERED, given) == arguments


@pytest.mark.parametrize(
  ("verifier", "arguments"),
  [
    ("rl_jax.tasks.scoring:equal_numbers", OFFERED),
    ("rl_jax.tasks.verifiers.programs:unit_tests", {}),
    ("rl_jax.tasks.verifiers.mathematics:equal_answers", OFFERED),
  ],
)
def test_the_verifiers_of_this_project(verifier, arguments):
  if "mathematics" in verifier:
    pytest.importorskip("math_verify", reason="math-verify is not installed: make tasks")
  assert bound_arguments(verifier, OFFERED, {}) == arguments


@pytest.mark.parametrize(
  ("name", "arguments"),
  [
    ("optional", {}), ("required", {"answer": "number"}), ("deaf", {}), ("plain", {}), ("open_to_all", {}),
    ("starred", {"answer": "number"}), ("called", {"answer": "number"}), ("partly", {}),
  ],
)  # fmt: skip
def test_a_fallback_is_for_what_has_no_default(name, arguments):
  fallback = {"answer": "number"}
  assert bound_arguments(f"{HERE}:{name}", {}, {}, fallback=fallback) == arguments
  if name not in ("deaf", "plain"):
    assert bound_arguments(f"{HERE}:{name}", {}, {"answer": "tag"}, fallback=fallback) == {"answer": "tag"}


@pytest.mark.parametrize(
  ("name", "given", "message"),
  [
    ("deaf", {"answer": "tag"}, "takes no argument 'answer' (known: slots)"),
    ("deaf", {"slot": 1, "b": 2}, "takes no argument 'slot', 'b' (known: slots)"),
    ("plain", {"a": 1}, "takes no argument 'a' (known: none)"),
    ("open_to_all", {"response": "x"}, "takes no argument 'response'"),
    ("optional", {"entry": {}}, "takes no argument 'entry' (known: answer, form)"),
    ("of_response_alone", {}, "is no function (response, entry, **arguments) -> Verdict"),
    ("number", {}, "is no function (response, entry, **arguments) -> Verdict"),
    ("missing", {}, "there is no 'missing'"),
  ],
)
def test_what_does_not_fit_is_one_line(name, given, message):
  with pytest.raises(ValueError) as error:
    bound_arguments(f"{HERE}:{name}", OFFERED, given)
  assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("given", [["answer"], None, "answer", 3])
def test_arguments_have_names(given):
  with pytest.raises(ValueError, match="^task.verifier_arguments: got .*, want names and values$"):
    bound_arguments(f"{HERE}:optional", OFFERED, given)


@pytest.mark.parametrize("name", "optional required deaf plain open_to_all starred called partly".split())
def test_verifiers_that_ask_for_an_answer(name):
  asks = name not in ("deaf", "plain", "open_to_all")
  assert names_argument(f"{HERE}:{name}", "answer") == asks and not names_argument(f"{HERE}:{name}", "entry")


def test_an_argument_that_nobody_gave_is_one_line():
  with pytest.raises(ValueError, match=r"^task.training_terms.a: .*:required needs the argument 'answer' \(known: "):
    bound_arguments(f"{HERE}:required", {}, {}, where="task.training_terms.a")
