"""The transformer against a slow NumPy one, its cache, padding, types and logical axes."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.models import huggingface
from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.attention import within
from rl_jax.models.loading import load
from rl_jax.models.model import Model
from rl_jax.models.rope import frequencies, rotate, rotation
from rl_jax.models.transformer import Transformer
from rl_jax.training import mesh
from tests.models import tiny

SIZES = {"vocabulary": 7, "outputs": 5, "width": 8, "layers": 2, "heads": 4, "key_value_heads": 2, "head_width": 4}
CONFIG = TransformerConfig(**SIZES, feed_forward=12, rope_base=100.0)
MODULE = Transformer(CONFIG)
LENGTHS = np.array([5, 3, 1])
TIME = 5
"""Three prompts, left-padded to five slots."""


def left_padded(rows, width, fill=0):
  """(tokens, positions, mask) of token lists at the right edge of `width` slots."""
  tokens, mask = np.full((len(rows), width), fill, np.int32), np.zeros((len(rows), width), bool)
  for i, row in enumerate(rows):
    tokens[i, width - len(row) :], mask[i, width - len(row) :] = row, True
  return tokens, np.maximum(mask.cumsum(axis=1) - 1, 0), mask


ROWS = [list(np.random.default_rng(0).integers(0, 7, n)) for n in LENGTHS]
"""Their tokens; id 0 is a token like any other."""


@pytest.fixture(scope="module")
def params():
  """Parameters without boxes; norms are moved away from one."""

  @jax.jit
  def draw():
    one = jnp.zeros((1, 1), jnp.int32)
    tree = nn.unbox(MODULE.init(jax.random.key(0), one, one, one.astype(bool))["params"])
    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    keys = iter(jax.random.split(jax.random.key(1), len(paths)))
    return jax.tree.map(lambda x: x + (0.3 * jax.random.normal(next(keys), x.shape) if x.ndim == 1 else 0), tree)

  return draw()


@pytest.fixture(scope="module")
def run():
  return jax.jit(lambda params, *args: MODULE.apply({"params": params}, *args))


def rms(x, scale, epsilon):
  return x / np.sqrt(np.mean(x * x) + epsilon) * scale


def turned(x, position, base):
  """Channels (i, i + half) as points of a plane, turned by position * base^(-i / half)."""
  half, out = len(x) // 2, np.empty_like(x)
  for i in range(half):
    angle = position * base ** (-i / half)
    out[i] = x[i] * np.cos(angle) - x[i + half] * np.sin(angle)
    out[i + half] = x[i] * np.sin(angle) + x[i + half] * np.cos(angle)
  return out


def plain_attention(p, c, normed):
  """Head by head, token by token; each key-value head serves heads // key_value_heads neighbouring query heads."""
  out = np.zeros((len(normed), c.heads * c.head_width))
  for head in range(c.heads):
    shared = head // (c.heads // c.key_value_heads)
    mine, theirs = (slice(h * c.head_width, (h + 1) * c.head_width) for h in (head, shared))
    q = [turned((x @ p["query"])[mine], t, c.rope_base) for t, x in enumerate(normed)]
    k = [turned((x @ p["key"])[theirs], t, c.rope_base) for t, x in enumerate(normed)]
    v = [(x @ p["value"])[theirs] for x in normed]
    for t in range(len(normed)):
      scores = np.array([q[t] @ k[s] / np.sqrt(c.head_width) for s in range(t + 1)])
      weights = np.exp(scores - scores.max())
      out[t, mine] = sum(w * v[s] for s, w in enumerate(weights / weights.sum()))
  return out @ p["output"]


def plain_transformer(params, c, tokens):
  """Outputs [T, O] of one unpadded sequence, float64."""
  p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
  x = p["embedding"][np.asarray(tokens)]
  for i in range(c.layers):
    layer = p[f"layer_{i}"]
    normed = [rms(row, layer["attention_norm"]["scale"], c.norm_epsilon) for row in x]
    x = x + plain_attention(layer["attention"], c, normed)
    for t in range(len(x)):
      normed = rms(x[t], layer["feed_forward_norm"]["scale"], c.norm_epsilon)
      f = layer["feed_forward"]
      gate = normed @ f["gate"]
      x[t] = x[t] + (gate / (1 + np.exp(-gate)) * (normed @ f["up"])) @ f["down"]
  return np.stack([rms(row, p["final_norm"]["scale"], c.norm_epsilon) for row in x]) @ p["output"]


def test_windows_by_hand():
  positions, of_keys = jnp.array([[2, 3], [0, 1]]), jnp.array([[0, 1, 2, 3]])
  want = [[[False, True, True, True], [False, False, True, True]], [[True] * 4] * 2]
  np.testing.assert_array_equal(within(2, positions, of_keys), want)


def test_rotation_by_hand():
  x = jnp.array([1.0, 2.0, 3.0, 4.0])[None, None, None]
  angles = np.array([3.0, 3.0 / 10])  # base 100, half 2: 100^0 and 100^(-1/2)
  cos, sin = np.cos(angles), np.sin(angles)
  want = [cos[0] - 3 * sin[0], 2 * cos[1] - 4 * sin[1], 3 * cos[0] + sin[0], 4 * cos[1] + 2 * sin[1]]
  np.testing.assert_allclose(rotate(x, rotation(jnp.array([[3]]), frequencies(4, 100.0)))[0, 0, 0], want, rtol=1e-6)


def test_outputs_equal_the_plain_transformer_on_padded_rows(run, params):
  outputs = np.asarray(run(params, *left_padded(ROWS, TIME))[0])
  for i, row in enumerate(ROWS):
    np.testing.assert_allclose(outputs[i, TIME - len(row) :], plain_transformer(params, CONFIG, row), atol=1e-5)


def test_decoding_through_the_cache_equals_the_whole_pass(run, params):
  """Prefill of ragged left-padded prompts, each repeated, then a token per row and step; the last rows end early."""
  tokens, positions, mask = left_padded(ROWS, TIME)
  repeats, steps = 2, 4
  outputs, cache = run(params, tokens, positions, mask)
  cache = cache.repeat(repeats).grow(steps)
  assert {x.size for x in (*cache.keys, *cache.values)} == {6 * 2 * 4 * (TIME + steps)}
  rng = np.random.default_rng(1)
  responses = [list(rng.integers(0, 7, n)) for n in (4, 4, 2, 4, 1, 3)]
  for t in range(steps):
    fed = np.array([[r[t] if t < len(r) else 6] for r in responses])
    active = np.array([[t < len(r)] for r in responses])
    at = np.repeat(LENGTHS, repeats)[:, None] + t
    step, cache = run(params, fed, at, active, cache, jnp.int32(TIME + t))
    for i, response in enumerate(responses):
      if t < len(response):
        whole = plain_transformer(params, CONFIG, ROWS[i // repeats] + response[: t + 1])
        np.testing.assert_allclose(step[i, 0], whole[-1], atol=1e-5, err_msg=f"row {i} step {t}")
  np.testing.assert_array_equal(cache.mask[:, TIME:].sum(axis=1), [len(r) for r in responses])


def test_the_outputs_of_the_last_column_alone_are_those_of_the_whole(run, params):
  inputs = left_padded(ROWS, TIME)
  outputs, cache = run(params, *inputs)
  last, same = jax.jit(lambda params: MODULE.apply({"params": params}, *inputs, last=True))(params)
  np.testing.assert_allclose(last, outputs[:, -1:], atol=1e-6)
  jax.tree.map(np.testing.assert_array_equal, same, cache)


def test_decoding_with_windows_equals_the_logits_of_transformers():
  """Left-padded prompts of 30 and 22 tokens and a window of 5; the rest comes in steps of one and of three tokens."""
  source = huggingface.open_folder(tiny.GOLDENS / "tiny" / "gemma3")
  golden, module, steps = tiny.golden(source.path), Transformer(source.config), 12
  params, ends = load(source, Model(source.config)), np.array([30, 22])
  rows = np.array(golden["tokens"])
  run = jax.jit(lambda *args: module.apply({"params": params}, *args))
  inputs = left_padded([row[:end] for row, end in zip(rows, ends, strict=True)], 30)
  _, cache = run(*inputs)
  cache, found = cache.repeat(2).grow(steps), np.zeros((4, steps, 40))
  after = np.repeat(ends, 2)[:, None]
  for t, taken in [(0, 1), (1, 1), (2, 1), (3, 3), (6, 3), (9, 3)]:
    at = after + np.arange(t, t + taken)
    tokens = np.take_along_axis(np.repeat(rows, 2, axis=0), at, axis=1)
    found[:, t : t + taken], cache = run(tokens, at, np.ones_like(tokens, bool), cache, jnp.int32(30 + t))
  for i, end in enumerate(ends):
    for logits, position in zip(np.array(golden["logits"])[i], golden["positions"], strict=True):
      if end <= position < end + steps:
        for row in found[2 * i : 2 * i + 2]:
          np.testing.assert_allclose(row[position - end], logits, atol=1e-5)


def test_tokens_may_be_fed_several_at_a_time(run, params):
  row = [1, 5, 2, 6, 3, 4]
  _, cache = run(params, *left_padded([row[:3]], 3))
  rest, _ = run(params, np.array([row[3:]]), np.array([[3, 4, 5]]), np.ones((1, 3), bool), cache.grow(3), 3)
  np.testing.assert_allclose(rest[0], plain_transformer(params, CONFIG, row)[3:], atol=1e-5)


def test_gradient_does_not_see_padding(params):
  def loss(params, tokens, positions, mask):
    outputs, _ = MODULE.apply({"params": params}, tokens, positions, mask)
    return jnp.where(mask[..., None], jnp.sin(outputs), 0.0).sum()

  gradient = jax.jit(jax.grad(loss))
  left = gradient(params, *left_padded([[1, 2, 3], [4]], 3, fill=6))
  right_tokens = np.array([[1, 2, 3, 5, 5], [4, 5, 5, 5, 5]])
  right_mask = np.array([[True] * 3 + [False] * 2, [True] + [False] * 4])
  right = gradient(params, right_tokens, np.arange(5) * np.ones((2, 1), int), right_mask)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), left, right)
  assert not np.any(left["embedding"][6]) and not np.any(right["embedding"][5])
  assert all(np.any(x) for x in jax.tree.leaves(left))


@pytest.mark.parametrize("switches", [{}, {"tied_embeddings": True, "qkv_bias": True, "qk_norm": True}])
def test_recomputed_blocks_have_the_same_parameters_outputs_and_gradients(switches):
  args = left_padded(ROWS, TIME)
  results = []
  for remat in ("none", "block"):
    module = Transformer(TransformerConfig(**SIZES | {"outputs": 7}, remat=remat, **switches))
    start = jax.jit(module.init)(jax.random.key(3), *args)
    loss = lambda params, module=module: jnp.sin(module.apply(params, *args)[0]).sum()
    results.append((nn.unbox(start), jax.jit(module.apply)(start, *args)[0], nn.unbox(jax.jit(jax.grad(loss))(start))))
  (start, outputs, gradient), (again, same, recomputed) = results
  jax.tree.map(np.testing.assert_array_equal, (start, outputs), (again, same))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), gradient, recomputed)
  assert all(np.any(x) for x in jax.tree.leaves(gradient))


def test_a_tied_model_is_the_untied_one_with_the_transpose_as_output(run, params):
  sizes = SIZES | {"outputs": 7, "feed_forward": 12}
  tied = Transformer(TransformerConfig(**sizes, rope_base=100.0, tied_embeddings=True))
  across = params["embedding"].T
  shared = {name: x for name, x in params.items() if name != "output"} | {"embedding": across}
  outputs, _ = jax.jit(tied.apply)({"params": shared}, *left_padded(ROWS, TIME))
  part, _ = run(params | {"output": across[:, :5]}, *left_padded(ROWS, TIME))
  np.testing.assert_allclose(outputs[..., :5], part, atol=1e-5)


def test_a_value_head_on_tied_embeddings_only_adds_its_output():
  trees = [
    jax.eval_shape(
      Transformer(TransformerConfig(**SIZES | {"outputs": n}, tied_embeddings=True)).init,
      jax.random.key(0),
      *left_padded(ROWS, TIME),
    )["params"]
    for n in (7, 1)
  ]
  policy, critic = (jax.tree_util.tree_map(lambda x: x.shape, nn.unbox(tree)) for tree in trees)
  assert critic.pop("output") == (8, 1)
  assert policy == critic


@pytest.mark.parametrize("where", ["left", "right", "more", "both"])
def test_padding_changes_nothing(run, params, where):
  before, after = {"left": (2, 0), "right": (0, 2), "more": (6, 0), "both": (1, 3)}[where]
  rows, want = ROWS[:1], plain_transformer(params, CONFIG, ROWS[0])
  tokens, positions, mask = left_padded(rows, len(rows[0]) + before)
  pad = lambda x: np.pad(x, [(0, 0), (0, after)])
  outputs, _ = run(params, pad(tokens), pad(positions), pad(mask))
  np.testing.assert_allclose(outputs[0, before : before + len(rows[0])], want, atol=1e-5)


def test_garbage_in_padding_changes_nothing(run, params):
  tokens, positions, mask = left_padded(ROWS, TIME)
  clean, _ = run(params, tokens, positions, mask)
  dirty, _ = run(params, np.where(mask, tokens, 6), np.where(mask, positions, 1000), mask)
  np.testing.assert_array_equal(np.asarray(clean)[mask], np.asarray(dirty)[mask])
  assert np.all(np.isfinite(dirty))


def test_a_later_token_changes_nothing_before_it(run, params):
  tokens, positions, mask = left_padded([[1, 2, 3, 4, 5]], TIME)
  other = tokens.copy()
  other[0, 3] = 6
  a, b = run(params, tokens, positions, mask)[0], run(params, other, positions, mask)[0]
  np.testing.assert_array_equal(a[:, :3], b[:, :3])
  assert np.all(np.abs(a - b)[:, 3:].max(axis=-1) > 1e-3)


def test_bf16_activations_keep_float32_parameters_and_outputs(run, params):
  module = Transformer(TransformerConfig(**SIZES, feed_forward=12, rope_base=100.0, dtype="bfloat16"))
  args = left_padded(ROWS, TIME)
  boxed = jax.eval_shape(module.init, jax.random.key(0), *args)
  assert {x.dtype for x in jax.tree.leaves(boxed)} == {jnp.dtype("float32")}
  outputs, cache = jax.jit(module.apply)({"params": params}, *args)
  assert outputs.dtype == jnp.float32
  assert {x.dtype for x in (*cache.keys, *cache.values)} == {jnp.dtype("bfloat16")}
  exact, _ = run(params, *args)
  error = np.abs(outputs - exact)[args[2]].max()
  assert 1e-4 < error < 0.1, error


def test_param_dtype_is_that_of_the_parameters():
  module = Transformer(TransformerConfig(**SIZES, param_dtype="bfloat16"))
  boxed = jax.eval_shape(module.init, jax.random.key(0), *left_padded(ROWS, TIME))
  assert {x.dtype for x in jax.tree.leaves(boxed)} == {jnp.dtype("bfloat16")}


def test_every_parameter_names_its_logical_axes():
  boxed = jax.eval_shape(MODULE.init, jax.random.key(0), *left_padded(ROWS, TIME))["params"]
  leaves = jax.tree.leaves(boxed, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned))
  assert len(leaves) == 2 + 1 + CONFIG.layers * 9
  known = {name for name, _ in mesh.RULES}
  for leaf in leaves:
    assert isinstance(leaf, nn.LogicallyPartitioned), leaf
    assert len(leaf.names) == leaf.value.ndim and set(leaf.names) <= known, leaf
  attention = boxed["layer_0"]["attention"]
  assert attention["query"].names == ("width", "heads") and attention["output"].names == ("heads", "width")
  assert attention["key"].names == attention["value"].names == ("width", "key_value_heads")
  assert boxed["embedding"].names == ("vocabulary", "width") and boxed["output"].names == ("width", "vocabulary")


@pytest.mark.parametrize(
  ("fields", "said"),
  [
    ({"heads": 3}, "model.heads=3 is not a multiple of model.key_value_heads=2"),
    ({"head_width": 5}, "model.head_width=5 is odd"),
    ({"layers": 0}, "model.layers=0"),
    ({"key_value_heads": 0}, "model.key_value_heads=0"),
    ({"width": -8}, "model.width=-8"),
    ({"dtype": "float31"}, "model.dtype is one of float32, .* got 'float31'"),
    ({"param_dtype": "int32"}, "model.param_dtype is one of"),
    ({"rope_scaling": "yarn"}, "model.rope_scaling is one of none, linear, llama3, got 'yarn'"),
    ({"remat": "all"}, "model.remat is one of none, block, got 'all'"),
    ({"rope_high_frequency": 1.0}, "model.rope_high_frequency above"),
    ({"activation": "relu"}, "model.activation is one of silu, gelu_tanh, got 'relu'"),
    ({"attention_pattern": ("full", "local")}, "model.attention_pattern names one or more of full, window, got"),
    ({"attention_pattern": ()}, r"model.attention_pattern names one or more of full, window, got \[\]"),
    ({"window": 4}, r"model.window=4 with model.attention_pattern=\['full'\]: a window of at least 1 goes with"),
    ({"attention_pattern": ("window",)}, "model.window=0 with model.attention_pattern="),
    ({"query_scalar": -1}, "model.query_scalar at least 0"),
  ],
)
def test_sizes_that_make_no_sense_are_one_line(fields, said):
  with pytest.raises(ValueError, match=said) as error:
    TransformerConfig(**SIZES | fields)
  assert "\n" not in str(error.value)
