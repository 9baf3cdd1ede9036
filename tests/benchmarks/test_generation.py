"""The benchmark `generate`: operations and bytes by hand, the command on a tiny model beside a peer, its mistakes."""

from __future__ import annotations

import re
import sys

import flax.linen as nn
import jax
import pytest

from rl_jax import benchmark
from rl_jax.benchmarks.roofline import decode_bytes, forward_flops
from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.export import export
from rl_jax.models.model import Model

SIZES = dict(width=4, layers=2, heads=2, key_value_heads=1, head_width=2, feed_forward=8)
CONFIG = TransformerConfig(vocabulary=10, outputs=10, tied_embeddings=True, **SIZES)

# Ten new tokens take 1 second, each but the first 0.1.
PEER = """
import json, sys
print(json.dumps({"peer": "a peer"}), flush=True)
for line in sys.stdin:
  print(json.dumps({"seconds": 0.1 * json.loads(line)["new_tokens"]}), flush=True)
"""


def test_operations_and_bytes_by_hand():
  """Weights of a layer: 4*4 query, 4*4 output, 2 * 4*2 key and value, 3 * 4*8 feed-forward; of the output layer: 40.

  A token that sees 3 slots multiplies another 2 * 2*2 * 3 numbers in each layer.
  """
  assert forward_flops(CONFIG, 5, 3.0) == 2 * 5 * (2 * (144 + 24) + 40)
  assert forward_flops(CONFIG, 5, 3.0, outputs=1) == 2 * (5 * 2 * (144 + 24) + 40)
  assert decode_bytes(CONFIG, 5, 3.0) == 4 * (2 * 144 + 40 + 5 * 2 * 2 * 2 * 3)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
  """A model's folder, and a Python that stands in for that of the peer."""
  folder = tmp_path_factory.mktemp("generation")
  model = Model(CONFIG)
  export(model, nn.unbox(model.init(jax.random.key(0))), folder / "model", context=128)
  (folder / "peer.py").write_text(PEER)
  python = folder / "python"
  python.write_text(f"#!/bin/sh\nexec {sys.executable} {folder / 'peer.py'}\n")
  python.chmod(0o755)
  return folder / "model", python


def command(capsys, *argv):
  status = benchmark.main(["generate", *map(str, argv)])
  out, err = capsys.readouterr()
  return status, out, err


def test_the_command_prints_both_and_their_ratio(tiny, capsys, monkeypatch):
  model, python = tiny
  monkeypatch.setattr("rl_jax.benchmarks.generation.READ", 64)
  monkeypatch.setattr("rl_jax.benchmarks.generation.matmul_rate", lambda dtype: 1e9)
  small = ["--batch=2", "--new_tokens=10", "--repeats=1"]
  status, out, err = command(capsys, f"--model={model}", f"--peer={python}", *small)
  assert status == 0, err
  first, batch, _, ours, theirs, ratio = out.splitlines()
  assert "float32; 64 prompt and 10 new tokens, medians of 1; a peer" in first
  assert batch.startswith("batch 2: memory") and "matrix products 1 GFLOP/s" in batch
  assert re.fullmatch(r"  rl_jax( +-?[\d.]+){4} +-?\d+%  (memory|products)", ours), ours
  assert theirs.split() == ["transformers", "20", "0.10", "100.0"]
  assert float(ratio.split()[1]) == pytest.approx(float(ours.split()[1]) / 20, rel=0.1)


@pytest.mark.parametrize(
  ("arguments", "expected"),
  [
    (["--peer=/nowhere/python"], "--peer=transformers=/nowhere/python does not run: No such file or directory"),
    (["--peer=transformers=false"], "--peer=transformers=false failed: it ended without a word"),
    (["--peer=tunix=python"], "--peer=tunix=python: write --peer=transformers=PYTHON"),
    (["--new_tokens=1"], "generate needs --new_tokens of at least 2"),
    (["--dtype=float31"], "--dtype is float32, bfloat16 or float16, or several with commas, got 'float31'"),
    (["--config=experiments/grpo.py"], "generate times a --model: it takes no --config"),
    (["--batches=3"], "unknown flag '--batches': did you mean '--batch'?"),
    (["--model=nothing"], "no model 'nothing'"),
  ],
)
def test_mistakes_are_one_line(tiny, arguments, expected, capsys):
  status, out, err = command(capsys, f"--model={tiny[0]}", *arguments)
  (line,) = err.splitlines()
  assert status == 1 and not out and line.startswith("rl_jax.benchmark: ") and expected in line, err
