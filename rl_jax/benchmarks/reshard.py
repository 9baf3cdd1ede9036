"""Benchmark `reshard`: cost and gain of a separate parameter layout for generation, on the attached devices.

See `rl_jax.training.rollout_layout`. config.mesh and its rules are set as in a run.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax

from rl_jax.benchmarks.iteration import trainer_of
from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.kernels.benchmarks.timing import seconds
from rl_jax.launching import initialization, machine
from rl_jax.models.model import param_count
from rl_jax.training import iteration, mesh
from rl_jax.training.rollout_layout import reshard
from rl_jax.training.seeds import over_seeds


def reshard_benchmark(config_path: str, overrides: Sequence[str], repeats: int) -> None:
  """Print the time to reshard the policy for generation, and the time of a rollout in either layout.

  Raises: UserError: the config sets no separate layout for generation.
  """
  config = configs.resolve(config_path, overrides)
  trainer = trainer_of(config)
  experiment, seeds_of = trainer.experiment, trainer.state.seeds
  if experiment.rollout_rules == experiment.rules:
    raise UserError("generation has no layout of its own: set one, as in --config.mesh.rollout_rules.width=")
  plain = initialization.build(configs.resolve_config(config, {"mesh.rollout_rules": {}}))
  policy = seeds_of.models["policy"].params
  axes = ", ".join(f"{axis} {size}" for axis, size in trainer.mesh.shape.items())
  about = f"{param_count(policy)} parameters, {repeats} repeats, medians"
  print(f"the layout of generation on {machine.devices()} ({axes}): {about}", flush=True)
  with mesh.use(trainer.mesh, experiment.rules):
    move = reshard(experiment, trainer.mesh)
    rollout = lambda of: jax.jit(over_seeds(lambda seed: iteration.make_batch(of, seed, 0)[1], config.num_seeds))
    update_layout, rollout_layout = rollout(plain), rollout(experiment)
    times = {
      "reshard": seconds(lambda: move(policy), repeats),
      "rollout, laid out as for updates": seconds(lambda: update_layout(seeds_of), repeats),
      "rollout, laid out anew (with reshard)": seconds(lambda: rollout_layout(seeds_of), repeats),
    }
    moved = move(policy)
  bytes_per_device = lambda tree: sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree))
  in_updates, in_generation = bytes_per_device(policy) / 2**20, bytes_per_device(moved) / 2**20
  print(f"parameters per device: {in_updates:.2f} MiB in updates, {in_generation:.2f} in generation")
  for name, elapsed in times.items():
    print(f"{name:38} {elapsed:8.4f} s")
