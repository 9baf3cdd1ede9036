"""Make tests/models/goldens/tiny/*: random checkpoints as `transformers` writes them, and its logits for them.

In a virtual environment with torch 2.13.0 and transformers 5.23.0, which the tests do without:
  python tests/models/make_tiny_checkpoints.py

Names of models as arguments make these alone; that of gemma3 was made with torch 2.14.1 and transformers 5.24.0.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
import transformers

GOLDENS = Path(__file__).parent / "goldens" / "tiny"
SIZES = {
  "vocab_size": 40,
  "hidden_size": 16,
  "intermediate_size": 24,
  "num_hidden_layers": 2,
  "num_attention_heads": 4,
  "num_key_value_heads": 2,
  "max_position_embeddings": 128,
}
# The context is so short that pairs of channels fall on both sides of the limits and between them.
LLAMA3 = {
  "rope_type": "llama3",
  "factor": 8.0,
  "low_freq_factor": 1.0,
  "high_freq_factor": 4.0,
  "original_max_position_embeddings": 32,
  "rope_theta": 500.0,
}
# Sequences of 48 tokens are longer than the window, and both kinds of layers follow one another.
GEMMA3 = {
  "head_dim": 8,
  "query_pre_attn_scalar": 12,
  "sliding_window": 5,
  "sliding_window_pattern": 2,
  "rope_parameters": {
    "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
  },
}
MODELS = {
  "gemma3": (transformers.Gemma3TextConfig(**SIZES | {"num_hidden_layers": 3}, **GEMMA3), None),
  "llama3": (transformers.LlamaConfig(**SIZES, head_dim=8, rope_parameters=LLAMA3, tie_word_embeddings=False), None),
  "smollm2": (transformers.LlamaConfig(**SIZES, tie_word_embeddings=True, rms_norm_eps=1e-5), torch.bfloat16),
  "qwen2": (transformers.Qwen2Config(**SIZES, tie_word_embeddings=True), None),
  "qwen3": (transformers.Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=False), None),
}
"""Config, and the type that the weights are kept in (None: float32)."""


def main():
  """Write the folders; Qwen3's weights in shards."""
  tokens = torch.randint(0, 40, (2, 48), generator=torch.Generator().manual_seed(0))
  for name in sys.argv[1:] or MODELS:
    config, dtype = MODELS[name]
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
      for parameter in model.parameters():  # biases and norms, too, which start as zeros and ones
        parameter.copy_(parameter + torch.randn_like(parameter) * 0.2)
    if dtype is not None:
      model.to(dtype)
    folder = GOLDENS / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, max_shard_size="12KB" if name == "qwen3" else "1GB")
    # Loaded again: a cast to bfloat16 and back would also round the frequencies of the rotary positions.
    model = type(model).from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
      logits = model(tokens).logits
    made_by = f"transformers {transformers.__version__}, torch {torch.__version__}"
    values = {
      "made_by": made_by,
      "tokens": tokens.tolist(),
      "positions": list(range(0, 48, 6)),
      "logits": [[[round(x, 6) for x in row] for row in rows] for rows in logits[:, ::6].tolist()],
    }
    (folder / "logits.json").write_text(json.dumps(values) + "\n")


if __name__ == "__main__":
  main()
