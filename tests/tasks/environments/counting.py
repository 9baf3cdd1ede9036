"""A small environment: digits are added up until they reach a target. "3." adds three and earns 0.3; "5" is told."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rl_jax.tasks.environments.environment import Environment, Step
from rl_jax.tasks.task import ExtraSpec, Prompts, Turns, Vocabulary

VOCABULARY = Vocabulary(("<pad>", "<end>", *"0123456789"))
ZERO, END = VOCABULARY.encode("0")[0], Vocabulary.end_id
TURNS = Turns(max_turns=3, turn_tokens=3, observation_tokens=2)


def prompts(ids, split):
  targets = 5 + ids % 5
  return Prompts(ZERO + targets[:, None], jnp.ones((ids.shape[0], 1), bool), ids, jnp.zeros_like(ids), {"to": targets})


def step(problem, total, tokens, mask):
  digit = tokens[0] - ZERO
  good = mask[0] & mask[1] & ~mask[2] & (digit >= 0) & (digit <= 9) & (tokens[1] == END)
  after = total + jnp.where(good, digit, 0)
  return Step(
    state=after,
    observation=jnp.stack([jnp.int32(ZERO), ZERO + after % 10]),
    observation_mask=jnp.array([False, True]),
    reward=jnp.where(good, digit / 10, 0.0).astype(jnp.float32),
    done=~good | (after >= problem["to"]),
    solved=after == problem["to"],
    facts={"digits": jnp.where(good, digit, 0), "good": good},
  )


def act(problem, total, key):
  digit = jax.random.randint(key, (), 0, 5)
  return jnp.stack([ZERO + digit, END, 0]), jnp.array([True, True, False])


def environment(**fields):
  return Environment(
    vocabulary=VOCABULARY,
    prompt_tokens=1,
    levels=("only",),
    turns=TURNS,
    problem_ids=lambda key, n, split: jax.random.randint(key, (n,), 0, 100),
    prompts=prompts,
    reset=lambda problem: jnp.int32(0),
    step=step,
    act=act,
    state_id=lambda problem, total: total,
    facts={"digits": ExtraSpec(("K",), "int32", "number added"), "good": ExtraSpec(("K",), "bool", "well-formed")},
    **fields,
  )
