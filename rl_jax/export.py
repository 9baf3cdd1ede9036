"""Export a run's policy as a Hugging Face folder: python -m rl_jax.export runs/grpo --output=models/grpo.

The folder has config.json, safetensors, the tokenizer of a text task, and a model card (README.md) made of what
`rl_jax.cite` says of the run. `--push=owner/name` uploads it to the hub (package huggingface_hub, HF_TOKEN), into a
private repository unless `--public`. Exit status: 0, or 1 after a one-line error.
"""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from rl_jax.configuration import configs
from rl_jax.configuration.command_line import Parser, add_runs, runs_of, to_path
from rl_jax.errors import UserError
from rl_jax.launching import hub, initialization, vouching
from rl_jax.launching.commands import command
from rl_jax.launching.policies import restored, to_iteration
from rl_jax.models import pretrained_files
from rl_jax.models.export import export
from rl_jax.models.tokenizer import Tokenizer
from rl_jax.runs import citation
from rl_jax.runs.directory import find_run
from rl_jax.runs.files import read_json, write_atomically
from rl_jax.runs.model_card import Exported, model_card
from rl_jax.runs.visible import say
from rl_jax.training import mesh
from rl_jax.training.experiment import Experiment
from rl_jax.training.seeds import member_seeds

CARD = "README.md"


@command("rl_jax.export")
def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  parser = Parser("export", __doc__.splitlines()[0])
  add_runs(parser, "folder of the run, as in runs/grpo")
  parser.add_argument("--output", metavar="FOLDER", type=to_path, help="new folder of the model, as in models/grpo")
  parser.add_argument("--iteration", metavar="N", type=to_iteration, default="newest", help="newest, best, or a number")
  parser.add_argument("--seed", metavar="N", type=int, default=0, help="column of the run's pages; 0 by default")
  parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="of the files; the run's by default")
  parser.add_argument("--push", metavar="OWNER/NAME", help="repository of the hub that the folder is uploaded to")
  parser.add_argument("--public", action="store_true", help="make a new repository of --push public")
  flags = parser.parse(argv)
  (run,) = runs_of(flags, most=1)
  if flags.output is None:
    raise UserError("--output is missing: write for example --output=models/grpo")
  if flags.public and flags.push is None:
    raise UserError("--public is of --push: add it, or leave it out")
  if flags.push is not None:
    hub.check_name(flags.push)
  say(str(exported(run, flags.output, iteration=flags.iteration, seed=flags.seed, dtype=flags.dtype)))
  if flags.push is not None:
    message = f"{run.resolve().name}, exported by rl_jax"
    say(hub.push(flags.output, flags.push, public=flags.public, message=message))
  return 0


def exported(run: Path, output: Path, *, iteration: str = "newest", seed: int = 0, dtype: str | None = None) -> Path:
  """Write a run's policy with its model card into a new folder; return the folder.

  Args:
    iteration: of the checkpoint, as in `launching.policies.restored`.
    seed: column of the run's pages: one of the seeds, with several learning rates one of their pairs.
    dtype: type of the weights; None: that of the run's parameters.

  Raises: UserError: there is no such run, checkpoint or seed, or its policy has no Hugging Face form.
  """
  directory = find_run(run)
  run_record = citation.cited(directory)._replace(faults=tuple(vouching.say_faults("rl_jax.export", directory)))
  config = configs.resolve_config(read_json(directory.config))
  members = len(member_seeds(config))
  if not 0 <= seed < members:
    raise UserError(f"--seed={seed}: {run} has seeds 0 to {members - 1}")
  experiment, device_mesh = initialization.build(config), mesh.make_mesh(config.mesh)
  with contextlib.closing(experiment.task):
    policies = restored(experiment, device_mesh, run, iteration)
    own = jax.tree.map(lambda x: np.asarray(x[seed]), policies.params)
    words = experiment.task.vocabulary if isinstance(experiment.task.vocabulary, Tokenizer) else None
    export(experiment.models["policy"], own, output, context=_context(config, experiment), tokenizer=words, dtype=dtype)
    task = "" if words is not None else str(config.task.name)
  card = model_card(run_record, Exported(policies.iteration, seed, _base(config.model), task))
  write_atomically(output / CARD, card.encode())
  return output


def _context(config: ConfigDict, experiment: Experiment) -> int:
  """Context length: the pretrained model's, or else the slots of the task."""
  if "checkpoint" in config.model:
    return pretrained_files.open_source(config.model.checkpoint).context
  return experiment.task.prompt_tokens + experiment.task.response_tokens


def _base(model: Any) -> str:
  """The pretrained model of a section `model` by its name on the hub; "" if it has none there."""
  name = str(model.get("checkpoint", "")).partition("@")[0]
  return name if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name) and not Path(name).exists() else ""


if __name__ == "__main__":
  sys.exit(main())
