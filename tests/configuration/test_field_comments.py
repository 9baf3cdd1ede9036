"""Comments on fields: beside a key, above it, in a docstring, and those of the modules that defaults come from."""

from __future__ import annotations

from rl_jax.configuration.field_comments import comments, comments_of
from rl_jax.methods import pav, ppo

TEXT = '''
class Config:
  """A config.

  Attributes:
    width, depth: of the model,
      in units.
    rate: of learning.
  """


def get_config():
  return {  # the fields
    "seed": 0,  # the first
    # several lines
    # above a field
    "levels": {
      "easy": (
        1,
        2,
      ),  # two numbers
    },
    "plain": 1,
    "section": {  # of fields
      "inner": 2,  # one
    },
  }
'''


def test_comments_stand_beside_a_key_above_it_or_among_the_attributes_of_a_class():
  assert comments(TEXT) == {
    "seed": "the first",
    "levels": "several lines above a field",
    "levels.easy": "two numbers",
    "section": "of fields",
    "section.inner": "one",
    "width": "of the model, in units.",
    "depth": "of the model, in units.",
    "rate": "of learning.",
  }


def test_a_part_has_the_comments_of_what_it_takes_defaults_from_and_its_own_first():
  of_method, of_family = comments_of(pav), comments_of(ppo)
  assert of_method["alpha"] == "3 for 9B, 1 in the didactic task"
  assert of_method["kl_coefficient"] == of_family["kl_coefficient"] != ""


def test_a_text_without_fields_has_none():
  assert comments("x = 1  # not a field\n") == {}
