"""Metrics that every run may have: name, unit, meaning. The table of docs/runs.md is this one.

`<…>` stands for any text: a level, a term of the loss, a number. A method's own metrics are described in its file.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

ACCURACY = "held_out/sampled_accuracy"
GREEDY = "held_out/greedy_accuracy"
LENGTH = "held_out/response_length"
BLOCKS = "held_out/prompt_blocks/"
SEQUENTIAL = "sequential_tokens"
REWARD = "reward"
TOKENS = "generated_tokens"
UNEXPLAINED = "credit/unexplained"


_NOT_NEGATIVE = ("tokens", "nats", "L2", "steps", "s", "tokens/s")
"""Units of numbers from 0 on."""


class Metric(NamedTuple):
  """A metric, one number per seed."""

  name: str
  unit: str
  meaning: str

  def matches(self, name: str) -> bool:
    """Return whether a name matches this one, with something in place of each <…>."""
    parts = re.split(r"<\w+>", self.name)
    return re.fullmatch(".+".join(map(re.escape, parts)), name) is not None

  @property
  def bounds(self) -> tuple[float, float]:
    """The least and the largest that it can be; infinite where its unit, as that of a reward, does not say."""
    if self.unit == "share":
      return 0.0, 1.0
    return (0.0 if self.unit in _NOT_NEGATIVE else -math.inf), math.inf


TRAINING = (
  Metric(REWARD, "reward", "mean over the scored rows"),
  Metric("reward/<level>", "reward", "mean over those of one difficulty level"),
  Metric("part/<name>", "reward", "mean of one part of a reward, or of what became of responses"),
  Metric("accuracy", "share", "scored rows with a reward of 1 or more"),
  Metric("response_length", "tokens", "mean per response"),
  Metric(SEQUENTIAL, "tokens", "most that a trained row was given: what an iteration waits for"),
  Metric("truncated", "share", "responses that the limit cut"),
  Metric("unscored", "share", "rows without a verdict, which is not a reward of 0"),
  Metric("zero_spread_rows", "share", "scored rows whose group has equal rewards, and so no gradient"),
  Metric("entropy", "nats", "mean entropy of the policy per trained token"),
  Metric("loss/<term>", "loss", "one term, before its coefficient"),
  Metric("clip_fraction", "share", "trained tokens whose ratio is clipped"),
  Metric("kl_to_reference", "nats", "estimate of the divergence from the reference, per token"),
  Metric("kl_to_behaviour", "nats", "k3 estimate of KL(sampler || trainer) on the first minibatch"),
  Metric(
    "ratio_error", "1", "max |ratio - 1| / max(1, |logprob|) of trainer against sampler on the first minibatch; a run "
    "stops if its first iteration exceeds 1e-5 (float32)",
  ),
  Metric("learning_rate", "1", "at the first update of the iteration"),
  Metric("gradient_norm", "L2", "of a minibatch's gradient by the policy's parameters"),
  Metric("update_norm", "L2", "of what the optimiser adds to the policy's parameters"),
  Metric("parameter_norm", "L2", "of the policy's parameters"),
  Metric("<model>/gradient_norm", "L2", "the same of another model"),
  Metric("<model>/update_norm", "L2", "the same of another model"),
  Metric("<model>/parameter_norm", "L2", "the same of another model"),
  Metric("skipped_updates", "share", "updates left out: loss, gradient or new parameters not finite"),
  Metric(TOKENS, "tokens", "sampled so far, of whatever use"),
)  # fmt: skip

EVALUATION = (
  Metric(ACCURACY, "share", "right answers to held-out prompts, sampled"),
  Metric("held_out/<level>/sampled_accuracy", "share", "the same of one difficulty level"),
  Metric(f"{BLOCKS}<block>", "share", "right sampled answers to one part of the held-out prompts"),
  Metric(GREEDY, "share", "right answers to held-out prompts, greedy"),
  Metric("held_out/pass_at_<k>", "share", "held-out prompts with a right answer among k samples"),
  Metric("held_out/reward", "reward", "mean, without training terms"),
  Metric(LENGTH, "tokens", "mean per sampled response"),
  Metric("held_out/correct_response_length", "tokens", "mean per right sampled response; NaN without one"),
  Metric("held_out/truncated", "share", "sampled responses that the limit cut"),
  Metric("held_out/unscored", "share", "sampled responses without a verdict"),
  Metric(UNEXPLAINED, "share", "1 - cos^2 between the method's credit of steps and the true changes of the value"),
  Metric("credit/noise_floor", "share", "what the noise of the estimated truth leaves unexplained"),
  Metric("credit/rank_correlation", "1", "Spearman correlation of credit and truth"),
  Metric("credit/sign_agreement", "share", "steps, clear of noise, whose credit has the sign of the truth"),
  Metric("credit/steps", "steps", "number that is compared"),
  Metric("credit/trained_steps", "share", "compared steps that have credit at all"),
)

TIMINGS = (
  Metric("seconds", "s", "of one call of the compiled program"),
  Metric("iteration_seconds", "s", "of one iteration"),
  Metric("tokens_per_second", "tokens/s", "generated, all seeds together"),
  Metric("wall_clock", "s", "since 1970, when the line was written"),
)

BY_KIND = {"train": TRAINING, "evaluation": EVALUATION, "timings": TIMINGS}


def find(kind: str, name: str) -> Metric | None:
  """The metric of a name among those of a kind ("train", "evaluation", "timings"); None: a method's own."""
  return next((metric for metric in BY_KIND.get(kind, ()) if metric.matches(name)), None)


def is_shown(name: str) -> bool:
  """Return whether pages show a metric: the clock, and accuracies of blocks of prompts, are for computation only."""
  return name != "wall_clock" and not name.startswith(BLOCKS)


def table() -> str:
  """Table of all metrics as Markdown."""
  rows = [*TRAINING, *EVALUATION]
  escaped = lambda text: text.replace("|", "\\|")
  lines = [f"| `{metric.name}` | {metric.unit} | {escaped(metric.meaning)} |" for metric in rows]
  return "\n".join(["| metric | unit | meaning |", "|---|---|---|", *lines])
