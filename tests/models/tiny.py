"""The committed checkpoints of make_tiny_checkpoints.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from rl_jax.models.model import Model

GOLDENS = Path(__file__).parent / "goldens"
FOLDERS = sorted((GOLDENS / "tiny").iterdir())


def logits(model: Model, params, golden: dict) -> np.ndarray:
  """Our logits for a golden's tokens, at its positions."""
  tokens = np.array(golden["tokens"])
  positions = np.arange(tokens.shape[1]) * np.ones((len(tokens), 1), int)
  outputs, _ = model.run(params, tokens, positions, np.ones_like(tokens, bool))
  return np.asarray(outputs)[:, golden["positions"]]


def golden(folder: Path) -> dict:
  return json.loads((folder / "logits.json").read_text())
