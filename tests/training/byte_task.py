"""Question-answer files with a vocabulary of bytes: a host task without a pretrained model."""

from __future__ import annotations

from rl_jax.tasks import json_lines
from tests.tasks.byte_vocabulary import Bytes


def get_config():
  return json_lines.get_config() | {"prompt_tokens": 12, "response_tokens": 4, "answer": "whole"}


def build(config):
  return json_lines.build({key: config[key] for key in get_config()}, vocabulary=Bytes())
