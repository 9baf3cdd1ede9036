"""Attempts tested by eight near-duplicate easy checks and two hard ones: an environment for weights of unit tests.

The prompt "37=" asks for four digits in one turn, "3746<end>": the two digits of the prompt, the successor of the first
and the predecessor of the second (the last digit is followed by 0). Checks 0 to 3 look at the first digit, 4 to 7 at
the second, 8 at the third and 9 at the fourth. The environment answers with the numbers of easy and of hard checks that
the attempt has passed, "81". The episode ends with an attempt that passes all checks, which is worth 1, or with the
last attempt. An attempt of another form passes none.

The digits themselves are not hard, so problems not seen in training can be solved; the hard checks are those that
demonstrations seldom pass. Demonstrations err, and a lure makes them repeat the digits of the prompt.

Values: the probabilities of passing all checks and of a cut turn are estimated by counts over the batch, for each level
and turn. The values are therefore exact for a policy that depends on nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rl_jax.tasks import fields, splits
from rl_jax.tasks.environments.environment import Environment, Episodes, Problem, Step, as_task
from rl_jax.tasks.task import DeviceTask, ExtraSpec, Prompts, Split, Turns, Vocabulary

CHECKED = np.array([0] * 4 + [1] * 4 + [2, 3])
"""The digit that each check looks at."""
HARD = CHECKED > 1
_VOCABULARY = Vocabulary(("<pad>", "<end>", *"0123456789", "="))
_ZERO, _EQUALS = _VOCABULARY.encode("0=")
_END = Vocabulary.end_id
_DIGITS = 4
_TURN, _PROMPT, _OBSERVATION = len("3746."), len("37="), len("81")


def get_config() -> dict[str, Any]:
  """The fields and their defaults."""
  return {
    "base": 10,  # number of different digits, 2 to 10
    "max_turns": 2,  # attempts
    "spare_tokens": 1,  # room in a turn beyond an attempt
    "seed": 0,  # a different seed gives other problems for the same ids
    "pool_size": 0,  # ids (of each split) to draw problems from; 0: unlimited
    "held_out_fraction": 0.125,  # share of all problems that is never trained on, 1/64 to 1/2
    "easy_error_rate": 0.2,  # share of a demonstration's first two digits that are random
    "hard_error_rate": 0.7,  # share of its last two digits that are random
    "lure_rate": 0.0,  # share of its other last two digits that repeat a digit of the prompt
  }


@dataclasses.dataclass(frozen=True)
class _Checks:
  space: splits.Space
  turns: Turns
  base: int
  error_rates: tuple[float, ...]
  """Probability that each digit is random."""
  lure_rate: float


def build(config: Mapping[str, Any]) -> DeviceTask:
  """The task of `config` (fields as in `get_config`); ValueError in one line for a field that makes no sense."""
  return as_task(environment(config))


def environment(config: Mapping[str, Any]) -> Environment:
  """The environment of `config`. Raises: ValueError: a field makes no sense."""
  config = fields.complete(config, get_config(), where="task")
  most = fields.whole(config["max_turns"], 1, 1024, where="task.max_turns")
  spare = fields.whole(config["spare_tokens"], 0, 1024, where="task.spare_tokens")
  base = fields.whole(config["base"], 2, 10, where="task.base")
  easy, hard, lure = (
    fields.number(config[name], 0.0, 1.0, where=f"task.{name}")
    for name in ("easy_error_rate", "hard_error_rate", "lure_rate")
  )
  space = splits.build_space(
    {"two": [list(range(base))] * 2}, [1.0],
    seed=config["seed"], pool_size=config["pool_size"], held_out_fraction=config["held_out_fraction"],
  )  # fmt: skip
  checks = _Checks(space, Turns(most, _TURN + spare, _OBSERVATION), base, (easy, easy, hard, hard), lure)
  return Environment(
    vocabulary=_VOCABULARY,
    prompt_tokens=_PROMPT,
    levels=("two",),
    turns=checks.turns,
    problem_ids=partial(splits.draw_ids, space),
    prompts=partial(_prompts, checks),
    reset=lambda problem: jnp.int32(0),
    step=_step,
    act=partial(_act, checks),
    state_id=lambda problem, state: state,
    facts={"passes": ExtraSpec(("K", len(CHECKED)), "bool", "the attempt passes each check")},
    expected_rewards=_expected_rewards,
  )


def _prompts(checks: _Checks, ids: Int[Array, " N"], split: Split) -> Prompts:
  levels, content = splits.draw_problems(checks.space, ids, split)
  tokens = jnp.concatenate([_ZERO + content, jnp.full((len(ids), 1), _EQUALS)], axis=1)
  digits = jnp.concatenate([content, (content + jnp.array([1, -1])) % checks.base], axis=1)
  return Prompts(tokens, jnp.ones(tokens.shape, bool), ids, levels, {"digits": digits})


def _step(problem: Problem, attempts: Int[Array, ""], tokens: Int[Array, " C"], mask: Bool[Array, " C"]) -> Step:
  well_formed = jnp.all(mask == (jnp.arange(mask.shape[0]) < _TURN)) & (tokens[_DIGITS] == _END)
  passes = well_formed & (tokens[:_DIGITS] - _ZERO == problem["digits"])[CHECKED]
  passed = jnp.all(passes)
  return Step(
    state=attempts + 1,
    observation=_ZERO + jnp.stack([jnp.sum(passes & ~HARD), jnp.sum(passes & HARD)]),
    observation_mask=jnp.ones(_OBSERVATION, bool),
    reward=passed.astype(jnp.float32),
    done=passed,
    solved=passed,
    facts={"passes": passes},
  )


def _act(
  checks: _Checks, problem: Problem, attempts: Int[Array, ""], key: PRNGKeyArray
) -> tuple[Int[Array, " C"], Bool[Array, " C"]]:
  """The right digits, any of which may be replaced by a random one, and the last two by those of the prompt."""
  errs, any_digit, lured = jax.random.uniform(key, (3, _DIGITS))
  wrong = jnp.minimum((any_digit * checks.base).astype(jnp.int32), checks.base - 1)
  digits = jnp.where(lured < checks.lure_rate, jnp.tile(problem["digits"][:2], 2), problem["digits"])
  digits = jnp.where(errs < jnp.array(checks.error_rates), wrong, digits)
  spare = jnp.full(checks.turns.turn_tokens - _TURN, Vocabulary.pad_id)
  tokens = jnp.concatenate([_ZERO + digits, jnp.full(1, _END), spare])
  return tokens, jnp.arange(tokens.shape[0]) < _TURN


def _expected_rewards(prompts: Prompts, episodes: Episodes) -> Float[Array, "B K+1"]:
  """V_t = p_pass + p_fail V_t+1, V_K = 0; a cut turn counts as neither a pass nor a failure."""
  exists, passed = episodes.exists, episodes.steps.solved
  goes_on = jnp.pad(exists[:, 1:], ((0, 0), (0, 1)))
  count = jnp.maximum(exists.sum(axis=0), 1)
  shares = passed.sum(axis=0) / count, goes_on.sum(axis=0) / count

  def back(after, inputs):
    passing, going_on = inputs
    value = passing + going_on * after
    return value, value

  _, values = jax.lax.scan(back, jnp.float32(0.0), shares, reverse=True)
  return jnp.broadcast_to(jnp.pad(values, (0, 1)), (exists.shape[0], exists.shape[1] + 1))
