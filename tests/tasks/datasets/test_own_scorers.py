"""Scorers that replace those of reasoning-gym: hand-made entries, right, wrong and unreadable answers."""

from __future__ import annotations

import pytest

from rl_jax.tasks.datasets import own_scorers

COUNTDOWN = {"metadata": {"numbers": [3, 4, 5, 5], "target": 17}}
PUZZLE24 = {"metadata": {"numbers": [1, 4, 4, 6]}}
COIN = {"answer": "0.3125"}
BOARD = {"answer": "[[0,1,0],[0,1,0],[0,0,0]]"}
INTEGRAL = {"answer": "x**2 + C", "metadata": {"integrand": "2*x", "variable": "x"}}
PRODUCT = {"answer": "2*x**2 + x*y - 3", "metadata": {"variables": ["x", "y"]}}
UNREADABLE = (ValueError, SyntaxError, ArithmeticError, RecursionError)


@pytest.mark.parametrize(
  ("answer", "reward"),
  [
    ("3 + 4 + 5 + 5", 1.0),
    ("(5*4 - 3)*5/5", 0.05),  # 5 three times
    ("5*(4 + 3) - 5", 0.05),  # 30
    ("4*5 - 3*(5/5)", 0.05),
    ("3*4 + 5", 0.05),  # not all
    ("17", 0.05),
    ("5/5*(4*5 - 3)", 0.05),
    ("-3 + 4*5 + (5 - 5)", 0.05),
    ("5*5 - 3 - 4 - 1", 0.05),
  ],
)
def test_countdown(answer, reward):
  assert own_scorers.countdown(answer, COUNTDOWN) == reward


@pytest.mark.parametrize(
  ("answer", "reward"), [("6*4*(4/4)", 0.01), ("6*(4 + 1) - 4 - 2", 0.01), ("(6 + 1)*4 - 4", 1.0), ("6*4+1-1", 0.01)]
)
def test_puzzle24(answer, reward):
  assert own_scorers.puzzle24(answer, PUZZLE24) == reward


@pytest.mark.parametrize(
  "answer",
  [
    *("3**4", "9//2", "9**9**9**9", "3 + 4 +", "3 4 5 5", "(3 + 4", "x", "3 + ord('a')", "__import__('os')", "3.0 + 4"),
    *("3 + 4 or 17", "17 = 17", "1/0", "3 + 4 + 5 + 5 # 17", "\u0663 + 4", "1e9", "0x11", "1_7", "9" * 600, "(" * 600),
  ],
)
@pytest.mark.parametrize(("scorer", "entry"), [("countdown", COUNTDOWN), ("puzzle24", PUZZLE24)])
def test_what_is_no_formula_of_four_operators(scorer, entry, answer):
  with pytest.raises(UNREADABLE):
    own_scorers.SCORERS[scorer](answer, entry)


@pytest.mark.parametrize(
  ("answer", "reward"),
  [
    ("0.3125", 1.0),
    ("5/16", 1.0),
    ("0.31245", 1.0),
    (" 3.125e-1 ", 1.0),
    ("0.3", 3 / 6),  # "0.3" of "0.3125"
    ("0.31", 4 / 6),
    ("0", 1 / 6),
    ("1", 0.0),
    ("0.31777777777", 4 / 12),  # of ten digits and "0."
    ("-0.3125", 0.0),
  ],
)
def test_coin_flip(answer, reward):
  assert own_scorers.coin_flip(answer, COIN) == pytest.approx(reward)


@pytest.mark.parametrize("answer", ["nan", "inf", "1/0", "five", "0.3125 or 17", "1e999999999", "1/1e999", "9" * 300])
def test_what_is_no_probability(answer):
  with pytest.raises(UNREADABLE):
    own_scorers.coin_flip(answer, COIN)


@pytest.mark.parametrize(("answer", "reward"), [("0x1f", 1.0), ("31", 1.0), ("0b11111", 1.0), ("-31", 0.0)])
def test_bitwise_arithmetic(answer, reward):
  assert own_scorers.bitwise_arithmetic(answer, {"answer": "0x1f"}) == reward


@pytest.mark.parametrize("answer", ["1f", "0x", "31 or 17", "30 + 1", "3" * 5000])
def test_what_is_no_whole_number(answer):
  with pytest.raises(UNREADABLE):
    own_scorers.bitwise_arithmetic(answer, {"answer": "0x1f"})


@pytest.mark.parametrize(
  ("answer", "reward"),
  [
    ("[[0,1,0],[0,1,0],[0,0,0]]", 1.0),
    ("[[0,1,0],[0,0,0],[0,0,0]]", 0.5),
    ("[[0,1,1],[0,1,0],[0,0,0]]", 0.5),
    ("[[0,0,0],[0,0,0],[0,0,0]]", 0.0),
    ("[[1,0,1],[1,0,1],[1,1,1]]", 0.0),
  ],
)
def test_game_of_life(answer, reward):
  assert own_scorers.game_of_life(answer, BOARD) == reward


def test_game_of_life_where_all_cells_die():
  assert own_scorers.game_of_life("[[0,0]]", {"answer": "[[0,0]]"}) == 1.0
  assert own_scorers.game_of_life("[[0,1]]", {"answer": "[[0,0]]"}) == 0.0


@pytest.mark.parametrize("answer", ["[[0,1,0]]", "[[0],[0],[0]]", "[[]]", "[", "five", BOARD["answer"] + " or 17"])
def test_boards_of_another_size(answer):
  with pytest.raises(UNREADABLE):
    own_scorers.game_of_life(answer, BOARD)


@pytest.mark.parametrize(
  ("answer", "reward"), [("True", 1.0), (" true\n", 1.0), ("False", 0.0), ("x", 0.0), ("True False", 0.0), ("1", 0.0)]
)
def test_game_of_life_halting(answer, reward):
  assert own_scorers.game_of_life_halting(answer, {"answer": "True"}) == reward


@pytest.mark.parametrize(
  ("answer", "reward"), [("x**2 + C", 1.0), ("x*x", 1.0), ("17 + x**2", 1.0), ("x**2 + x", 0.0), ("2*x", 0.0)]
)
def test_integration(answer, reward):
  assert own_scorers.integration(answer, INTEGRAL) == reward


def test_an_integral_without_a_closed_form_is_right_as_the_reference_has_it():
  entry = {"answer": "Integral(sin(x)/x, x)", "metadata": {"integrand": "sin(x)/x", "variable": "x"}}
  assert own_scorers.integration(" Integral(sin(x)/x, x)\n", entry) == 1.0
  with pytest.raises(UNREADABLE):
    own_scorers.integration("Integral(2*x, x)", INTEGRAL)


@pytest.mark.parametrize(
  ("answer", "reward"),
  [
    ("2*x**2 + x*y - 3", 1.0),
    ("y*x - 3 + x*x*2", 1.0),
    ("2*x**2 + x*y + 3", 0.0),
    ("x", 0.0),
  ],
)
def test_polynomial_multiplication(answer, reward):
  assert own_scorers.polynomial_multiplication(answer, PRODUCT) == reward


def test_a_product_that_is_not_multiplied_out_is_refused():
  entry = {"answer": "x**2 - 1", "metadata": {"variables": ["x"]}}
  with pytest.raises(UNREADABLE):
    own_scorers.polynomial_multiplication("(x - 1)*(x + 1)", entry)
