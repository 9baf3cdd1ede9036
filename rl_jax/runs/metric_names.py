"""Metrics common to all runs: name, unit and meaning, shown as a table in docs/runs.md.

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
"""Units of numbers that are never negative."""


class Metric(NamedTuple):
  """A metric, one number per seed."""

  name: str
  unit: str
  meaning: str

  def matches(self, name: str) -> bool:
    """Return whether a name matches this one, with text in place of each <…>."""
    parts = re.split(r"<\w+>", self.name)
    return re.fullmatch(".+".join(map(re.escape, parts)), name) is not None

  @property
  def bounds(self) -> tuple[float, float]:
    """Smallest and largest possible value, by the unit; infinite where the unit sets no bound."""
    if self.unit == "share":
      return 0.0, 1.0
    return (0.0 if self.unit in _NOT_NEGATIVE else -math.inf), math.inf


TRAINING = (
  Metric(REWARD, "reward", "mean over the scored rows"),
  Metric("reward/<level>", "reward", "mean over the scored rows of one difficulty level"),
  Metric("part/<name>", "reward", "mean of one part of a reward, or share of one outcome of responses"),
  Metric("accuracy", "share", "scored rows with a reward of 1 or more"),
  Metric("response_length", "tokens", "mean per response"),
  Metric(SEQUENTIAL, "tokens", "largest budget of a trained row: the critical path of an iteration"),
  Metric("truncated", "share", "responses cut by the limit"),
  Metric("unscored", "share", "rows without a verdict, as opposed to a reward of 0"),
  Metric("zero_spread_rows", "share", "scored rows in a group with equal rewards, and so without a gradient"),
  Metric("entropy", "nats", "mean entropy of the policy over trained tokens"),
  Metric("loss/<term>", "loss", "one term of the loss, before its coefficient"),
  Metric("clip_fraction", "share", "trained tokens whose ratio is clipped"),
  Metric("kl_to_reference", "nats", "estimated divergence from the reference, per token"),
  Metric("kl_to_behaviour", "nats", "k3 estimate of KL(sampler || trainer) on the first minibatch"),
  Metric(
    "ratio_error", "1", "max |ratio - 1| / max(1, |logprob|) of trainer against sampler on the first minibatch; a run "
    "stops if its first iteration exceeds 1e-5 (float32)",
  ),
  Metric("learning_rate", "1", "learning rate of the iteration's first update"),
  Metric("gradient_norm", "L2", "norm of a minibatch's gradient by the policy's parameters"),
  Metric("update_norm", "L2", "norm of an update of the policy's parameters"),
  Metric("parameter_norm", "L2", "norm of the policy's parameters"),
  Metric("<model>/gradient_norm", "L2", "the same for another model"),
  Metric("<model>/update_norm", "L2", "the same for another model"),
  Metric("<model>/parameter_norm", "L2", "the same for another model"),
  Metric("skipped_updates", "share", "updates skipped because loss, gradient or new parameters were not finite"),
  Metric(TOKENS, "tokens", "number sampled so far, used or not"),
)  # fmt: skip

EVALUATION = (
  Metric(ACCURACY, "share", "correct sampled answers to held-out prompts"),
  Metric("held_out/<level>/sampled_accuracy", "share", "the same for one difficulty level"),
  Metric(f"{BLOCKS}<block>", "share", "correct sampled answers to one part of the held-out prompts"),
  Metric(GREEDY, "share", "correct greedy answers to held-out prompts"),
  Metric("held_out/pass_at_<k>", "share", "held-out prompts with a correct answer among k samples"),
  Metric("held_out/reward", "reward", "mean reward, without training terms"),
  Metric(LENGTH, "tokens", "mean per sampled response"),
  Metric("held_out/correct_response_length", "tokens", "mean per correct sampled response; NaN if there is none"),
  Metric("held_out/truncated", "share", "sampled responses cut by the limit"),
  Metric("held_out/unscored", "share", "sampled responses without a verdict"),
  Metric(UNEXPLAINED, "share", "1 - cos^2 between step advantages and true changes in value"),
  Metric("credit/noise_floor", "share", "part of `credit/unexplained` that is noise of the estimated truth"),
  Metric("credit/rank_correlation", "1", "Spearman correlation of step advantages and true changes in value"),
  Metric("credit/sign_agreement", "share", "steps, above the noise, whose advantage has the sign of the truth"),
  Metric("credit/steps", "steps", "number of compared steps"),
  Metric("credit/trained_steps", "share", "compared steps with an advantage"),
)

TIMINGS = (
  Metric("seconds", "s", "of one call of the compiled program"),
  Metric("iteration_seconds", "s", "of one iteration"),
  Metric("tokens_per_second", "tokens/s", "generated by all seeds together"),
  Metric("wall_clock", "s", "since 1970, when the line was written"),
)

BY_KIND = {"train": TRAINING, "evaluation": EVALUATION, "timings": TIMINGS}


def find(kind: str, name: str) -> Metric | None:
  """Metric of a name within a kind ("train", "evaluation", "timings"); None for a method's own."""
  return next((metric for metric in BY_KIND.get(kind, ()) if metric.matches(name)), None)


def is_shown(name: str) -> bool:
  """Return whether pages show a metric. The clock and accuracies of prompt blocks are hidden."""
  return name != "wall_clock" and not name.startswith(BLOCKS)


def table() -> str:
  """Table of all metrics as Markdown."""
  rows = [*TRAINING, *EVALUATION]
  escaped = lambda text: text.replace("|", "\\|")
  lines = [f"| `{metric.name}` | {metric.unit} | {escaped(metric.meaning)} |" for metric in rows]
  return "\n".join(["| metric | unit | meaning |", "|---|---|---|", *lines])
