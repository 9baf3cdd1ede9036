"""The final answer of a response, and answers compared as mathematics."""

from __future__ import annotations

import pytest

from rl_jax.tasks.verifiers import mathematics
from rl_jax.tasks.verifiers.errors import CannotVerify
from rl_jax.tasks.verifiers.mathematics import equal, equal_answers, final_answer
from rl_jax.tasks.verifiers.pool import Pool


@pytest.mark.parametrize(
  ("response", "answer"),
  [
    (r"first \boxed{1}, so \boxed{\frac{1}{2}} and $3$", r"\frac{1}{2}"),
    (r"\boxed{4} but \boxed{5", "4"),
    (r"\boxed {\text{a {b} c}}", r"\text{a {b} c}"),
    ("Answer: 7\nAnswer: it is $x + 1$.", "x + 1"),
    ("Answer: x + 1\n12", "x + 1"),
    ("$a$ and then $b + c$ for 3", "b + c"),
    (r"\[ 3 + 4 \]", "3 + 4"),
    ("it costs $5 and $7, 1,200 in all", "1200"),
    ("nothing", None),
    ("", None),
  ],
)
def test_the_final_answer(response, answer):
  assert final_answer(response) == answer


SAME = [
  ("42", "42.0"), ("1,234", "1234"), ("1{,}000", "1000"), (r"\dfrac{1}{2}", "0.5"), (r"-\frac34", "-3/4"),
  ("$7$.", "7"), ("x + 1", "1+x"), (r"\sqrt{8}", r"2\sqrt{2}"), (r"\{1, 2\}", r"\{2, 1\}"), ("x = 5", "5"),
  (r"\left( 1, 2 \right)", "(1,2)"), (r"\text{yes}", "yes"),
]  # fmt: skip
DIFFERENT = [
  ("42", "43"), ("12345678901234567890", "12345678901234567891"), ("1/3", "1/4"), ("x + 1", "x - 1"),
  ("[1, 2)", "[1, 2]"), ("(1,234)", "(1234)"), ("yes", "no"), ("", "3"), ("a}", "b"), ("1/0", "1"), ("9" * 5000, "1"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "wanted"), SAME)
def test_equal(given, wanted):
  assert equal(given, wanted) and equal(wanted, given)


@pytest.mark.parametrize(("given", "wanted"), DIFFERENT)
def test_different(given, wanted):
  assert not equal(given, wanted)


REAL = [
  (r"Thus, the number of red blocks is \(\boxed{20}\).", "20", 1),
  ("So, Miss Maria has 35 students.", "30", 0),
  ("Therefore, the cost difference between the two offers is $9550.", "100", 0),
  ("So, the difference between the final prices on the two days is $60.", "60", 1),
  ("= $70,000.\n\nThe final answer is: $\\boxed{$70,000}$", "70000", 1),
  (r"the acceleration potential \( V \) that must be applied is \(\boxed{2409}\) Volts.", "2415", 0),
  (r"the free trade price of barley in Moldavia is \(\boxed{2}\) dollars per bushel.", "2", 1),
  (r"Thus, the radius of an iron atom is \(\boxed{1.24 \times 10^{-8}}\) cm.", "1.24e-8", 1),
  (r"Thus, the radius of an iron atom is \(\boxed{1.42 \times 10^{-8}}\) cm.", "1.24e-8", 0),
  ("Thus, the collision mean free path is:\n\n\\[\n\\boxed{0.001}\n\\]", "1e-3", 1),
  (r"of hydrogen atoms, in years, is \(\boxed{10^5}\) years.", "400000", 0),
  ("is approximately 12.5% at the equilibrium distance.\n\nFinal answer: $\\boxed{12.5\\%}$", "12.5", 1),
  ("is:\n\n\\[ \\boxed{1.9} \\text{ eV} \\]", "1.9", 1),
  (r"the solution is $x=10^{3}$ and $y=10$. Therefore, the answer is $\boxed{(10^{3},10)}$.", "10^{3},10", 1),
  (r"\[\boxed{0, \pi, \frac{\pi}{3}, \frac{5\pi}{3}}\]", r"0,\frac{\pi}{3},\pi,\frac{5\pi}{3}", 1),
  (r"\[\boxed{0, \pi, \frac{\pi}{3}}\]", r"0,\frac{\pi}{3},\pi,\frac{5\pi}{3}", 0),
  ("\\[\n\\boxed{\\frac{1}{\\pi} \\text{ and } \\frac{5}{\\pi}}\n\\]", r"1/\pi,5/\pi", 1),
  (r"\[ \boxed{1 \text{ and } 5} \]", "5,1", 1),
  (r"two other 6-labels are \(\boxed{361245}\) and \(\boxed{561234}\).", "352146,362145,452136,562134", 0),
  (r"the only digit that cannot appear is $\boxed{2, 3, 7, 8}$.\n\nThe final answer is: $\boxed{7}$", "7", 1),
  (r"\[ \boxed{-2, \frac{1 + \sqrt{69}}{2}, \frac{1 - \sqrt{69}}{2}}. \]", r"\sqrt{3}", 0),
  (r"\[ \boxed{\frac{1 + i\sqrt{163}}{2}, \frac{1 - i\sqrt{163}}{2}}. \]", r"\frac{1\pm i\sqrt{163}}{2}", 1),
  (r"\(\boxed{\frac{\sqrt{10}}{10}}\).", r"-\frac{\sqrt{10}}{10}", 0),
  ("\\[\n\\boxed{2 \\sqrt[5]{7 n^3}}\n\\]", r"2\sqrt[5]{7n^{3}}", 1),
  (r"\[\boxed{\frac{y^{\frac{25}{12}}}{x^{\frac{5}{6}}}}\]", r"\frac{y^{\frac{25}{12}}}{x^{\frac{5}{6}}}", 1),
  (r"the approximate area under the curve is \(\boxed{5.75}\).", r"\frac{23}{4}", 1),
  ("\\[\n\\boxed{\\frac{1}{n+1} \\binom{2n}{n}}\n\\]", r"\binom{2n}{n}", 0),
  ("\\[\n\\boxed{x^2 - 4x - 10}\n\\]", r"x^{2}-4x-10-\frac{1}{x+4}", 0),
  (r"$x(t) = \boxed{\frac{1}{3}e^{t} + ce^{-2t}}$.", r"\frac{e^{t}}{3}+ce^{-2t}", 1),
  (r"\[ \boxed{m \frac{dv}{dt} + b v = f} \]", r"m\frac{dv}{dt}+bv=f", 1),
  (
    r"\[ \boxed{x(t) = x_0 \cos(\omega t) + \frac{\dot{x}_0}{\omega} \sin(\omega t)}. \]",
    r"x_{0}\cos(\omegat)+\dot{x}_{0}\sin(\omegat)/\omega",
    1,
  ),
  (r"\[ \boxed{\hbar \omega (v + \frac{1}{2}) - \frac{E_0^2}{2k}} \]", r"\hbar\omega(v+1/2)-\frac{E_{0}^{2}}{2m}", 0),
  (r"we find $k < 4$. Thus, \[ \boxed{(-\infty, 4)} \]", r"(-\infty,4)", 1),
  (r"we find $k \le 4$. Thus, \[ \boxed{(-\infty, 4]} \]", r"(-\infty,4)", 0),
  (r"\[\boxed{\left(\frac{1}{2}, \frac{1}{8}, \frac{1}{8}\right)}\]", r"(\frac{11}{15},\frac{11}{60},\frac{1}{12})", 0),
  ("\\[\n\\boxed{\\begin{pmatrix} 39 \\\\ -13 \\end{pmatrix}}\n\\]", r"\begin{pmatrix}39\\-13\end{pmatrix}", 1),
  ("\\[\n\\boxed{\\begin{pmatrix} 39 \\\\ 13 \\end{pmatrix}}\n\\]", r"\begin{pmatrix}39\\-13\end{pmatrix}", 0),
  (r"The final answer is \(\boxed{\text{No}}\).", "Notfunction", 0),
  ("a different optical isomer.\n\nTherefore, the answer is (A).", "A", 1),
  (r"The correct answer is \(\boxed{D}\).", "B", 0),
  (r"the molecular symmetry group of E is \boxed{C2v}.", "C", 0),
  (r"the oscillation frequency of the moment is \(\boxed{\gamma B}\).", "A", 0),
  ("The correct answer is **C) heptan-4-one**.", "C", 1),
]


@pytest.mark.parametrize(("response", "gold", "reward"), REAL)
def test_verdicts_on_ends_of_responses_as_models_write_them(response, gold, reward):
  assert equal_answers(response, {"answer": gold}).reward == reward


def test_plain_numbers_do_not_cost_a_computer_algebra_system(monkeypatch):
  monkeypatch.setattr(mathematics, "math_verify", None)
  assert equal("1,000.50", "2001/2") and not equal("17", "18")


@pytest.mark.parametrize(
  ("response", "rule", "form", "reward"),
  [
    (r"so \boxed{1/2}", "whole", "simplified", 1.0),
    ("<answer>0.50</answer> not 3", "tag", "simplified", 1.0),
    ("<answer>2/4 + x - x</answer>", "tag", "simplified", 0.0),
    ("<answer>2/4 + x - x</answer>", "tag", "any", 1.0),
    ("<answer>1/4 + 1/4</answer>", "tag", "simplified", 0.0),
    ("<answer>1/4 + 1/4</answer>", "tag", "any", 1.0),
    ("it is 0.5", "number", "simplified", 1.0),
    ("it is half", "whole", "simplified", 0.0),
    ("no tag", "tag", "simplified", 0.0),
    ("", "whole", "simplified", 0.0),
  ],
)
def test_the_verdict(response, rule, form, reward):
  assert equal_answers(response, {"answer": r"\boxed{\frac{1}{2}}"}, answer=rule, form=form).reward == reward


@pytest.mark.parametrize(
  ("entry", "form", "message"),
  [
    ({"answer": " "}, "simplified", "the gold answer is empty"),
    ({"answer": "1"}, "pretty", "form is 'pretty', want one of simplified, any"),
  ],
)
def test_what_no_response_can_answer_is_one_clear_line(entry, form, message):
  with pytest.raises(CannotVerify, match=message):
    equal_answers("1", entry, form=form)


def test_an_answer_that_the_engine_never_ends_is_wrong():
  scorer = Pool("rl_jax.tasks.verifiers.mathematics:equal_answers", {"form": "any"}, workers=2, seconds=0.5)
  endless = r"\int_0^{\infty} \frac{\sin(x^3) \ln(x^2+1)}{e^x + x^5} dx", r"\sum_{k=1}^{10000000} \frac{1}{k^3+1}"
  responses = ["4+1", *endless, "9^{9^{9^{9}}}", "1000000!!", "5", "6"]
  verdicts = scorer([(rf"\boxed{{{response}}}", {"answer": "5"}) for response in responses])
  scorer.close()
  assert [v.reward for v in verdicts] == [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]
  assert [v.parts.get("timed_out", 0.0) for v in verdicts] == [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
  assert (scorer.tally.timeouts, scorer.tally.crashes, scorer.tally.errors) == (2, 0, 0)
