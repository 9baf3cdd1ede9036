"""The model card of a run."""

from __future__ import annotations

import re

from rl_jax.runs.citation import as_bibtex, cited
from rl_jax.runs.model_card import Exported, model_card
from tests.runs import fabricated


def card_of(path, policy, **run):
  return model_card(cited(fabricated.run(path, **run)), policy)


def test_the_card_says_what_cite_says(tmp_path):
  run = cited(fabricated.run(tmp_path / "my_run", gain=0.4))
  card = model_card(run, Exported(8, 1, base="owner/base"))
  head, rest = re.fullmatch(r"---\n(.*?)\n---\n(.*)", card, re.S).groups()
  assert head.splitlines() == [
    "library_name: transformers", "pipeline_tag: text-generation", "tags:", "- rl_jax", "- reinforcement-learning",
    'base_model: "owner/base"',
  ]  # fmt: skip
  assert r"# my\_run" in rest and r"method rl\_jax.methods.grpo, iteration 8, seed 1." in rest
  assert "The run: held-out accuracy 0.700 ±0.016 (5 seeds, 8 iterations). That is over all seeds" in rest
  assert f"`{run.content_sha256}`" in rest and fabricated.LAUNCH["git_commit"] in rest
  assert f"```sh\n{run.command}\n```" in rest and f"```bibtex\n{as_bibtex([run])}\n```" in rest
  assert "- Zhihong Shao, " in rest and "arXiv:2402.03300" in rest and "tokenizer" not in rest


def test_one_seed_and_a_task_without_a_tokenizer(tmp_path):
  card = card_of(tmp_path / "a", Exported(8, 0, task="rl_jax.tasks.chain"), seeds=1)
  assert "over all seeds" not in card and "base_model" not in card
  assert r"Without a tokenizer: token ids are those of the task rl\_jax.tasks.chain." in card


def test_what_a_reader_must_know_is_on_the_card(tmp_path):
  dirty = {"git_clean": False, "uncommitted_sha256": "ab" * 32}
  run = cited(fabricated.run(tmp_path / "a", launches=(dirty,)))._replace(faults=("metrics.jsonl has changed",))
  card = model_card(run, Exported(8, 0))
  assert "- note: not as recorded (metrics.jsonl has changed)" in card
  assert "- note: run with uncommitted changes (SHA-256 abababababab)" in card


def test_texts_of_a_run_are_no_markup(tmp_path):
  hostile = ["python", "```\n# heading", "<img src=x>"]
  card = card_of(tmp_path / "[x](http___evil)<b>", Exported(8, 1), launches=({"command": hostile, "papers": []},))
  assert r"# \[x\](http\_\_\_evil)\<b\>" in card and "## Papers" not in card
  fenced = re.search(r"^(`{4,})sh\n(.*)\n\1$", card, re.M | re.S)
  assert "```" in fenced[2] and "\n# heading" not in card
