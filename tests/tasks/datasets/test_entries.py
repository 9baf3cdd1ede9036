"""Entries as text and back: every type that reasoning-gym uses is kept."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from rl_jax.tasks.datasets import entries


def test_types_come_back():
  entry = {
    "answer": None,
    "metadata": {
      "pair": (1, (2.5, "x")),
      "colours": {1: "red", 2: [True, (3,)]},
      "edges": {(0, 1): "a"},
      "set": {3, 1},
      "text": "ä\n",
      "big": 10**30,
      "empty": [{}, (), []],
    },
  }
  back = entries.loads(entries.dumps(entry))
  assert back == entry and isinstance(back["metadata"]["empty"][1], tuple)


def test_numpy_scalars_become_pythons_and_sets_have_one_order():
  assert entries.loads(entries.dumps({"n": np.int64(3), "s": np.str_("a")})) == {"n": 3, "s": "a"}
  assert entries.dumps({"s": {"b", "a", "c"}}) == entries.dumps({"s": {"c", "a", "b"}})


def test_an_unknown_type_is_one_clear_line():
  with pytest.raises(ValueError, match="an entry holds a date, which cannot be stored"):
    entries.dumps({"when": datetime.date(2024, 1, 1)})
