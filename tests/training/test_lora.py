"""Training adapters: what moves, what is stored, the reference without a copy, resume, and starts from such runs."""

from __future__ import annotations

import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.launching import initialization, launch
from rl_jax.launching.stop import Stop
from rl_jax.models import lora
from rl_jax.runs.metrics import read_metrics
from rl_jax.training import mesh, state
from rl_jax.training.trainer import Trainer
from tests import commands
from tests.training import small

ADAPTED = ("model.lora_rank=2", "learning_rate=0.05", "optimizer.warmup_updates=0")
POLICY = "seeds/models/policy/"


def run(folder, iterations: int) -> None:
  overrides = (*ADAPTED, "method.kl_coefficient=0.1", "evaluation.greedy=False", f"num_iterations={iterations}")
  launch.train(small.make_config(*overrides), folder, launch.Terminal(["test"], io.StringIO(), Stop()))


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  """Two seeds, four iterations, a checkpoint after two."""
  return commands.once(tmp_path_factory, "lora", lambda folder: run(folder / "run", 4)) / "run"


def test_adapters_learn_the_base_stays_and_the_reference_is_no_copy(straight):
  before, after = commands.arrays(straight, 2), commands.arrays(straight, 4)
  params = {name: leaf for name, leaf in after.items() if name.startswith(POLICY + "params")}
  for name, leaf in params.items():
    same = np.array_equal(leaf, before[name])
    assert same != name.endswith((lora.A, lora.B)), name
  adapters = sum(leaf.size for name, leaf in params.items() if name.endswith((lora.A, lora.B)))
  moments = sum(leaf.size for name, leaf in after.items() if name.startswith(POLICY + "optimizer") and leaf.ndim > 1)
  assert moments == 2 * adapters < sum(leaf.size for leaf in params.values())
  assert not [name for name in after if name.startswith("seeds/models/reference")]
  seeds = params[POLICY + "params/layer_0/attention/query_lora_a"]
  assert not np.array_equal(seeds[0], seeds[1])


def test_divergence_from_the_reference_begins_at_zero(straight):
  train = [line for line in read_metrics(straight / "metrics.jsonl") if line["kind"] == "train"]
  divergence = [max(line["kl_to_reference"]) for line in train]
  assert len(divergence) == 4 and divergence[0] < 1e-10 and divergence[-1] > 1e-4
  assert all(max(line["ratio_error"]) < 1e-5 for line in train)


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_the_same(straight, tmp_path):
  run(tmp_path / "run", 2)
  run(tmp_path / "run", 4)
  commands.assert_same_end(straight, tmp_path / "run")


@pytest.mark.parametrize("rank", [0, 3])
def test_a_run_starts_from_the_merged_policy_of_one_with_adapters(straight, tmp_path, rank):
  """With all parameters or with new adapters of another rank: the same outputs, to 1e-5, also of the reference."""
  options = ("method.kl_coefficient=0.1", f"init_from={straight}")
  config = small.make_config(*options, f"model.lora_rank={rank}", "model.lora_targets=('query', 'up')")
  experiment = initialization.build(config)
  start = initialization.find(experiment, tmp_path, lambda config, folder: True)["policy"]
  trainer = Trainer(experiment, mesh.make_mesh(config.mesh), {"policy": start.params})
  seeds = trainer.state.seeds
  row = jnp.arange(1, 7)[None]
  args = (row, jnp.arange(6)[None], jnp.ones((1, 6), bool))
  trained = initialization.build(small.make_config(*ADAPTED)).models["policy"]
  saved = saved_params(straight)
  difference = 0.0
  for seed in range(2):
    pick = lambda tree, seed=seed: jax.tree.map(lambda x: x[seed], tree)
    want, _ = trained.run(pick(saved), *args)
    bound = state.bind(experiment, pick(seeds).models)
    for name in ("policy", "reference"):
      found, _ = bound[name].model.run(bound[name].params, *args)
      np.testing.assert_allclose(found, want, atol=1e-5, err_msg=name)
    plain, _ = trained.base.run(lora.without(pick(saved)), *args)
    difference = max(difference, np.abs(want - plain).max())
  assert difference > 1e-3
  assert not any(np.any(x) for name, x in small.leaves(seeds.models["policy"].params).items() if lora.B in name)
  stored = jax.tree.leaves(seeds.models["reference"].params)
  assert len(stored) == (0 if rank else len(jax.tree.leaves(start.params)))


def saved_params(folder) -> dict:
  """The policy's parameters in a run's newest checkpoint, as a tree."""
  tree: dict = {}
  for name, leaf in commands.arrays(folder).items():
    if name.startswith(POLICY + "params/"):
      *above, last = name.removeprefix(POLICY + "params/").split("/")
      node = tree
      for key in above:
        node = node.setdefault(key, {})
      node[last] = leaf
  return tree


def test_a_saved_config_that_knows_no_adapters_has_none(straight):
  model = initialization.build(small.make_config(*ADAPTED)).models["policy"]
  saved = json.loads((straight / "config.json").read_text())
  as_saved = initialization._with_adapters_of(initialization.ConfigDict(saved), model)
  assert as_saved == model
  for name in lora.FIELDS:
    del saved["model"][name]
  assert initialization._with_adapters_of(initialization.ConfigDict(saved), model) == model.base


def test_a_critic_trains_its_adapters_and_its_head():
  """In micro-batches, with averages of these alone, beside a policy and a reference that stores nothing."""
  options = ("method.kl_coefficient=0.5", "rows_per_microbatch=4", "optimizer.parameter_average=0.9")
  experiment = small.make_experiment(*ADAPTED, *options, method="ppo")
  seed = small.make_seed(experiment)
  trajectories = small.make_trajectories(experiment, seed)
  new, metrics = jax.jit(lambda s, t: small.learn(experiment, s, t, 0))(seed, trajectories)
  for name in ("policy", "critic"):
    before, after = (small.leaves(models[name].params) for models in (seed.models, new.models))
    moved = {path for path in before if not np.array_equal(before[path], after[path])}
    adapters = {path for path in before if "_lora_b" in path}  # A has no gradient while B is 0
    assert moved == adapters | ({"['output']"} if name == "critic" else set())
    average = small.leaves(new.models[name].average)
    assert average.keys() == small.leaves(experiment.models[name].trained(seed.models[name].params)).keys()
    for path in moved:
      np.testing.assert_allclose(average[path], 0.9 * before[path] + 0.1 * after[path], atol=1e-6, err_msg=path)
    evaluated = small.leaves(new.models[name].evaluated)
    assert {path for path in before if not np.array_equal(before[path], evaluated[path])} <= average.keys()
  assert not jax.tree.leaves(new.models["reference"])
  assert float(metrics["kl_to_reference"].value) < 1e-10 and float(metrics["gradient_norm"].value) > 0
