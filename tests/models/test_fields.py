"""Fields of model files: their types and ranges, and the line for one that is neither."""

from __future__ import annotations

import pytest

from rl_jax.models.errors import LONGEST, ModelFileError
from rl_jax.models.fields import Fields

VALUES = {
  "n": 3, "zero": 0, "big": 2**70, "x": 0.5, "nan": float("nan"), "inf": float("inf"), "t": "a", "half": "\ud83d",
  "yes": True, "null": None, "list": ["a"], "mixed": ["a", 1], "halves": ["\ud83d"], "flags": [True], "o": {"a": 1},
  "long": "y" * 5000, "steering": "\x1b[2J\u202e\n",
}  # fmt: skip
FIELDS = Fields(VALUES, "a.json")


@pytest.mark.parametrize(
  ("kind", "name", "value"),
  [
    ("whole", "n", 3), ("number", "n", 3.0), ("number", "x", 0.5), ("text", "t", "a"), ("flag", "yes", True),
    ("texts", "list", ["a"]), ("section", "o", {"a": 1}),
  ],
)  # fmt: skip
def test_a_value_of_the_right_kind_is_given(kind, name, value):
  found = getattr(FIELDS, kind)(name)
  assert found == value and type(found) is type(value)


@pytest.mark.parametrize("kind", ["whole", "number", "text", "flag", "texts", "wholes", "section"])
@pytest.mark.parametrize("name", ["null", "missing"])
def test_a_field_that_is_missing_or_null_has_its_default_or_is_named(kind, name):
  assert getattr(FIELDS, kind)(name, "default") == "default"
  with pytest.raises(ModelFileError, match=f"^a.json has no field '{name}'$"):
    getattr(FIELDS, kind)(name)


@pytest.mark.parametrize(
  ("kind", "names", "want"),
  [
    ("whole", "zero big x nan t yes list o", "a whole number from 1 to 16777216"),
    ("number", "zero big nan inf t yes list o", "a number above 0 and at most 1e\\+12"),
    ("text", "n yes list o half", "text"),
    ("flag", "n t list", "true or false"),
    ("texts", "t mixed o halves flags", "a list of text"),
    ("wholes", "n list mixed flags", "a list of whole numbers"),
    ("section", "list t n", "an object"),
  ],
)
def test_a_value_of_another_kind_is_one_line_with_file_and_field(kind, names, want):
  for name in names.split():
    with pytest.raises(ModelFileError, match=f"^a.json: {name}=.*: want {want}$"):
      getattr(FIELDS, kind)(name, None)


def test_a_line_is_short_and_steers_no_screen():
  for name in ("long", "steering"):
    with pytest.raises(ModelFileError) as error:
      FIELDS.whole(name)
    assert str(error.value).isprintable() and len(str(error.value)) < 250
  assert str(ModelFileError("\x1b\u202e\ud83d\n" * LONGEST)).startswith("\\x1b\\u202e\\ud83d\\n")
  assert len(str(ModelFileError("a" * 5000))) == LONGEST
