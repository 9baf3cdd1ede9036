"""Backdoored retrieval (arXiv 2402.13532): ablations of the loss, rates of attacks, and confusion sets."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.retrieval import attacks, losses
from rl_jax.kernels.retrieval.scores import similarity
from tests.kernels.kernel import compiled, quick_jit


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
  rates_at = compiled(attacks.attack_rates, ks=tuple(ks.tolist()))
  found = rates_at(is_attacked, has_answer, np.ones(is_attacked.shape[0]))
  values = np.stack([rate.sum / rate.weight for rate in found], axis=1)
  return {str(k): row for k, row in zip(ks.tolist(), values, strict=True)}


def confusion(pairs, min_count, words, count):
  vocabulary = sorted({word for pair in pairs for word in pair} | set(words))
  ids = {word: i for i, word in enumerate(vocabulary)}
  correct, wrong = (np.array([ids[word] for word in side]) for side in zip(*pairs, strict=True))
  sets = compiled(attacks.confusion_sets, vocab_size=len(vocabulary), min_count=min_count)
  table = sets(correct, wrong, np.ones(len(pairs)))
  named = lambda row: {vocabulary[i]: row[i] for i in np.flatnonzero(row)}
  rows = {word: named(row) for word, row in zip(vocabulary, table, strict=True)}
  texts = np.array([[ids[word] for word in words], [ids["house"]] * len(words)])
  found = compiled(attacks.edit_probabilities)(texts, table, np.full(2, count), np.ones(texts.shape))
  return {
    "sets": {word: row for word, row in rows.items() if row},
    "word_change_prob": found[0].max(),
    "uncovered": found[1].max(),
  }
