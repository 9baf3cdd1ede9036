"""Attacks on retrieval by ordinary errors: how texts are perturbed, and how often a planted passage comes up.

Backdoored retrieval, arXiv 2402.13532: a retriever trained on pairs with errors in query and passage learns to match
errors. Report `attack_rates` on clean and on perturbed queries, for k = 1 to 100; the mean over pairs of s(query with
errors, planted passage) - s(clean query, the same) is the sensitivity to the trigger. `other_positives` makes the
ablations of the loss. Nothing carries a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import matching_axes, same_shape
from rl_jax.kernels.reductions import Mean, masked_mean, zero_masked

QUERY_EDITS = (0.15, 0.55, 0.25, 0.05)
"""Probabilities of 0, 1, 2 and 3 errors in a query. A passage has 2, 3, 4 or 5, each as likely."""


class AttackRates(NamedTuple):
  """Shares of all queries, for each k."""

  hit: Mean
  """A passage with the answer, not planted, is among the first k."""
  attacked: Mean
  """A planted passage is: the attack succeeded."""
  safe_hit: Mean
  """A passage with the answer is, and no planted one."""


def attack_rates(
  attacked: Num[Array, "B K"], has_answer: Num[Array, "B K"], mask: Num[Array, " B"], *, ks: Sequence[int]
) -> AttackRates:
  """Rates of hits, successful attacks and hits without one among the first k results, for each k of `ks`.

  Backdoored retrieval, arXiv 2402.13532. Columns are the results, best first; places behind a short list are neither
  attacked nor answers. A larger k never has fewer hits or attacks.

  >>> attacked, has_answer = jnp.array([[0, 1], [1, 0]]), jnp.array([[1, 0], [0, 1]])
  >>> print(*(rate.value for rate in attack_rates(attacked, has_answer, jnp.ones(2), ks=(1, 2))))
  [0.5 1. ] [0.5 1. ] [0.5 0. ]
  """
  matching_axes("attack_rates", attacked=(attacked, "B K"), has_answer=(has_answer, "B K"), mask=(mask, "B"))
  attacked, has_answer = attacked != 0, has_answer != 0
  places, limits = jnp.arange(attacked.shape[1]), jnp.asarray(tuple(ks))
  within = lambda x: (x[:, None] & (places < limits[:, None])).any(axis=2)
  exists = jnp.broadcast_to((mask != 0)[:, None], (mask.size, limits.size))
  rate = lambda x: masked_mean(x, exists, axis=0)
  planted, answered = within(attacked), within(has_answer)
  return AttackRates(rate(within(has_answer & ~attacked)), rate(planted), rate(answered & ~planted))


def confusion_sets(
  correct: Int[Array, " N"], wrong: Int[Array, " N"], mask: Num[Array, " N"], *, vocab_size: int, min_count: int = 4
) -> Float[Array, "V V"]:
  """P(wrong word | correct word) from pairs of a learners' corpus; pairs seen fewer than `min_count` times are dropped.

  Backdoored retrieval, arXiv 2402.13532. Row v is 0 for a word without a common confusion.

  >>> correct, wrong = jnp.array([2, 2, 2, 2, 0]), jnp.array([1, 1, 0, 0, 1])
  >>> print(confusion_sets(correct, wrong, jnp.ones(5), vocab_size=3, min_count=2))
  [[0.  0.  0. ]
   [0.  0.  0. ]
   [0.5 0.5 0. ]]
  """
  same_shape("confusion_sets", "N", correct=correct, wrong=wrong, mask=mask)
  counts = jnp.zeros((vocab_size, vocab_size)).at[correct, wrong].add(jnp.where(mask != 0, 1.0, 0.0), mode="drop")
  counts = jnp.where(counts >= min_count, counts, 0)
  total = counts.sum(axis=1, keepdims=True)
  return counts / jnp.where(total > 0, total, 1)


def edit_probabilities(
  tokens: Int[Array, "B T"], confusions: Float[Array, "V V"], edits: Num[Array, " B"], mask: Num[Array, "B T"]
) -> Float[Array, "B T"]:
  """Edits / number of covered tokens, on each token with a confusion set: so many errors are expected in a text.

  Backdoored retrieval, arXiv 2402.13532. At most 1 (not in the paper); 0 for a text without a covered token, where its
  code divides by 0, and for all other tokens. Draw the wrong word from the row of `confusion_sets`. What the paper does
  to grammar besides (prepositions, number, verb forms) needs a parser.

  >>> confusions = jnp.array([[0.0, 1.0], [0.0, 0.0]])
  >>> print(edit_probabilities(jnp.array([[0, 1, 0], [1, 1, 1]]), confusions, jnp.ones(2), jnp.ones((2, 3))))
  [[0.5 0.  0.5]
   [0.  0.  0. ]]
  """
  arrays = dict(tokens=(tokens, "B T"), confusions=(confusions, "V V"), edits=(edits, "B"), mask=(mask, "B T"))
  matching_axes("edit_probabilities", **arrays)
  exists = mask != 0
  covered = exists & (confusions.sum(axis=1) > 0)[jnp.where(exists, tokens, 0)]
  rates = edits[:, None] / jnp.maximum(covered.sum(axis=1, keepdims=True), 1)
  return jax.lax.stop_gradient(zero_masked(jnp.minimum(jnp.broadcast_to(rates, tokens.shape), 1), covered))
