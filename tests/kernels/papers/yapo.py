"""YaPO and BiPO (arXiv 2601.08441, 2406.00045): steered hidden states, and the preference loss in both directions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.activations.sparse_codes import decode, jump_relu_codes
from rl_jax.kernels.activations.steering import steer_dense, steer_sparse
from rl_jax.kernels.logprobs.reference import categorical
from rl_jax.kernels.losses.preference import dpo
from rl_jax.kernels.reductions import masked_mean, zero_masked
from tests.kernels.kernel import quick_jit

SKIPPED = {("worked_steer_sparse", "dense_plus"): "the dense vector that it adds is not among the inputs"}
PROMPT = -100
"""Label of a token that is not scored."""


def compute(case, inputs):
  inputs = inputs | {"sae": {name: jnp.asarray(x, float) for name, x in inputs["sae"].items()}}
  if "h" in inputs:
    return steered(**inputs)
  return losses(case, **inputs)


def encode(hidden, sae):
  ones = jnp.ones(hidden.shape[:-1])
  return jump_relu_codes(hidden, sae["W_enc"], sae["b_enc"], sae["threshold"], ones)


def steered(h, v, sae):
  codes = encode(h, sae)
  steer = lambda d: steer_sparse(h, codes, v, sae["W_dec"], multiplier=d)
  return {
    "encode": codes,
    "decode": decode(codes, sae["W_dec"], sae["b_dec"]),
    "steered_plus": steer(1.0),
    "steered_minus": steer(-1.0),
    "steered_zero": steer(0.0),
  }


def padded(responses):
  """Hidden states [2 4 D] and labels [2 4] of up to two ragged rows: one shape, one program for all cases."""
  states, labels = np.zeros((2, 4, 3)), np.full((2, 4), PROMPT)
  for row, (h, label) in enumerate(responses):
    states[row, : len(h)], labels[row, : len(label)] = h, label
  return jnp.asarray(states), jnp.asarray(labels)


@quick_jit
def both_directions(hidden, labels, codes, W_dec, W_u, v_sparse, v_dense, beta, label_smoothing):
  """Loss, margins and gradient of YaPO and BiPO for d = 1, -1; of chosen and of rejected responses.

  A label belongs to the hidden state in its slot, shifted already.
  """
  pairs = (labels[0] != PROMPT).any(axis=1)

  def logps(steer):
    scores = []
    for h, a, label in zip(hidden, codes, labels, strict=True):
      scored = label != PROMPT
      logprobs = categorical(steer(h, a) @ W_u, jnp.where(scored, label, 0)).logprobs
      scores.append(zero_masked(logprobs, scored).sum(axis=1))
    return scores

  references = logps(lambda h, a: h)
  steers = {
    "yapo": (v_sparse, lambda v, d: lambda h, a: steer_sparse(h, a, v, W_dec, multiplier=d)),
    "bipo": (v_dense, lambda v, d: lambda h, a: steer_dense(h, v, multiplier=d)),
  }
  outputs = {}
  for name, (v, steer) in steers.items():
    for d in (1, -1):

      def loss(v, smoothing=0.0, steer=steer, d=d):
        found = dpo(*logps(steer(v, d)), *references, pairs, beta=d * beta, label_smoothing=smoothing)
        return masked_mean(found.losses, pairs).value, found.margins / (d * beta)

      (value, margins), grad = jax.value_and_grad(loss, has_aux=True)(v)
      outputs[f"{name}_d{d:+d}"] = {"loss": value, "margins": margins, "grad": grad}
      outputs[f"{name}_d{d:+d}_smooth"] = loss(v, label_smoothing)[0]
  return outputs


def losses(case, sae, W_u, chosen, rejected, v_sparse, beta, v_dense=None):
  hidden, labels = zip(padded(chosen), padded(rejected), strict=True)
  codes = [encode(h, sae) for h in hidden]
  dense = jnp.zeros(W_u.shape[0]) if v_dense is None else v_dense
  found = both_directions(hidden, labels, codes, sae["W_dec"], W_u, v_sparse, dense, beta, 0.1)
  if case.startswith("random"):
    names = [f"{method}_d{d}" for method in ("yapo", "bipo") for d in ("+1", "-1")]
    return {name: found[name] for name in names} | {"bipo_label_smoothing_0.1": found["bipo_d+1_smooth"]}
  if case != "zero_init":
    return {"loss": found["yapo_d+1"]["loss"], "grad": found["yapo_d+1"]["grad"]}
  ragged = lambda a, rows: [a[i, : len(h)] for i, (h, _) in enumerate(rows)]
  outputs = {"loss": found["yapo_d+1"]["loss"]}
  for method in ("yapo", "bipo"):
    outputs |= {f"{method}_grad_{n}": found[f"{method}_d{d}"]["grad"] for n, d in (("plus", "+1"), ("minus", "-1"))}
  return outputs | {"codes_chosen": ragged(codes[0], chosen), "codes_rejected": ragged(codes[1], rejected)}
