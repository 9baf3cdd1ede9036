"""Make tests/models/goldens/smollm2_logits.json: token ids and logits of SmolLM2-135M-Instruct by `transformers`.

`transformers` reads, orders and dequantises the GGUF file by itself, so that all of our loading is compared. In a
virtual environment with torch 2.13.0, transformers 5.23.0, gguf 0.19.0 and accelerate, which the tests do without:
  python -m rl_jax.fetch smollm2-135m-instruct   # in rl_jax's own environment; prints the path of the file
  python tests/models/make_smollm2_goldens.py PATH_OF_THE_FILE
"""

import hashlib
import json
import sys
from pathlib import Path

import torch
import transformers

GOLDEN = Path(__file__).parent / "goldens" / "smollm2_logits.json"
CHATS = (
  [{"role": "user", "content": "What is the capital of France?"}],
  [
    {"role": "system", "content": "Answer with a number alone."},
    {"role": "user", "content": "What is 12345 + 678?"},
    {"role": "assistant", "content": "13023"},
    {"role": "user", "content": "And minus 9?"},
  ],
)
# transformers reads a GGUF's tokenizer without the split into digits, which shows only beside rare ones such as "½".
TEXTS = (
  "def gcd(a, b):\n    while b:\n\ta, b = b, a % b\n    return a  # it's Euclid's, 300 B.C.\n",
  "Der Café-Besitzer sagt: »Grüß Gott« — 東京は日本の首都です。 🙂  x² + 3.14159\r\n",
)
TOP = 6


def main(file: Path):
  """Write the golden."""
  where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
  tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
  model = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).eval()
  prompts = []
  for given in (*CHATS, *TEXTS):
    if isinstance(given, str):
      text = given
    else:
      text = tokenizer.apply_chat_template(given, add_generation_prompt=True, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False).input_ids
    with torch.no_grad():
      logits = model(torch.tensor([ids])).logits[0]
      best = logits.topk(TOP)
      total = logits.logsumexp(-1)
    if not isinstance(given, str):
      answer = model.generate(torch.tensor([ids]), max_new_tokens=16, do_sample=False)[0, len(ids) :].tolist()
    prompts.append(
      {
        "messages": None if isinstance(given, str) else given,
        "text": text,
        "tokens": ids,
        "top": best.indices.tolist(),
        "logits": [[round(x, 5) for x in row] for row in best.values.tolist()],
        "logsumexp": [round(x, 5) for x in total.tolist()],
        "greedy": None if isinstance(given, str) else answer,
      }
    )
  made_by = f"transformers {transformers.__version__}, torch {torch.__version__}, float32"
  sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
  GOLDEN.write_text(json.dumps({"made_by": made_by, "file_sha256": sha256, "prompts": prompts}) + "\n")


if __name__ == "__main__":
  main(Path(sys.argv[1]))
