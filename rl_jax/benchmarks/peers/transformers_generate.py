"""Sampling with `transformers`, timed on request: `python transformers_generate.py FOLDER DTYPE`.

Each line of standard input is {"tokens": [[...]], "new_tokens": n}; the answer is {"seconds": s}. The first line of
standard output describes the measurement. Sampling is at temperature 1 from the whole vocabulary, with a cache of keys
and values; no token ends a row.
"""

import json
import sys
import time

import torch
import transformers
from exchange import answer

folder, dtype = sys.argv[1:]
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
model.generation_config.eos_token_id = None
versions = f"transformers {transformers.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads"
answer(peer=versions)
for line in sys.stdin:
  request = json.loads(line)
  tokens = torch.tensor(request["tokens"])
  started = time.perf_counter()
  with torch.inference_mode():
    output = model.generate(
      input_ids=tokens,
      attention_mask=torch.ones_like(tokens),
      max_new_tokens=request["new_tokens"],
      do_sample=True,
      temperature=1.0,
      top_k=0,
      top_p=1.0,
      use_cache=True,
      pad_token_id=0,
    )
  seconds = time.perf_counter() - started
  assert output.shape == (tokens.shape[0], tokens.shape[1] + request["new_tokens"]), output.shape
  answer(seconds=seconds)
