"""GRPO iterations of TRL on a CPU, timed on request: `python trl_iteration.py SIZES`, sizes as JSON.

Each line of standard input asks for one more iteration (rollout and one update); the answer is {"seconds": s}. The
first line of standard output describes the measurement: a Llama with random float32 weights, `generate` of transformers
at temperature 1, no reference model; no token ends a row.
"""

import json
import os
import sys
import time

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import datasets  # noqa: E402
import tokenizers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
import trl  # noqa: E402
from exchange import answer, character, draw_prompts  # noqa: E402

sizes = json.loads(sys.argv[1])
torch.set_num_threads(len(os.sched_getaffinity(0)))
transformers.logging.set_verbosity_error()
BATCHES_PER_EPOCH = 64


def tokenizer():
  """One character per token. The pad and end ids are outside the model's vocabulary, so no row has them."""
  vocabulary = {character(token): token for token in range(sizes["vocabulary"])}
  vocabulary |= {"<pad>": len(vocabulary), "<end>": len(vocabulary) + 1}
  characters = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<pad>"))
  characters.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex("."), "isolated")
  return transformers.PreTrainedTokenizerFast(tokenizer_object=characters, pad_token="<pad>", eos_token="<end>")


def reward(completion_ids, **_):
  """1 for an even first token."""
  assert {len(row) for row in completion_ids} == {sizes["new_tokens"]}
  return [float(row[0] % 2 == 0) for row in completion_ids]


class Timer(transformers.TrainerCallback):
  """Callback that waits for a request before each step and answers after it; the step is rollout and update."""

  def on_step_begin(self, args, state, control, **_):
    """Wait for a request; exit when the input ends."""
    if not sys.stdin.readline():
      sys.exit()
    self.started = time.perf_counter()

  def on_step_end(self, args, state, control, **_):
    """Answer with the seconds that the step took."""
    answer(seconds=time.perf_counter() - self.started)


torch.manual_seed(0)
model = transformers.LlamaForCausalLM(
  transformers.LlamaConfig(
    vocab_size=sizes["vocabulary"],
    hidden_size=sizes["width"],
    intermediate_size=sizes["feed_forward"],
    num_hidden_layers=sizes["layers"],
    num_attention_heads=sizes["heads"],
    num_key_value_heads=sizes["key_value_heads"],
    head_dim=sizes["head_width"],
    tie_word_embeddings=False,
    bos_token_id=None,
    eos_token_id=None,
    pad_token_id=None,
  )
)
prompts = draw_prompts(sizes, BATCHES_PER_EPOCH * sizes["prompts"])
encoder = tokenizer()
assert len(encoder(prompts[0]).input_ids) == sizes["prompt_tokens"]
trainer = trl.GRPOTrainer(
  model=model,
  processing_class=encoder,
  reward_funcs=reward,
  train_dataset=datasets.Dataset.from_dict({"prompt": prompts}),
  callbacks=[Timer()],
  args=trl.GRPOConfig(
    output_dir="trainer",
    use_cpu=True,
    bf16=False,
    # By default blocks are recomputed for the gradient to save memory, which is not needed here.
    gradient_checkpointing=False,
    max_steps=1 << 30,
    per_device_train_batch_size=sizes["prompts"] * sizes["completions"],
    num_generations=sizes["completions"],
    num_iterations=1,
    beta=0.0,
    learning_rate=3e-4,
    max_completion_length=sizes["new_tokens"],
    report_to="none",
    save_strategy="no",
    logging_strategy="no",
    disable_tqdm=True,
  ),
)
packages = (trl, transformers, torch)
versions = ", ".join(f"{package.__name__} {package.__version__}" for package in packages)
answer(peer=f"{versions}, {torch.get_num_threads()} threads")
trainer.train()
