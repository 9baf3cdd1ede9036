"""Fenced blocks of code: CommonMark 4.5, and how models write them."""

from __future__ import annotations

import textwrap
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_jax.tasks.verifiers.code_blocks import code_block

F = "```"
GOOD = "def f(x):\n  return x + 1\n"
OTHER = "def f(x):\n  return 0\n"


@pytest.mark.parametrize(
  ("response", "code"),
  [
    (f"{F}\n<\n >\n{F}", "<\n >\n"),  # the examples 119 to 147 of CommonMark 0.31
    ("~~~\n<\n >\n~~~", "<\n >\n"),
    ("``\nfoo\n``\n", None),
    (f"{F}\n'''\n~~~\n'''\n{F}", "'''\n~~~\n'''\n"),
    (f"~~~\n'''\n{F}\n'''\n~~~", f"'''\n{F}\n'''\n"),
    (f"{F}`\n'''\n{F}\n'''\n{F}```", f"'''\n{F}\n'''\n"),
    (f"{F}\naaa\n~~~\n{F}", "aaa\n"),  # no program unless it ends early
    (F, ""),
    (f"{F}\n\n  \n{F}", "\n  \n"),
    (f"{F}\n{F}", ""),
    (f" {F}\n aaa\naaa\n{F}", "aaa\naaa\n"),
    (f"  {F}\naaa\n  aaa\naaa\n  {F}", "aaa\naaa\naaa\n"),
    (f"   {F}\n   aaa\n    aaa\n  aaa\n   {F}", "aaa\n aaa\naaa\n"),
    (f"{F}\naaa\n  {F}", "aaa\n"),
    (f"   {F}\naaa\n  {F}", "aaa\n"),
    (f"{F} {F}\naaa", None),
    (f"foo\n{F}\nbar\n{F}\nbaz", "bar\n"),
    (f"{F}python\nx = 1\n{F}", "x = 1\n"),
    ("~~~~    python startline=3 $%@#$\nx = 1\n~~~~~~~", "x = 1\n"),
    (f"~~~ aa {F} ~~~\nfoo\n~~~", None),
    (f"{F}\n{F} aaa\n{F}", f"{F} aaa\n"),
    (f"{F}\nx = 1\n", "x = 1\n"),
    (f"> {F}\n> aaa\n\nbbb", "aaa\n\nbbb"),
  ],
)
def test_examples_of_commonmark(response, code):
  assert code_block(response) == code


FORMS = {
  "plain": f"{F}python\n{GOOD}{F}\n",
  "no language": f"{F}\n{GOOD}{F}\n",
  "in a list item": "1. So:\n\n" + textwrap.indent(f"{F}python\n{GOOD}{F}\n", "   "),
  "behind the mark of a list item": f"1. {F}python\n" + textwrap.indent(f"{GOOD}{F}\n", "   "),
  "in a list item, not indented": f"- {F}python\n{GOOD}{F}\n",
  "in a list item by tabs": "- So:\n\n" + textwrap.indent(f"{F}python\n{GOOD}{F}\n", "\t"),
  "in a quote": textwrap.indent(f"{F}python\n{GOOD}{F}\n", "> ", lambda line: True),
  "in a list in a quote": f"> - So\n>\n>   {F}python\n>   def f(x):\n>     return x + 1\n>   {F}\n",
  "CRLF": f"{F}python\n{GOOD}{F}\nDone.\n".replace("\n", "\r\n"),
  "CR": f"{F}python\n{GOOD}{F}\nDone.\n".replace("\n", "\r"),
  "closing on the last line of code": f"{F}python\n{GOOD.rstrip()}{F}\nDone.",
  "text after the closing fence": f"{F}python\n{GOOD}{F} Done.\n",
  "a special token after it": f"{F}python\n{GOOD}{F}<|endoftext|>",
  "a special token without a fence": f"{F}python\n{GOOD}<|im_end|>",
  "four backticks": f"{F}`python\n{GOOD}{F}`\n",
  "five closing backticks": f"{F}python\n{GOOD}{F}``\n",
  "blanks behind the closing fence": f"{F}python\n{GOOD}{F}  \t\n",
  "opening after text": f"So: {F}python\n{GOOD}{F}\n",
  "fence in a docstring": f'{F}python\ndef f(x):\n  """Use:\n\n  {F}\n  f(1)\n  {F}\n  """\n  return x + 1\n{F}\n',
  "fence in a string": f"{F}python\nTEXT = '''\n{F}\n'''\n{GOOD}{F}\n",
  "four backticks around three": f"{F}`python\ndef f(x):\n  '''\n{F}\nf(1)\n{F}\n'''\n  return x + 1\n{F}`\n",
  "tildes": f"~~~python\n{GOOD}~~~\n",
  "tildes around backticks": f"~~~python\nTEXT = '''\n{F}\n'''\n{GOOD}~~~\n",
  "ipython": f"{F}ipython\n{GOOD}{F}\n",
  "python3": f"{F}python3\n{GOOD}{F}\n",
  "Python": f"{F}Python\n{GOOD}{F}\n",
  "py": f"{F} py\n{GOOD}{F}\n",
  "attributes": f"{F}python title=solution.py\n{GOOD}{F}\n",
  "braces": f"{F}{{.python}}\n{GOOD}{F}\n",
  "not closed": f"{F}python\n{GOOD}",
  "all indented": f"{F}python\n{textwrap.indent(GOOD, '    ')}{F}\n",
  "another language behind it": f"{F}python\n{GOOD}{F}\n\n{F}bash\npython f.py\n{F}\n",
  "output behind it": f"{F}python\n{GOOD}{F}\n\n{F}text\n2\n{F}\n",
  "no language behind it": f"{F}python\n{GOOD}{F}\n\n{F}\n2\n{F}\n",
  "a first try": f"{F}python\n{OTHER}{F}\nNo:\n{F}python\n{GOOD}{F}\n",
  "a thought": f"<think>\n{F}python\n{OTHER}{F}\n</think>\n{F}python\n{GOOD}{F}\n",
  "a thought that only ends": f"{F}python\n{OTHER}{F}\n</think>\n{F}python\n{GOOD}{F}\n",
  "blank lines": f"{F}python\n\n\n{GOOD}\n\n{F}\n",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_program_of_a_response(form):
  space = {}
  exec(code_block(FORMS[form]) or "", space)
  assert space["f"](1) == 2


@pytest.mark.parametrize(
  ("response", "code"),
  [
    ("no block", None),
    ("", None),
    (f"{F}bash\nls\n{F}", None),
    (f"<think>\n{F}python\n{GOOD}{F}\n</think>\nIt is above.", None),
    (f"<think>\n{F}python\n{GOOD}{F}\n", None),
    (f"use {F}inline{F} code", None),
    (f"{F}python\nx = (\n{F}", "x = (\n"),  # no program: as CommonMark reads it
    (f"{F}python\n{F}", ""),
  ],
)
def test_no_program(response, code):
  assert code_block(response) == code


def test_a_block_that_is_not_closed_ends_with_its_response():
  assert code_block(f"{F}python\n{GOOD.rstrip()}") == GOOD.rstrip()


@settings(max_examples=300, deadline=None)
@given(
  st.lists(
    st.sampled_from([F, "~~~", "`", "~", "python", "\n", " ", "\t", ">", "- ", "1. ", "x", '"""', "<think>"]),
    max_size=40,
  )
)
def test_no_text_raises(pieces):
  code_block("".join(pieces))


@pytest.mark.parametrize(
  "unit",
  [f"{F}\n", f"{F}python\n", f"{F}python\nx = (\n{F}\n", "> " * 50 + f"{F}\n", f"{F} a\n", f"x{F}\n", "(" * 99 + "\n"],
)
def test_half_a_megabyte_of_fences_is_read_in_linear_time(unit):
  text = f"{F}python\n" + unit * (500_000 // len(unit))
  started = time.process_time()
  code_block(text)
  assert time.process_time() - started < 10
