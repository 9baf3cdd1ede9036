"""Formulas in the form of the gold answer, and formulas that restate its question."""

from __future__ import annotations

import pytest

from rl_jax.tasks.answers import forms
from rl_jax.tasks.answers.syntax import tree_of
from rl_jax.tasks.answers.tokens import tokenize

FITS = [
  ("(x-1)(x+1)", "(x+1)(x-1)"), ("(1-x)(1+x)", "-(x-1)(x+1)"), ("(x+1)^2", "(x+1)(x+1)"),
  ("2(x+1)(x-3)", "(2x+2)(x-3)"),
  ("x^2-1", "x^2-1"), ("1-x^2", "-x^2+1"), ("3x+3", "3+3x"), (r"\frac{x+1}{2}", r"\frac{1}{2}x+\frac{1}{2}"),
  (r"\sin 2x", r"2 \sin x \cos x"), (r"\log_{10} x", r"\frac{\ln x}{\ln 10}"), (r"\binom{n}{2}", r"\frac{n(n-1)}{2}"),
  (r"\frac{1}{\sqrt{3}}", r"\frac{\sqrt{3}}{3}"), (r"\sqrt{12}", r"2\sqrt{3}"), (r"\ln 3-\ln 2", r"\ln\frac{3}{2}"),
  (r"1-\frac{1}{x+1}", r"\frac{x}{x+1}"), (r"\frac{1}{x}-\frac{1}{x^2}", r"\frac{x-1}{x^2}"), ("3+4i", "4i+3"),
  (r"\sum_{n=0}^{\infty} x^n", r"\sum_{k=0}^{\infty} x^k"), ("n!", "n(n-1)!"), ("n(n+1)/2", r"\frac{n^2+n}{2}"),
  (r"\frac{2^{95}-1}{3}", r"\frac{1}{3}(2^{95}-1)"), ("2^{10}", "4^5"),
]  # fmt: skip
RESTATES = [
  ("x^2-1", "(x-1)(x+1)"), ("x(x^2-1)", "x(x-1)(x+1)"), ("(x-1)(x+1)", "x^2-1"), ("3(x+1)", "3x+3"), ("2x+3x", "5x"),
  (r"x \cdot x", "x^2"), ("x^{2+1}", "x^3"), (r"\frac{x^2-1}{x-1}", "x+1"), (r"\frac{x^2-x}{x^2-1}", r"\frac{x}{x+1}"),
  (r"\frac{d}{dx} x^2", "2x"), (r"\int 2x \, dx", "x^2"), (r"\lim_{h \to 0} (2x+h)", "2x"),
  (r"\sum_{k=1}^{n} k", "n^2"),
  (r"\arctan 1", r"\frac{\pi}{4}"), (r"\cos \frac{\pi}{6}", r"\frac{\sqrt{3}}{2}"), (r"\pi(1+3)", r"4\pi"),
  (r"\pi-\frac{3\pi}{4}", r"\frac{\pi}{4}"), (r"\sqrt{4+8}", r"2\sqrt{3}"), ("(1+i)^2", "2i"),
  (r"\frac{1}{1+i}", "1-i"),
  (r"\det x", "x"), (r"x \mod 7", "x"), (r"\binom{5}{2}x", "10x"), (r"\log_2 8 x", "3x"),
]  # fmt: skip


def parsed(text):
  return tree_of(tokenize(text))


@pytest.mark.parametrize(("given", "wanted"), FITS)
def test_what_fits(given, wanted):
  assert forms.fits(parsed(given), parsed(wanted))


@pytest.mark.parametrize(("given", "wanted"), RESTATES)
def test_what_restates_the_question(given, wanted):
  assert not forms.fits(parsed(given), parsed(wanted))
  assert forms.fits(parsed(given), parsed(given))
