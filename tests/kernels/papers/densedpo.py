"""DenseDPO: one pair a case."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from rl_jax.kernels.flow import preference
from rl_jax.kernels.losses.ranking import swap_consistent_ranks
from rl_jax.kernels.segments import segment_lengths, segment_sum
from tests.kernels.kernel import quick_jit

SKIPPED = {("vlm_consistency", "majority"): "the labels that it is of are not in the case"}


def compute(case, inputs):
  kinds = {"pairs": judged, "lp0": language_model, "eta": guided, "x0": clips}
  if (kind := next((kind for name, kind in kinds.items() if name in inputs), None)) is not None:
    return kind(**inputs)
  return one_segment(**inputs) if "one_segment" in case else normalizations(case, **inputs)


def _segments(frames, seg_len):
  return (jnp.arange(frames) // seg_len)[None]


def _dense(first, second, labels, seg_len, beta, normalization):
  """The loss of two clips' frame scores [T], as a function of the first."""
  ids, every = _segments(first.size, seg_len), jnp.ones((1, first.size))
  pool = partial(segment_sum, segment_ids=ids, mask=every, num_segments=labels.size)
  lengths = segment_lengths(ids, every, num_segments=labels.size)

  def loss(first):
    args = pool(first[None]), pool(second[None]), labels[None], lengths, jnp.ones((1, labels.size))
    found = preference.dense_dpo(*args, beta=beta, normalization=normalization)
    return found.losses[0], found.weights[0]

  (value, weight), gradient = jax.value_and_grad(loss, has_aux=True)(first)
  return value, weight, gradient


def _vanilla(first, second, label, beta):
  return preference.flow_dpo(first[None], second[None], jnp.full(1, label), jnp.ones(1), beta=beta).losses[0]


def clips(x0, x1, eps0, eps1, v_theta0, v_ref0, v_theta1, v_ref1, labels, seg_len, beta):
  every = jnp.ones((1, x0.shape[0]))

  @quick_jit
  def outputs(*clips):
    scores = [preference.frame_scores(*(x[None] for x in clip), every)[0] for clip in (clips[:4], clips[4:])]
    pool = partial(segment_sum, segment_ids=_segments(7, seg_len), mask=every, num_segments=labels.size)
    lengths = segment_lengths(_segments(7, seg_len), every, num_segments=labels.size)[0]
    ends = lengths.cumsum()
    means = [s.mean() for s in scores]
    found = {
      **{f"frame_reward_{i}": s for i, s in enumerate(scores)},
      **{f"segment_reward_{i}": pool(s[None])[0] for i, s in enumerate(scores)},
      "bounds": jnp.stack([ends - lengths, ends], axis=1),
      "majority": preference.majority_labels(labels[None], jnp.ones((1, labels.size)))[0],
      "vanilla_label_plus1": _vanilla(*means, 1, beta),
      "vanilla_label_minus1": _vanilla(*means, -1, beta),
      "vanilla_half": _vanilla(*means, 1, beta / 2),
    }
    for name in ("sum", "mean", "per_segment"):
      dense = _dense(*scores, labels, seg_len, beta, name)
      found[f"dense_{name}"] = dict(zip(("loss", "weight", "grad_frame_reward_0"), dense, strict=True))
    return found

  return outputs(v_theta0, v_ref0, x0, eps0, v_theta1, v_ref1, x1, eps1)


def normalizations(case, frame_reward_0, frame_reward_1, labels, seg_len, beta):
  names = ("sum",) if case == "all_ties" else ("sum", "mean", "per_segment")
  losses = lambda a, b: {name: _dense(a, b, labels, seg_len, beta, name) for name in names}
  return quick_jit(losses)(frame_reward_0, frame_reward_1)


def one_segment(frame_reward_0, frame_reward_1, labels, seg_len, beta):
  @quick_jit
  def losses(first, second):
    dense = {f"dense_{name}": _dense(first, second, labels, seg_len, beta, name)[0] for name in ("sum", "mean")}
    pooled = {"sums": (first.sum(), second.sum()), "means": (first.mean(), second.mean())}
    return dense | {f"vanilla_on_{name}": _vanilla(*scores, labels[0], beta) for name, scores in pooled.items()}

  return losses(frame_reward_0, frame_reward_1)


def guided(x, eps, eta, N, velocity):
  assert velocity == "exact eps-x"
  run = quick_jit(lambda x, eps: preference.guided_samples(lambda *_: eps - x, x, eps, jnp.full(1, eta), steps=N))
  found = run(x[None], eps[None])
  # Its strengths are no inputs of the case: both ends of the paper's range, and a half that is rounded to even.
  strengths = jnp.array([0.65, 0.75, 0.8])
  rounds = preference.guided_samples(lambda x, _: x, jnp.ones(3), jnp.ones(3), strengths, steps=N).steps
  return {"n": found.steps[0], "start": found.starts[0], "final": found.samples[0], "rounds": rounds}


def judged(pairs):
  places = {"first": 1, "second": 2, "tie": 0}
  answers = jnp.array([[places[answer] for answer in pair] for pair in pairs])
  ranks = swap_consistent_ranks(answers[:, 0], answers[:, 1], jnp.ones(len(pairs))).ranks
  return {"labels": ranks[:, 1] - ranks[:, 0]}


def language_model(lp0, ref0, seg0, lp1, ref1, seg1, labels, beta):
  def worse(logprobs, ref_logprobs, ids):
    ratios, every = (ref_logprobs - logprobs)[None], jnp.ones((1, ids.size))
    return segment_sum(ratios, ids[None], every, num_segments=labels.size)

  one = jnp.ones((1, labels.size))
  scores = worse(lp0, ref0, seg0), worse(lp1, ref1, seg1)
  found = preference.dense_dpo(*scores, labels[None], one, one, beta=beta, normalization="sum")
  return {"loss_weight": jnp.concatenate([found.losses, found.weights])}
