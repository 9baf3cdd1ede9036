"""Sums with a calculator and a vocabulary of bytes: a host task of several turns without a pretrained model."""

from __future__ import annotations

from rl_jax.tasks import tool_use
from tests.tasks.byte_vocabulary import Bytes


def get_config():
  return tool_use.get_config() | {
    "source": "json_lines", "prompt_tokens": 112, "max_turns": 2, "turn_tokens": 4, "observation_tokens": 6,
    "result_template": "[{result}]", "answer": "whole", "workers": 0,
  }  # fmt: skip


def build(config):
  return tool_use.build({key: config[key] for key in get_config()}, vocabulary=Bytes())
