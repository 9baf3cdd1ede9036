"""A small experiment, and a fixed batch whose numbers are known beforehand."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.configuration import configs
from rl_jax.launching import initialization
from rl_jax.rollouts.rollout import RolloutResult, verify
from rl_jax.training import iteration, state
from rl_jax.trajectories import POLICY, PROMPT, PrefixTrees, Trajectories
from tests.commands import SMALL

ROWS = 8


def make_config(*overrides: str, method: str = "grpo"):
  small = [o for o in SMALL if not o.startswith("logging.samples")]
  return configs.resolve(f"experiments/{method}.py:smoke", [*small, "init_from=", "logging.samples=1", *overrides])


def make_experiment(*overrides: str, method: str = "grpo"):
  return initialization.build(make_config(*overrides, method=method))


def make_seed(experiment, seed: int = 0):
  """State of one seed, without the leading axis."""
  return jax.jit(lambda: nn.unbox(state.init_seed(experiment, seed, None)))()


def make_trajectories(experiment, seed, rows: int = ROWS, draw: int = 0) -> Trajectories:
  """Ragged random responses, four answers to each prompt; old logprobs are those of the policy of `seed`."""
  return jax.jit(lambda params: _trajectories(experiment, params, rows, draw))(seed.models["policy"].params)


def _trajectories(experiment, params, rows: int, draw: int) -> Trajectories:
  task, rng = experiment.task, np.random.default_rng(draw)
  prompts = task.prompts(jnp.repeat(jnp.arange(rows // 4), 4), "train")
  width = task.response_tokens
  lengths = rng.integers(2, width + 1, rows)
  mask = np.arange(width) < lengths[:, None]
  tokens = np.where(mask, rng.integers(2, len(task.vocabulary), (rows, width)), task.vocabulary.pad_id)
  whole = jnp.concatenate([prompts.tokens, tokens.astype(np.int32)], axis=1)
  attention = jnp.concatenate([prompts.mask, mask], axis=1)
  every = jnp.ones(rows, bool)
  sources = jnp.where(jnp.arange(whole.shape[1]) < task.prompt_tokens, PROMPT, POLICY)
  empty = Trajectories.empty(*whole.shape, task.prompt_tokens)
  trajectories = empty.replace(
    tokens=whole,
    positions=jnp.maximum(jnp.cumsum(attention, axis=1) - 1, 0).astype(jnp.int32),
    attention_mask=attention,
    loss_mask=jnp.concatenate([jnp.zeros_like(prompts.mask), mask], axis=1),
    source_ids=jnp.broadcast_to(sources, whole.shape),
    group_ids=jnp.repeat(jnp.asarray([7, -3, 40, 2]), 4)[:rows],
    prompt_ids=jnp.repeat(jnp.arange(rows // 4), 4),
    row_mask=every,
    truncated=jnp.asarray(lengths == width),
    extras={"behaviour_entropies": empty.old_logprobs},
  )
  trajectories = verify(task, trajectories, every)
  out = experiment.models["policy"].outputs(params, trajectories)
  trajectories = trajectories.replace(old_logprobs=out["logprobs"], behaviour_logprobs=out["logprobs"])
  rewards = jnp.asarray(rng.normal(size=rows), jnp.float32)
  return trajectories.replace(rewards=rewards, reward_mask=every)


TREE = (1, 3)
"""Children by level of `as_trees`."""


def as_trees(experiment, seed, rows: Trajectories) -> Trajectories:
  """The four rows of each prompt as a tree: the first ends after two tokens, from which the others go on."""
  first, width = rows.prompt_width, rows.tokens.shape[1]
  inner, slots = jnp.arange(rows.tokens.shape[0]) % 4 == 0, jnp.arange(width)
  stem = (slots >= first) & (slots < first + 2)
  of_first = lambda x: jnp.where(stem, jnp.repeat(x[::4], 4, axis=0), x)
  attention = of_first(rows.attention_mask) & ~(inner[:, None] & (slots >= first + 2))
  rows = rows.replace(
    tokens=of_first(rows.tokens),
    attention_mask=attention,
    loss_mask=attention & jnp.where(inner[:, None], stem, slots >= first + 2),
    positions=jnp.maximum(jnp.cumsum(attention, axis=1) - 1, 0).astype(jnp.int32),
    trees=(PrefixTrees(inner.shape[0], TREE, (first, first + 2)),),
  )
  logprobs = experiment.models["policy"].outputs(seed.models["policy"].params, rows.replace(trees=()))["logprobs"]
  return rows.replace(old_logprobs=logprobs, behaviour_logprobs=logprobs)


def groups(rows: Trajectories) -> tuple[PrefixTrees, ...]:
  """Trees in which the four rows of each prompt share it."""
  return (PrefixTrees.groups(rows.tokens.shape[0], 4, rows.prompt_width),)


@functools.cache
def curve(*options: str, rows: int = ROWS, trees: bool = False):
  """Parameters and metrics after two iterations on ragged responses, or trees of them, with random rewards."""
  plain = ("num_seeds=1", "learning_rate=0.01", "optimizer.warmup_updates=0", "completions_per_prompt=4")
  experiment = make_experiment(*plain, *options)
  seed, metrics_of_all = make_seed(experiment), []
  step = jax.jit(lambda seed, batch, number: learn(experiment, seed, batch, number))
  for number in range(2):
    batch = make_trajectories(experiment, seed, rows, draw=number)
    batch = as_trees(experiment, seed, batch) if trees else batch.replace(trees=groups(batch))
    seed, metrics = step(seed, batch, number)
    metrics_of_all.append({name: np.asarray(mean.value) for name, mean in metrics.items()})
  assert step._cache_size() == 1, "whatever the batches hold"
  return jax.device_get(seed.models["policy"].params), metrics_of_all


def assert_same_curve(left, right) -> None:
  """Two results of `curve` differ by rounding, and learn something."""
  assert_close(left[0], right[0], 1e-4)
  for one, two in zip(left[1], right[1], strict=True):
    for name in ("loss/policy", "entropy", "gradient_norm", "clip_fraction"):
      np.testing.assert_allclose(one[name], two[name], rtol=1e-3, atol=1e-5, err_msg=name)
    assert one["gradient_norm"] > 0 and one["ratio_error"] < 1e-5


def learn(experiment, seed, trajectories: Trajectories, number):
  """State and metrics after the second half of an iteration, where the rollout left its state as it was."""
  made = RolloutResult(seed.rollout, trajectories, trajectories.sampled_tokens, {})
  seed, report = iteration.learn(experiment, seed, made, number)
  return seed, report.metrics


def leaves(tree) -> dict[str, np.ndarray]:
  """Arrays by path."""
  return {jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(tree)}


def assert_close(left, right, tolerance: float) -> None:
  """|a - b| <= tolerance max(1, |b|) in every leaf."""
  left, right = leaves(left), leaves(right)
  assert left.keys() == right.keys()
  for name, a in left.items():
    np.testing.assert_allclose(a, right[name], rtol=tolerance, atol=tolerance, err_msg=name)


def assert_same(left, right) -> None:
  left, right = leaves(left), leaves(right)
  assert left.keys() == right.keys()
  for name, a in left.items():
    assert a.tobytes() == right[name].tobytes(), name
