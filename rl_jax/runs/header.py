"""Header of a page: method, task, model, rate, time, device, commit and command of a run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl_jax.runs import page
from rl_jax.runs.content import SHORT
from rl_jax.runs.formatting import duration
from rl_jax.runs.record import Record

WIDE = ("command",)
"""Facts with long values."""


def facts(record: Record) -> dict[str, str]:
  """Names and values in reading order; those missing in the run's files are left out."""
  config, launches = record.config, record.launches
  first, last = (launches[0], launches[-1]) if launches else ({}, {})
  values = {
    "method": _part(config, "method"),
    "task": _part(config, "task"),
    "levels": _levels(config.get("task", {}).get("levels")),
    "model": _model(config.get("model", {})),
    "parameters": _parameters(last.get("parameters", {})),
    "learning rate": _rates(config),
    "start": Path(first.get("started_from") or "random parameters").name if launches else "",
    "duration": _duration(launches),
    "device": _device(last),
    "started": str(first.get("started", "")).replace("T", " ").replace("+00:00", " UTC"),
    "commit": _commit(last),
    "content hash": record.content[:SHORT],
    "command": shlex.join(map(str, last.get("command", ()))),
  }
  return {name: value for name, value in values.items() if value}


def mark(faults: Sequence[str], name: str = "This run") -> list[str]:
  """Warning about a run whose files have changed since its launches; empty if none has."""
  if not faults:
    return []
  text = f"{name} is not as recorded: {'; '.join(faults)}."
  return [f'<p class="warning">{page.escape(text)}</p>']


def _part(config: dict[str, Any], section: str) -> str:
  """Module of a config section, without its package."""
  name = str(config.get(section, {}).get("name", ""))
  return name.removeprefix(f"rl_jax.{section}s.")


def _levels(levels: Any) -> str:
  if not isinstance(levels, dict):
    return ""
  fields = {
    name: ", ".join(f"{field} {value}" for field, value in level.items()) if isinstance(level, dict) else str(level)
    for name, level in levels.items()
  }
  return "; ".join(f"{name} ({text})" if text else str(name) for name, text in fields.items())


def _model(model: dict[str, Any]) -> str:
  sizes = [f"{name} {model[name]}" for name in ("width", "layers") if name in model]
  return ", ".join([str(value) for value in (model.get("name"), model.get("checkpoint")) if value] + sizes)


def _parameters(counts: dict[str, int]) -> str:
  if len(counts) == 1:
    return f"{next(iter(counts.values())):,}"
  return ", ".join(f"{role} {count:,}" for role, count in counts.items())


def _rates(config: dict[str, Any]) -> str:
  rates = config.get("learning_rates") or [config.get("learning_rate")]
  schedule = config.get("optimizer", {}).get("schedule", "")
  return ", ".join(
    [*(f"{rate:g}" for rate in rates if isinstance(rate, int | float)), *([schedule] if schedule else [])]
  )


def _duration(launches: list[dict[str, Any]]) -> str:
  """Total time of launches with a recorded end."""
  ended = [launch["end"]["wall_seconds"] for launch in launches if "wall_seconds" in launch.get("end", {})]
  text = duration(sum(ended)) if ended else ""
  if len(launches) > 1:
    text += f" in {len(ended)} of {len(launches)} launches"
  return text


def _device(launch: dict[str, Any]) -> str:
  devices, cpu = launch.get("devices", ""), launch.get("cpu_model")
  return f"{devices} ({cpu})" if devices.startswith("cpu") and cpu else devices


def _commit(launch: dict[str, Any]) -> str:
  commit = launch.get("git_commit")
  if not commit:
    return ""
  return commit[:10] + ("" if launch.get("git_clean") else " with uncommitted changes")
