"""Coloured tokens: the sign can be read without colour."""

from __future__ import annotations

import math
import re

from rl_jax.runs import credit_map

SAMPLE = {"tokens": ["a", "<b>", "\n", ""], "credit": [0.5, -1.0, 0.0, math.nan]}


def test_signs_weights_and_markup():
  text = credit_map.tokens(SAMPLE, credit_map.strongest([SAMPLE]))
  found = re.findall(r'<span class="token (\w*)" style="--w:([\d.]+)" title="(.+?)">(.*?)<sub>(.+?)</sub>', text)
  assert found == [
    ("plus", "0.50", "+0.5", "a", "+0.5"),
    ("minus", "1.00", "-1", "&lt;b&gt;", "-1"),
    ("", "0.00", "0", "\\n", "0"),
    ("", "0.00", "+nan", "∅", "+nan"),
  ]


def test_long_responses_have_their_numbers_in_titles_alone():
  count = credit_map.LONGEST + 5
  text = credit_map.tokens({"tokens": ["x"] * count, "credit": [0.1] * count}, 0.1)
  assert "<sub>" not in text and text.count('title="+0.1"') == credit_map.LONGEST and "5 more tokens" in text


def test_samples_without_credit_have_no_scale():
  assert credit_map.strongest([{"tokens": ["a"]}, {"response": "a"}]) == 0.0
  assert not credit_map.has_credit({"tokens": ["a"], "credit": []})
  assert "--w:0.00" in credit_map.tokens({"tokens": ["a"], "credit": [0.0]}, 0.0)
