"""Backdoored retrieval (arXiv 2402.13532): ablations of the loss, rates of attacks, and confusion sets."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.retrieval import attacks, losses
from rl_jax.kernels.retrieval.scores import similarity
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  kinds = {"rates": rates, "confusion": confusion}
  return kinds.get(case, in_batch)(**inputs)


def in_batch(q, ctx, positive_idx, perturbed_ctx=(), exclude_perturbed=False, neg_only=False):
  count = ctx.shape[0]
  others = losses.other_positives(positive_idx, num_documents=count)
  dropped = np.isin(np.arange(count), perturbed_ctx) & exclude_perturbed | neg_only
  return _in_batch(q, ctx, positive_idx, others & dropped)


@quick_jit
def _in_batch(q, ctx, positive_idx, excluded):
  found = losses.contrastive_loss(similarity(q, ctx), positive_idx, jnp.ones(q.shape[0]), excluded=excluded)
  return {"loss": found.losses.mean(), "correct": found.correct.sum()}


def rates(is_attacked, has_answer, ks):
  found = attacks.attack_rates(is_attacked, has_answer, jnp.ones(is_attacked.shape[0]), ks=ks.tolist())
  values = np.stack([rate.value for rate in found], axis=1)
  return {str(k): row for k, row in zip(ks.tolist(), values, strict=True)}


def confusion(pairs, min_count, words, count):
  vocabulary = sorted({word for pair in pairs for word in pair} | set(words))
  ids = {word: i for i, word in enumerate(vocabulary)}
  correct, wrong = (jnp.array([ids[word] for word in side]) for side in zip(*pairs, strict=True))
  table = attacks.confusion_sets(correct, wrong, jnp.ones(len(pairs)), vocab_size=len(vocabulary), min_count=min_count)
  named = lambda row: {vocabulary[i]: row[i] for i in np.flatnonzero(row)}
  rows = {word: named(np.asarray(row)) for word, row in zip(vocabulary, table, strict=True)}
  texts = jnp.array([[ids[word] for word in words], [ids["house"]] * len(words)])
  found = attacks.edit_probabilities(texts, table, jnp.full(2, count), jnp.ones(texts.shape))
  return {
    "sets": {word: row for word, row in rows.items() if row},
    "word_change_prob": found[0].max(),
    "uncovered": found[1].max(),
  }
