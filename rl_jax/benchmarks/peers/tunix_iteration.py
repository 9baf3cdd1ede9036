"""GRPO iterations of Tunix on a CPU, timed on request: `python tunix_iteration.py SIZES`, sizes as JSON.

Each line of standard input asks for one more iteration (rollout and one update); the answer is {"seconds": s}. The
first line of standard output describes the measurement: a Llama 3 with random float32 weights, the vanilla sampler at
temperature 1, no reference model; no token ends a row.
"""

import importlib.metadata
import json
import os
import sys
import time

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_TRACEBACK_FILTERING"] = "off"  # an error then ends with its message

import jax  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from exchange import answer, character, draw_prompts  # noqa: E402
from flax import nnx  # noqa: E402
from tunix.models.llama3 import model as llama3  # noqa: E402
from tunix.rl import rl_cluster  # noqa: E402
from tunix.rl.grpo.grpo_learner import GRPOConfig, GRPOLearner  # noqa: E402
from tunix.rl.rollout.base_rollout import RolloutConfig  # noqa: E402

sizes = json.loads(sys.argv[1])


class Tokenizer:
  """One character per token. The pad and end ids are outside the vocabulary, so no row has them."""

  def encode(self, text, **_):
    """Ids of a text, without special tokens."""
    return [ord(letter) - ord("0") for letter in text]

  def decode(self, ids, **_):
    """Text of ids."""
    return "".join(character(token) for token in ids)

  def bos_id(self):
    """None: prompts have no first special token."""
    return None

  def pad_id(self):
    """Outside of the vocabulary."""
    return sizes["vocabulary"]

  def eos_id(self):
    """Outside of the vocabulary."""
    return sizes["vocabulary"] + 1


def reward(prompts, completions, **_):
  """1 for an even first token."""
  assert {len(text) for text in completions} == {sizes["new_tokens"]}
  return [float(ord(text[0]) % 2 == 0) for text in completions]


def batches():
  """Prompts, one batch per request: the learner asks for the next one when an iteration is over."""
  for _ in sys.stdin:
    prompts = np.array(draw_prompts(sizes, sizes["prompts"]))
    started = time.perf_counter()
    yield {"prompts": prompts}
    jax.block_until_ready(jax.tree.leaves(nnx.state(cluster.actor_trainer.model)))
    answer(seconds=time.perf_counter() - started)


model = llama3.Llama3(
  llama3.ModelConfig(
    num_layers=sizes["layers"],
    vocab_size=sizes["vocabulary"],
    embed_dim=sizes["width"],
    hidden_dim=sizes["feed_forward"],
    num_heads=sizes["heads"],
    head_dim=sizes["head_width"],
    num_kv_heads=sizes["key_value_heads"],
    rope_theta=10_000,
    norm_eps=1e-6,
  ),
  rngs=nnx.Rngs(0),
)
# Tunix initialises feed-forward matrices at zero, where their gradients would remain zero.
draw = lambda weights: 0.02 * jax.random.normal(jax.random.key(weights.size), weights.shape)
nnx.update(model, jax.tree.map(lambda weights: draw(weights) if weights.ndim > 1 else weights, nnx.state(model)))
# Mesh axes are automatic, as Tunix's models specify shardings only of parameters.
mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("fsdp", "tp"))
cluster = rl_cluster.RLCluster(
  actor=model,
  tokenizer=Tokenizer(),
  cluster_config=rl_cluster.ClusterConfig(
    role_to_mesh={role: mesh for role in (rl_cluster.Role.ACTOR, rl_cluster.Role.REFERENCE, rl_cluster.Role.ROLLOUT)},
    training_config=rl_cluster.RLTrainingConfig(
      actor_optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(3e-4)),
      eval_every_n_steps=1 << 30,
      max_steps=1 << 30,
      mini_batch_size=sizes["prompts"],
      train_micro_batch_size=sizes["prompts"],
    ),
    rollout_config=RolloutConfig(
      max_tokens_to_generate=sizes["new_tokens"],
      max_prompt_length=sizes["prompt_tokens"],
      kv_cache_size=sizes["prompt_tokens"] + sizes["new_tokens"],
      temperature=1.0,
    ),
  ),
)
learner = GRPOLearner(
  rl_cluster=cluster,
  algo_config=GRPOConfig(num_generations=sizes["completions"], num_iterations=1, beta=0.0),
  reward_fns=reward,
)
packages = {"tunix": "google-tunix", "jax": "jax", "flax": "flax"}
versions = ", ".join(f"{name} {importlib.metadata.version(package)}" for name, package in packages.items())
answer(peer=f"{versions}, {len(os.sched_getaffinity(0))} cores")
learner.train(batches())
