"""What a layout needs, by hand, for a model with one layer of matrices."""

from __future__ import annotations

import types

import pytest

from rl_jax.benchmarks.roofline import forward_flops
from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.model import Model
from rl_jax.planning import ideal
from rl_jax.trajectories import PrefixTrees
from tests.training import small

AXES = ("data", "fsdp", "tensor")
OPTIONS = ("num_seeds=1", "model.layers=1", "model.width=8", "model.heads=2", "model.key_value_heads=2")


SIZES = {
  "vocabulary": 10, "outputs": 10, "width": 8, "layers": 2, "heads": 2, "key_value_heads": 2, "head_width": 4,
  "feed_forward": 16,
}  # fmt: skip


def sizes_of(experiment):
  return ideal.with_trees(experiment, ideal.sizes(experiment))


def mesh_of(*sizes):
  data, fsdp, tensor = sizes
  return types.SimpleNamespace(shape=dict(zip(AXES, sizes, strict=True)), size=data * fsdp * tensor)


@pytest.fixture(scope="module")
def experiment():
  """Eight rows: 2 prompts x 4 completions."""
  return small.make_experiment(*OPTIONS, "model.head_width=4", "model.feed_forward=16", "method.kl_coefficient=0.0")


def test_one_chip_sends_nothing_and_computes_all(experiment):
  s, config = sizes_of(experiment), experiment.models["policy"].config
  assert (s.prompts, s.rows) == (2, 8)
  alone = mesh_of(1, 1, 1)
  responses = forward_flops(config, 8 * s.response_tokens, s.prompt_tokens + (s.response_tokens + 1) / 2)
  forward = forward_flops(config, 2 * s.prompt_tokens, (s.prompt_tokens + 1) / 2, 0) + responses
  assert ideal.update(experiment, s, alone) == (pytest.approx(3 * forward), 0)
  eighth = ideal.update(experiment, s, mesh_of(2, 2, 2))
  assert eighth.flops == pytest.approx(3 * forward / 8)
  prefill = forward_flops(config, 2 * s.prompt_tokens, (s.prompt_tokens + 1) / 2, 2)
  decode = forward_flops(config, 8 * s.response_tokens, s.prompt_tokens + s.response_tokens / 2)
  assert ideal.rollout(experiment, s, alone) == (prefill + decode, 0)


def test_segments_of_trees_by_hand():
  """Two trees of 2 nodes with 3 children each, the prompt of 4 slots and a first segment of 2 of 6; one row alone."""
  trees = PrefixTrees(16, (2, 3), (4, 6)), PrefixTrees.alone(1)
  s = ideal.Sizes(3, 17, 4, 6, trees)
  assert [tuple(one) for one in s.segments(shared=True)] == [
    (2, 0, 4, False), (4, 4, 6, True), (12, 6, 10, True), (1, 0, 4, False), (1, 4, 10, True),
  ]  # fmt: skip
  assert [one.tokens for one in s.segments(shared=True)] == [8, 8, 48, 4, 6]
  assert [tuple(one) for one in s.segments(shared=False)] == [(17, 0, 4, False), (17, 4, 10, True)]
  whole = [ideal.Segment(5, 0, 3, read=False), ideal.Segment(5, 3, 10, read=True), ideal.Segment(5, 0, 10, read=True)]
  config = TransformerConfig(**SIZES)
  first, rest, both = (one.flops(config) for one in whole)
  assert first + rest == pytest.approx(both)


def test_rows_of_a_tree_share_their_text():
  experiment = small.make_experiment(
    *OPTIONS, "method.name=rl_jax.methods.spo_tree", "method.branching=(2, 2)", "method.segment_tokens=2",
    "completions_per_prompt=6",
  )  # fmt: skip
  s = sizes_of(experiment)
  assert s.trees == (PrefixTrees(12, (2, 2), (s.prompt_tokens, s.prompt_tokens + 2)),)


def test_a_backward_pass_computes_again_what_it_does_not_hold():
  """Of a token and layer: 4 matrices of 8 x 8 and 2 of 8 x 16 (the last is left out); of the output layer 8 x 10."""

  def of(logprobs, **more):
    config = TransformerConfig(**SIZES, **more)
    blocks, readout = forward_flops(config, 5, 0.0, 0), 5 * 2 * 8 * 10
    return ideal._recomputed(Model(config, logprobs=logprobs), 5, blocks, readout)

  assert of("logits") == 0
  assert of("chunked") == 5 * 2 * 8 * 10
  assert of("logits", remat="block") == 5 * 2 * 2 * (4 * 64 + 2 * 128)


def test_bytes_of_each_axis_by_hand(experiment):
  """Matrices: 4 of 8 x 8, 3 of 8 x 16, the output layer 8 x V; in float32."""
  s, config = sizes_of(experiment), experiment.models["policy"].config
  weights = 4 * (4 * 64 + 3 * 128 + 8 * config.outputs)
  activations = 4 * (2 * s.prompt_tokens + 8 * s.response_tokens) * 8
  data, fsdp, tensor = (
    ideal.update(experiment, s, mesh_of(*sizes)).sent for sizes in ((8, 1, 1), (1, 8, 1), (1, 1, 8))
  )
  assert data == pytest.approx(2 * weights * 7 / 8)
  assert fsdp == pytest.approx(3 * weights * 7 / 8)
  assert tensor == pytest.approx(2 * 4 * activations * 7 / 8)
  passes = 1 + s.response_tokens
  assert ideal.rollout(experiment, s, mesh_of(1, 8, 1)).sent == pytest.approx(passes * weights * 7 / 8)


def test_the_cache_is_split_over_rows_and_heads(experiment):
  s = sizes_of(experiment)
  whole = 2 * 8 * s.length * 2 * 4 * 4
  shares = {(1, 1, 1): 1, (4, 2, 1): 8, (2, 2, 2): 8, (1, 1, 4): 1}
  assert {sizes: whole / ideal.cache_bytes(experiment, s, mesh_of(*sizes)) for sizes in shares} == shares
