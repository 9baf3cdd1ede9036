"""The benchmark `kernels`: its table for one family at a small size, its bounds by hand, and its mistakes."""

from __future__ import annotations

import jax.numpy as jnp
import pytest

from rl_jax import benchmark
from rl_jax.benchmarks import kernels


@pytest.fixture(autouse=True)
def rates(monkeypatch):
  """A machine that streams 1 GB/s and multiplies 1 GFLOP/s."""
  monkeypatch.setattr(kernels, "matmul_rate", lambda: 1e9)
  monkeypatch.setattr(kernels, "stream_rate", lambda *_: 1e9)


def lines_of(capsys, *argv):
  assert benchmark.main(["kernels", "--repeats=1", *argv]) == 0
  return capsys.readouterr().out.splitlines()


def test_bounds_by_hand_and_both_ratios(capsys, monkeypatch):
  """A copy of 64 x 64 numbers moves 2 x 16384 bytes; a product of 3 million multiply-adds takes 6 ms."""
  x = jnp.ones((64, 64))
  copy = kernels.Work("copy", lambda x: x + 1, (x,), "none", lambda x: x, (x,))
  product = copy._replace(name="product", multiply_adds=3e6)
  monkeypatch.setitem(kernels.FAMILIES, "gates", lambda rows, width: iter([copy, product]))
  monkeypatch.setattr(kernels, "seconds", lambda run, repeats: (run(), 0.012)[1])
  head, columns, *rows = lines_of(capsys, "--family=gates", "--rows=64", "--width=64")
  assert head.startswith("64 rows of width 64, float32, cpu, medians of 1; streaming 1.0 GB/s, matrix products 1 GF")
  assert columns.split() == ["kernel", "ms", "bound", "ms", "by", "x", "bound", "plain", "ms", "x", "plain", "plain"]
  assert rows[0].split() == ["copy", "12.00", "0.033", "memory", "366.2", "12.00", "1.00", "none"]
  assert rows[1].split() == ["product", "12.00", "6.000", "products", "2.0", "12.00", "1.00", "none"]


@pytest.mark.parametrize(
  "family", [pytest.param(name, marks=() if name == "gates" else pytest.mark.slow) for name in kernels.FAMILIES]
)
def test_every_kernel_of_a_family_runs(family, capsys):
  _, _, *rows = lines_of(capsys, f"--family={family}", "--rows=64", "--width=64")
  assert len(rows) == len(list(kernels.FAMILIES[family](64, 64)))


@pytest.mark.parametrize(
  ("arguments", "expected"),
  [
    (["--family=gate"], "--family is gates, structured, formats, search, or several with commas, got 'gate'"),
    (["--rows=32"], "kernels needs --rows of at least 64, and --width of multiples of 64"),
    (["--width=96"], "kernels needs --rows of at least 64, and --width of multiples of 64"),
    (["--config=experiments/grpo.py"], "kernels times families of kernels by --rows and --width: it takes no --config"),
  ],
)
def test_mistakes_are_one_line(arguments, expected, capsys):
  assert benchmark.main(["kernels", *arguments]) == 1
  out, err = capsys.readouterr()
  assert not out and err == f"rl_jax.benchmark: {expected}\n"
