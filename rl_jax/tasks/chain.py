"""Chains of modular arithmetic with worked steps.

"7+5*3-8=" is computed LEFT TO RIGHT, each operation modulo m: with m = 10, (7+5)%10 = 2, (2*3)%10 = 6, (6-8)%10 = 8,
so "a2b6c8#8<end>" is a full response (`worked_steps` has the format). Numbers have one digit for m <= 10, else two, and
so have the answers: "07". With several moduli in the levels, the prompt starts with the modulus: "%10:7+5*3-8=".

If demonstrations slip at random, the most likely digit of every step is right, so that a policy improves by sharpening
alone, without any reward. A lure makes the likeliest digit wrong: in demonstrations, steps with `lure_operator` are off
by +1 with probability `lure_rate`. "*" absorbs at 0, so that a constant answer is often right; with "+-" alone answers
are uniform. `DeviceTask.guessing_floor` is the accuracy of the best constant answer.

With `length_objective` verdicts have two objectives: "answer" (the reward) and "length", 1 if a response has at most
that many tokens, end token included. The reward is that of the answer alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from rl_jax.tasks import chain_values, fields, splits, worked_steps
from rl_jax.tasks.task import DeviceTask, Prompts, Split, Verdicts

OPERATORS = "+-*"
OBJECTIVES = ("answer", "length")

_LEVEL = {
  "operations": 4,  # 2 to 16
  "operators": OPERATORS,  # a subset of "+-*"
  "modulus": 10,  # 2 to 100; operands are in [0, modulus)
  "weight": 1.0,  # relative weight among the levels; 0 drops the level
}
_VOCABULARY = worked_steps.vocabulary("+=-*%:")


def get_config() -> dict[str, Any]:
  """Fields and their defaults. A level may omit any of its fields."""
  return {
    "levels": {"four": dict(_LEVEL)},  # fields of each level, by name
    "modulus_in_prompt": False,  # True: state it in every prompt; False: only if levels differ in it
    "seed": 0,  # seed of the problems
    "pool_size": 0,  # number of problems per split; 0: unlimited
    "held_out_fraction": 0.125,  # held-out share of all problems, 1/64 to 1/2
    "spare_tokens": 5,  # room for re-checks, beyond writing all steps once
    "lure_rate": 0.0,  # share of demonstrated `lure_operator` steps that are off by +1; above 1/2 it deceives
    "lure_operator": "-",
    "length_objective": None,  # largest length for the objective "length"; None: no objectives
    **worked_steps.RATES,
  }


@dataclasses.dataclass(frozen=True)
class _Chains:
  space: splits.Space
  widths: np.ndarray
  """[L] digits of a number."""
  header: bool
  """True if prompts start with the modulus."""
  prompt_tokens: int
  response_tokens: int
  rates: dict[str, float]
  lure_rate: float
  lure_operator: int


def build(config: Mapping[str, Any]) -> DeviceTask:
  """Build the task of `config` (fields as in `get_config`). Raises ValueError, in one line, for an invalid field."""
  config = fields.complete(config, get_config(), where="task")
  levels, space = splits.read_levels(config, _LEVEL, _check_level, _choices)
  spare = fields.whole(config["spare_tokens"], 0, 1024, where="task.spare_tokens")
  length = config["length_objective"]
  if length is not None:
    fields.whole(length, 1, 1024, where="task.length_objective")
  header = bool(config["modulus_in_prompt"]) or len({level["modulus"] for level in levels.values()}) > 1
  chains = _Chains(
    space=space,
    widths=np.array([_width(level) for level in levels.values()], np.int32),
    header=header,
    prompt_tokens=max(_prompt_length(level, header) for level in levels.values()),
    response_tokens=spare
    + max(worked_steps.response_length(level["operations"], _width(level), _width(level)) for level in levels.values()),
    rates=worked_steps.check_rates(config),
    lure_rate=fields.number(config["lure_rate"], 0.0, 1.0, where="task.lure_rate"),
    lure_operator=_lure_operator(config["lure_operator"]),
  )
  return DeviceTask(
    vocabulary=_VOCABULARY,
    prompt_tokens=chains.prompt_tokens,
    response_tokens=chains.response_tokens,
    levels=tuple(levels),
    problem_ids=partial(splits.draw_ids, space),
    prompts=partial(_prompts, chains),
    verify=worked_steps.verify if length is None else partial(_verify, length),
    forced_answer=worked_steps.FORCED_ANSWER,
    demonstrate=partial(_demonstrate, chains),
    solutions=partial(worked_steps.solutions, chains.response_tokens),
    step_values=partial(chain_values.step_values, modulus=max(level["modulus"] for level in levels.values())),
    guessing_floor=_guessing_floor(levels),
    provides=worked_steps.PROVIDES,
    objectives=() if length is None else OBJECTIVES,
  )


def _lure_operator(value: Any) -> int:
  if not isinstance(value, str) or len(value) != 1 or value not in OPERATORS:
    raise ValueError(f"task.lure_operator: got {value!r}, want one of {OPERATORS!r}")
  return OPERATORS.index(value)


def _guessing_floor(levels: Mapping[str, Mapping[str, Any]]) -> float:
  """Probability of the likeliest answer, averaged over levels by weight."""
  floors = [_answer_chances(level).max() for level in levels.values()]
  return float(np.average(floors, weights=[level["weight"] for level in levels.values()]))


def _answer_chances(level: Mapping[str, Any]) -> np.ndarray:
  """Probability [m] of each answer, with uniform operands and operators."""
  m = level["modulus"]
  left, right = np.divmod(np.arange(m * m), m)
  transition = np.zeros((m, m))
  for operator in sorted(set(level["operators"])):
    after = {"+": left + right, "-": left - right, "*": left * right}[operator] % m
    np.add.at(transition, (left, after), 1.0 / (m * len(set(level["operators"]))))
  return np.full(m, 1.0 / m) @ np.linalg.matrix_power(transition, level["operations"])


def _check_level(level: dict[str, Any], name: str) -> dict[str, Any]:
  where = f"task.levels.{name}"
  fields.whole(level["operations"], 2, len(worked_steps.LETTERS), where=f"{where}.operations")
  fields.whole(level["modulus"], 2, 100, where=f"{where}.modulus")
  operators = level["operators"]
  if not isinstance(operators, str) or not operators or set(operators) - set(OPERATORS):
    raise ValueError(f"{where}.operators: got {operators!r}, want some of {OPERATORS!r}")
  return level


def _width(level: Mapping[str, Any]) -> int:
  return 1 if level["modulus"] <= 10 else 2


def _prompt_length(level: Mapping[str, Any], header: bool) -> int:
  head = len(f"%{level['modulus']}:") if header else 0
  return head + (level["operations"] + 1) * _width(level) + level["operations"] + 1


def _choices(level: Mapping[str, Any]) -> list[list[int]]:
  """Choices of the content fields: modulus, operations, operand, then operators and operands in turn."""
  operands = list(range(level["modulus"]))
  operators = sorted({OPERATORS.index(operator) for operator in level["operators"]})
  return [[level["modulus"]], [level["operations"]], operands] + [operators, operands] * level["operations"]


def _prompts(chains: _Chains, ids: Int[Array, " N"], split: Split) -> Prompts:
  levels, content = splits.draw_problems(chains.space, ids, split)
  moduli, counts, operands, operators = content[:, 0], content[:, 1], content[:, 2::2], content[:, 3::2]
  widths = jnp.asarray(chains.widths)[levels]
  values, answers = _work_out(operands, operators, moduli, jnp.zeros_like(operators))
  tokens, mask = _prompt_text(chains, moduli, operands, operators, widths)
  answer_tokens = worked_steps.number_tokens(answers, widths, int(chains.widths.max()))
  metadata = worked_steps.metadata(values, counts, widths, answers, answer_tokens)
  metadata |= {"moduli": moduli, "operands": operands, "operators": operators}
  return Prompts(tokens=tokens, mask=mask, ids=ids, levels=levels, metadata=metadata)


def _work_out(
  operands: Int[Array, "N S+1"], operators: Int[Array, "N S"], moduli: Int[Array, " N"], slips: Int[Array, "N S"]
) -> tuple[Int[Array, "N S"], Int[Array, " N"]]:
  """(values, answers): each operation continues from the value before, shifted by its slip, modulo m."""

  def step(value, inputs):
    operator, operand, slip = inputs
    exact = chain_values.applied(operator, value, operand)
    value = jnp.where(operator == splits.ABSENT, value, (exact + slip) % moduli)
    return value, value

  answers, values = jax.lax.scan(step, operands[:, 0], (operators.T, operands[:, 1:].T, slips.T))
  return values.T, answers


def _prompt_text(
  chains: _Chains, moduli: Int[Array, " N"], operands: Int[Array, "N S+1"], operators: Int[Array, "N S"],
  widths: Int[Array, " N"],
) -> tuple[Int[Array, "N P"], Bool[Array, "N P"]]:  # fmt: skip
  n = moduli.shape[0]
  always = jnp.ones((n, 1), bool)

  def symbol(character):
    return jnp.full((n, 1), _VOCABULARY.encode(character)[0])

  pieces = []
  if chains.header:
    digits, keep = worked_steps.digit_slots(moduli, worked_steps.decimal_length(moduli, 3), 3)
    pieces += [(symbol("%"), always), (digits, keep), (symbol(":"), always)]
  digits, keep = worked_steps.digit_slots(
    jnp.maximum(operands, 0), jnp.broadcast_to(widths[:, None], operands.shape), int(chains.widths.max())
  )
  signs = jnp.asarray(_VOCABULARY.encode(OPERATORS))[jnp.maximum(operators, 0)]
  active = operators != splits.ABSENT
  terms = jnp.concatenate([signs[..., None], digits[:, 1:]], axis=2)
  terms_keep = jnp.concatenate([active[..., None], keep[:, 1:] & active[..., None]], axis=2)
  pieces += [(digits[:, 0], keep[:, 0]), (terms.reshape(n, -1), terms_keep.reshape(n, -1)), (symbol("="), always)]
  tokens, keeps = (jnp.concatenate(parts, axis=1) for parts in zip(*pieces, strict=True))
  return worked_steps.align(tokens, keeps, chains.prompt_tokens, right=True)


def _verify(length: int, prompts: Prompts, tokens: Int[Array, "B R"], mask: Bool[Array, "B R"]) -> Verdicts:
  """Verdicts of `worked_steps.verify`, with the objectives."""
  verdicts = worked_steps.verify(prompts, tokens, mask)
  short = jnp.sum(mask, axis=1) <= length
  return dataclasses.replace(verdicts, objectives=jnp.stack([verdicts.rewards, short.astype(jnp.float32)], axis=1))


def _demonstrate(chains: _Chains, key: PRNGKeyArray, prompts: Prompts) -> tuple[Int[Array, "N R"], Bool[Array, "N R"]]:
  metadata = prompts.metadata
  flaws = worked_steps.draw_flaws(key, metadata["operators"].shape[1], metadata["moduli"], **chains.rates)
  operators = metadata["operators"]
  # A separate key, so that demonstrations without a lure equal those of older versions.
  lured = jax.random.bernoulli(jax.random.fold_in(key, 1), chains.lure_rate, operators.shape)
  slips = jnp.where(lured & (operators == chains.lure_operator), 1, flaws.slips)
  values, answers = _work_out(metadata["operands"], operators, metadata["moduli"], slips)
  answer_tokens = worked_steps.number_tokens(answers, metadata["value_widths"], int(chains.widths.max()))
  return worked_steps.write(metadata, values, answer_tokens, flaws.copies, chains.response_tokens)
