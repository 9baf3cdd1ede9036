"""MLflow. Its own variables apply: MLFLOW_TRACKING_URI (a server, a database, a folder), MLFLOW_EXPERIMENT_NAME, …"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Any

from rl_jax.runs.differences import flatten
from rl_jax.runs.trackers.tracker import PROJECT, TrackedRun

_PARAMS_AT_A_TIME = 100
_LONGEST_PARAM = 500
_METRICS_AT_A_TIME = 1000
# Without them a server that does not answer would hold a run up for many minutes before it is dropped.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "15", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}


class Writer:
  """Writer of a run of MLflow."""

  def __init__(self, client: Any, id: str) -> None:
    self.id = id
    self._client = client

  def write(self, values: Mapping[str, float], iteration: int) -> None:
    """Log values at the step `iteration`."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [Metric(_allowed(name), value, now, iteration) for name, value in values.items()]
    for first in range(0, len(metrics), _METRICS_AT_A_TIME):
      self._client.log_batch(self.id, metrics=metrics[first : first + _METRICS_AT_A_TIME])

  def close(self, finished: bool) -> None:
    """Set the status of the run."""
    self._client.set_terminated(self.id, "FINISHED" if finished else "KILLED")


def open_run(run: TrackedRun) -> Writer:
  """Begin a run with the fields of the config as its parameters, or continue one, whose parameters stay."""
  from mlflow import MlflowClient
  from mlflow.entities import Param

  for name, value in _PATIENCE.items():
    os.environ.setdefault(name, value)
  client = MlflowClient()
  if run.id:
    client.update_run(run.id, status="RUNNING")
    return Writer(client, run.id)
  name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
  experiment = client.get_experiment_by_name(name)
  experiment_id = os.environ.get("MLFLOW_EXPERIMENT_ID") or (
    experiment.experiment_id if experiment else client.create_experiment(name)
  )
  writer = Writer(client, client.create_run(experiment_id, run_name=run.name).info.run_id)
  params = [Param(_allowed(key), str(value)[:_LONGEST_PARAM]) for key, value in flatten(dict(run.config)).items()]
  for first in range(0, len(params), _PARAMS_AT_A_TIME):
    client.log_batch(writer.id, params=params[first : first + _PARAMS_AT_A_TIME])
  return writer


def _allowed(name: str) -> str:
  """Name in the characters that MLflow allows on all systems."""
  return re.sub(r"[^/\w.\- ]", "_", name)
