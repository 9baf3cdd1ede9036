"""A random checkpoint of a vocabulary of bytes, for what wants a folder of a pretrained model."""

from __future__ import annotations

from pathlib import Path

import flax.linen as nn
import jax
import tokenizers

from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.export import export
from rl_jax.models.model import Model
from rl_jax.models.tokenizer import Tokenizer

TEMPLATE = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}"
SIZES = {"width": 16, "layers": 1, "heads": 2, "key_value_heads": 1, "head_width": 8, "feed_forward": 32}


def write(folder: Path) -> None:
  """Model and tokenizer as `transformers` writes them; the template shows the user's turns alone."""
  level = tokenizers.pre_tokenizers.ByteLevel
  vocabulary = {byte: i for i, byte in enumerate(["<end>", *sorted(level.alphabet())])}
  backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
  backend.pre_tokenizer, backend.decoder = level(add_prefix_space=False), tokenizers.decoders.ByteLevel()
  backend.add_special_tokens(["<end>"])
  words = Tokenizer(backend, end_id=0, pad_id=0, chat_template=TEMPLATE)
  model = Model(TransformerConfig(vocabulary=len(words), outputs=len(words), **SIZES))
  export(model, nn.unbox(model.init(jax.random.key(0))), folder, context=64, tokenizer=words)
