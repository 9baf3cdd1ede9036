"""Run by test_mesh.py in a process with eight devices: numbers of one mesh shape after another, as JSON lines."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import sys
import tempfile
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np

from rl_jax import train
from rl_jax.planning.collectives import collectives
from rl_jax.planning.hlo import Program
from rl_jax.rollouts.sampler import SEED_AXIS
from rl_jax.training import iteration, mesh, rollout_layout, state
from rl_jax.training.checkpoints import Checkpoints
from rl_jax.training.trainer import Trainer
from rl_jax.trajectories import PrefixTrees
from tests import commands
from tests.methods.two_iterations import even
from tests.training import small

ONE = (1, 1, 1)
WHOLE = ((1, 1, 1), (2, 2, 2))
"""Shapes for whole iterations, which take long to compile."""
OPTIONS = (
  "prompts_per_iteration=4",
  "model.width=16",
  "model.heads=8",
  "model.key_value_heads=8",
  "model.head_width=2",
  "model.feed_forward=16",
  "num_seeds=1",
  "logging.every_iterations=1",
  "learning_rate=0.01",
  "optimizer.warmup_updates=0",
  "optimizer.epsilon=1e-2",  # Adam's first step is the sign of the gradient, else, and rounding rules where that is 0
)


MORE = {
  "without_logits": ("model.logprobs=chunked",),
  "packed": ("length_buckets=4", "rows_per_microbatch=16"),
}
"""Overrides of some kinds of learning. A micro-batch is half of the rows, and one row holds four short responses."""


def cut(batch, width):
  """The batch without tokens from slot `width` on."""
  kept = np.arange(batch.tokens.shape[1]) < width
  return batch.replace(attention_mask=batch.attention_mask & kept, loss_mask=batch.loss_mask & kept)


def twice(batch):
  """Two copies of the rows, of groups of their own."""
  both = jax.tree.map(lambda x: np.concatenate([x, x]), batch)
  return both.replace(group_ids=np.where(np.arange(32) < 16, both.group_ids, both.group_ids + 100))


def make(shape, *overrides, method="ppo"):
  sizes = [f"mesh.{axis}={size}" for axis, size in zip(mesh.AXES, shape, strict=True)]
  experiment = small.make_experiment(*OPTIONS, *overrides, *sizes, method=method)
  experiment = dataclasses.replace(experiment, task=even(experiment.task))
  return experiment, mesh.make_mesh(experiment.config.mesh)


def numbers(tree) -> dict[str, list[float]]:
  return {name: np.asarray(x, np.float64).ravel().tolist() for name, x in small.leaves(tree).items()}


def layout(tree) -> dict[str, list[int]]:
  """Shape of the part on one device, by leaf."""
  return {
    jax.tree_util.keystr(path): list(x.sharding.shard_shape(x.shape))
    for path, x in jax.tree_util.tree_leaves_with_path(tree)
  }


def learn(shape, batch, start, *overrides) -> dict:
  """Everything after the verifier on fixed tokens, rows and parameters laid over the mesh."""
  experiment, device_mesh = make(shape, *overrides)
  rows = jax.sharding.NamedSharding(device_mesh, jax.sharding.PartitionSpec(None, ("data", "fsdp")))
  with mesh.use(device_mesh, experiment.rules):
    one = jax.eval_shape(lambda: state.init_seed(experiment, 0, None))
    seed = jax.device_put(jax.tree.map(lambda x: x[None], start), mesh.shardings(device_mesh, one, experiment.rules))
    trajectories = jax.device_put(jax.tree.map(lambda x: x[None], batch), rows)
    step = jax.vmap(lambda s, t: small.learn(experiment, s, t, 0), axis_name=SEED_AXIS)
    program = jax.jit(step, out_shardings=(mesh.shardings(device_mesh, one, experiment.rules), None))
    new, metrics = program(seed, trajectories)
  return {
    "metrics": {name: float(mean.value[0]) for name, mean in metrics.items()},
    "params": numbers({name: model.params for name, model in new.models.items()}),
    "moments": numbers({name: model.optimizer for name, model in new.models.items()}),
    "layout": layout({name: model.params for name, model in new.models.items()}),
    "moments_layout": layout(new.models["policy"].optimizer),
    "rows": layout(trajectories.tokens)[""],
  }


def iterate(shape, folder: Path) -> dict:
  """Two whole iterations, what they sampled in all rows, and a checkpoint of them."""
  experiment, device_mesh = make(shape, "logging.samples=16", method="grpo")
  trainer = Trainer(experiment, device_mesh)
  run = jax.jit(lambda s: iteration.run(experiment, s), out_shardings=(trainer._shardings, None))
  trainer.loop.programs = {"run": run}
  before = numbers(trainer.state.seeds.models["policy"].params)
  done = [trainer.advance() for _ in range(2)]
  with Checkpoints(folder) as checkpoints:
    checkpoints.save(2, trainer.state, {})
  return {
    "tokens": [[sample["tokens"] for sample in d.samples] for d in done],
    "metrics": [{k: float(v[0]) for k, v in d.metrics[0].items()} for d in done],
    "before": before,
  }


STEMS = {
  "levels": ("spo_tree", "method.branching=(2, 2)", "method.segment_tokens=2"),
  "branches": ("spo_chain", "method.max_segments=3", "method.interval=1", "method.completions_per_cut=2"),
}
"""Methods whose later texts go on from what comes before them, which is run apart."""


def generate_in_parts(shape, method, *overrides) -> dict:
  """What a rollout of texts and what goes on from them samples."""
  experiment, device_mesh = make(shape, *overrides, method=method)
  seeds = Trainer(experiment, device_mesh).state.seeds
  with mesh.use(device_mesh, experiment.rules):
    rollout = jax.vmap(lambda seed: iteration.make_batch(experiment, seed, 0)[1].trajectories, axis_name=SEED_AXIS)
    rows = jax.device_get(jax.jit(rollout)(seeds))
  used = rows.loss_mask
  return {"tokens": np.where(used, rows.tokens, -1)[0].tolist(), "logprobs": rows.old_logprobs[used].tolist()}


def generate(shape) -> dict:
  """A rollout with a layout of its own and one without: where parameters lie, what is sampled and sent."""
  experiment, device_mesh = make(shape, "mesh.rollout_rules.width=", method="grpo")
  plain, _ = make(shape, method="grpo")
  seeds = Trainer(experiment, device_mesh).state.seeds
  policy = seeds.models["policy"].params

  def compile_rollout(of):
    tokens = lambda seed: iteration.make_batch(of, seed, 0)[1].trajectories.tokens
    return jax.jit(jax.vmap(tokens, axis_name=SEED_AXIS)).lower(seeds).compile()

  with mesh.use(device_mesh, experiment.rules):
    moved = rollout_layout.reshard(experiment, device_mesh)(policy)
    compiled = {"anew": compile_rollout(experiment), "as trained": compile_rollout(plain)}
    tokens = {name: np.asarray(program(seeds))[0].tolist() for name, program in compiled.items()}
  sent = {name: sum(c.bytes for c in collectives(Program(program.as_text()))) for name, program in compiled.items()}
  held = sum(x.nbytes for x in jax.tree.leaves(policy))
  return {"trained": layout(policy), "generating": layout(moved), "tokens": tokens, "sent": sent, "held": held}


def restore(shape, folder: Path) -> dict:
  """Restore on this mesh what `iterate` saved on another."""
  experiment, device_mesh = make(shape, method="grpo")
  trainer = Trainer(experiment, device_mesh)
  restored = Checkpoints(folder).restore_latest(trainer.abstract_state).state
  assert layout(restored) == layout(trainer.state)
  params = restored.seeds.models["policy"].params
  # As a start for another run it comes on one device.
  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
  alone = Checkpoints(folder).restore_subtree("seeds/models/policy/params", shapes).state
  small.assert_same(Trainer(experiment, device_mesh, {"policy": alone}).state.seeds.models["policy"].params, params)
  return numbers(params)


def refuse(overrides: list[str], folder: Path):
  """Exit status and stderr of the command, and what it made."""
  arguments = commands.flags("experiments/grpo.py:smoke", folder / "run", *commands.SMALL, *overrides)
  with contextlib.redirect_stderr(io.StringIO()) as told:
    status = train.main(arguments)
  return status, told.getvalue(), sorted(path.name for path in folder.glob("*"))


def main() -> None:
  assert jax.device_count() == 8
  folder = Path(tempfile.mkdtemp())
  tell = lambda kind, shape, found: print(json.dumps({"kind": kind, "shape": shape, "found": found}), flush=True)
  if sys.argv[1] == "learn":
    experiment, _ = make(ONE)
    start = jax.device_get(small.make_seed(experiment))
    batch = jax.device_get(small.make_trajectories(experiment, nn.unbox(start), rows=16))
    batches = {
      "shared": batch.replace(trees=(PrefixTrees.groups(16, 4, batch.prompt_width),)),
      "trees": jax.device_get(small.as_trees(experiment, nn.unbox(start), batch)),
    }
    batches["trees_alone"] = batches["trees"].replace(trees=())
    batches["packed_alone"] = twice(cut(batch, batch.prompt_width + 2))
    batches["packed"] = batches["packed_alone"].replace(trees=(PrefixTrees.groups(32, 4, batch.prompt_width),))
    for kind, shape in ("learn", ONE), *json.loads(sys.argv[2]):
      if kind in STEMS:
        tell(kind, shape, generate_in_parts(shape, *STEMS[kind]))
      else:
        tell(kind, shape, learn(shape, batches.get(kind, batch), start, *MORE.get(kind, ())))
  else:
    for shape in WHOLE:
      tell("iterate", shape, iterate(shape, folder / str(shape)))
    tell("generate", (1, 8, 1), generate((1, 8, 1)))
    for i, overrides in enumerate(json.loads(sys.argv[2])):
      tell("refused", overrides, refuse(overrides, folder / f"refused{i}"))
    first, last = WHOLE[0], WHOLE[-1]
    for saved, here in ((last, first), (last, last), (first, last)):
      tell("restore", [saved, here], restore(here, folder / str(saved)))


if __name__ == "__main__":
  main()
