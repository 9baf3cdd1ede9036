"""Environments in Python: a number is guessed; actions of other words do what an environment must not."""

from __future__ import annotations

import os
import random
import signal
import time

import numpy as np


class Guess:
  """Guess a number from 1 to `most`, drawn from Python's own generator. "higher" and "lower" earn 0.1."""

  steps = 0
  """Calls of all episodes in this process."""

  def __init__(self, most=9):
    self.most = most

  def reset(self, problem, seed):
    self.number = random.randint(1, self.most)
    return f"1 to {self.most}?"

  def step(self, action):
    Guess.steps += 1
    wrong = getattr(self, f"do_{action}", None)
    if wrong:
      return wrong()
    if action.isdigit() and int(action) == self.number:
      return "right", 1.0, True
    return f"{'higher' if not action.isdigit() or int(action) < self.number else 'lower'}", 0.1, False

  def do_raise(self):
    raise RuntimeError("no such move")

  def do_nothing(self):
    return None

  def do_number(self):
    return 7, 0.0, False

  def do_nan(self):
    return "", float("nan"), False

  def do_half(self):
    return "bad \ud800 text", 0.0, False

  def do_text(self):
    return "", 0.0, "False"

  def do_minus(self):
    return "", 0.0, -1

  def do_unsure(self):
    return "", 0.0, None

  def do_list(self):
    return "", 0.0, []

  def do_numpy(self):
    return "", 0.0, np.bool_(True)

  def do_fork(self):
    os.fork()
    return "forked", 0.0, False

  def do_short(self):
    return "", 0.0, False

  def do_much(self):
    return "x" * 3 * 2**20, 0.0, False

  def do_long(self):
    return "long " * 20, 0.0, False

  def do_draw(self):
    return f"{random.random()}"[:8], 0.0, False

  def do_hang(self):
    while True:
      time.process_time()

  def do_die(self):
    os.kill(os.getpid(), signal.SIGKILL)

  def do_moody(self):
    return str(time.monotonic_ns() % 10**6), 0.0, False


class Listed(Guess):
  """Problems of its own: the number is part of them."""

  @staticmethod
  def problems(most=9):
    return [{"number": number, "level": "odd" if number % 2 else "even"} for number in range(1, most + 1)]

  def reset(self, problem, seed):
    self.number = problem["number"]
    return [{"role": "system", "content": "Guess."}, {"role": "user", "content": f"{problem['number'] // 3}?"}]


class Silent(Guess):
  """Begins with nothing."""

  def reset(self, problem, seed):
    return None


class Broken(Guess):
  """Cannot begin."""

  begun = 0
  """Calls of `reset` of all episodes in this process."""

  def reset(self, problem, seed):
    Broken.begun += 1
    raise KeyError("board")


class Sleepy(Guess):
  """Never begins."""

  def reset(self, problem, seed):
    time.sleep(1000)


class Stepless:
  """Cannot answer a turn."""

  def reset(self, problem, seed):
    return "1 to 9?"


class Says(Guess):
  """Begins with what it is told to."""

  def __init__(self, says):
    super().__init__()
    self.says = says

  def reset(self, problem, seed):
    return self.says


class OfProblems(Guess):
  """Lists one problem after two good ones."""

  @staticmethod
  def problems(problem):
    return [{"number": 1}, {"number": 2}, problem]


class OfObjects(Guess):
  """Lists what is no data."""

  @staticmethod
  def problems(most=9):
    return [{"number": object()}]
