"""The rewards of guesses in every data set of reasoning-gym.

python -m tests.tasks.datasets.reasoning_gym_rewards writes them to reasoning_gym_rewards.json, which the tests compare.
A row holds, over `ENTRIES` problems of the data set as it is:
  right: mean reward of the right answer, null where the data set names none.
  empty: largest reward of an answer without text.
  constant, constant_reward: the answer that earns most when it is given to every problem, and its mean reward.
    Null where all of `CONSTANTS` earn 0.
  neighbour: the most that the right answer of one problem earns on the others, in the mean; null as above.
  hedge: largest reward of an answer that names the right one and a number, null as above.
  both: largest sum of what an answer that names the right ones of two problems earns on the two. Above 1 a second guess
    pays, and it is there to be looked at; null as above.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import statistics
from pathlib import Path

from rl_jax.tasks.datasets import procedural, safe_scoring

TABLE = Path(__file__).with_suffix(".json")
ENTRIES, SEED = 16, 7
EMPTY = (None, "", " ", "\n\t", "\u200b", "\0")


def board(size):
  return json.dumps([[0] * size] * size)


CONSTANTS = (
  *("0", "1", "2", "3", "4", "5", "10", "17", "24", "50", "100", "-1", "0.5", "0.25", "1/2", "1/6", "0.", "(0, 0)"),
  *("nan", "nani", "inf", "1e999", "[NaN]", "True", "False", "yes", "no", "Yes", "No", "A", "B", "C", "x", "P", "U"),
  *("R", "on", "off", "undetermined", "Monday", "infeasible", "impossible", "None", "null", "?", "...", '""', "''"),
  *("[]", "{}", "[[]]", "[0]", "[1]", "()", "6*4+1-1", "a, b", "True False", " ".join(map(str, range(30)))),
  *("P ∨ Q", "P ∨ ¬P", "P → P", "12:00:00", "50 days", "50 days, 12:00", "0 0\n0 0", board(5), board(10)),
  *("1 2 3 4\n3 4 1 2\n2 1 4 3\n4 3 2 1", json.dumps({str(i): i % 3 + 1 for i in range(10)}), "A=1,B=2", "AAAAAAAA"),
)
HEDGES = (
  *("{0} {1}", "{1} {0}", "{0} or {1}", "{1} or {0}", "{0}, {1}", "{1}, {0}", "{0}\n{1}", "{1}\n{0}"),
  *("{0} and {1}", "{0}; {1}", "{0} (or {1})", "either {0} or {1}", "[{0}, {1}]", "{0} # {1}", "{0} | {1}"),
  "{0} = {1}",
)


def names():
  """All data sets of the installed package."""
  from reasoning_gym.factory import DATASETS

  return sorted(set(DATASETS) - {"composite"})


def hedges(right, other):
  """Answers that name the right one and another."""
  return [form.format(right, other) for form in HEDGES]


def row(name):
  """The row of a data set."""
  dataset = procedural.create(name, {}, seed=SEED, size=ENTRIES)
  entries = [{**dataset[index], "level": "x"} for index in range(ENTRIES)]
  levels = {"x": {"dataset": name, "parameters": {}}}

  def reward(answer, entry):
    text = "no answer" if answer is None else f"<answer>{answer}</answer>"
    return procedural.score(text, entry, levels=levels, answer="tag").reward

  mean = {text: statistics.fmean(reward(text, entry) for entry in entries) for text in CONSTANTS}
  constant = max(mean, key=mean.get)
  rights = [(safe_scoring.reference(entry), entry) for entry in entries]
  rights = [(right, entry) for right, entry in rights if right is not None]
  paid = [[reward(right, entry) for _, entry in rights] for right, _ in rights]
  neighbours = [statistics.fmean(row[:i] + row[i + 1 :]) for i, row in enumerate(paid)]
  hedged = [reward(t, entry) for right, entry in rights for t in hedges(right, "18" if right[:2] == "17" else "17")]
  pairs = [(*first, *second) for first, second in itertools.pairwise(rights) if first[0] != second[0]]
  both = [reward(t, one) + reward(t, two) for a, one, b, two in pairs for t in hedges(a, b)]
  return {
    "right": statistics.fmean(row[i] for i, row in enumerate(paid)) if rights else None,
    "empty": max(reward(text, entry) for text in EMPTY for entry in entries),
    "constant": constant if mean[constant] else None,
    "constant_reward": round(mean[constant], 4),
    "neighbour": round(max(neighbours), 4) if rights else None,
    "hedge": round(max(hedged), 4) if hedged else None,
    "both": round(max(both), 4) if both else None,
  }


def write(path):
  """Write the table, a line for each row."""
  rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(row(name))}" for name in names())
  version = json.dumps(importlib.metadata.version("reasoning-gym"))
  path.write_text(f'{{"version": {version}, "rows": {{\n{rows}\n}}}}\n')


if __name__ == "__main__":
  write(TABLE)
