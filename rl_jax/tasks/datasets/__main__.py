"""Process that prepares data: reads an order as JSON from stdin and writes the result as JSON to stdout."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import random
import sys
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging


def main(order: dict[str, Any]) -> dict[str, str]:
  """Prepare the data set that `order` describes: {"made": its folder}, or {"refused": what is wrong} in one line."""
  module = importlib.import_module(order["builder"].partition(":")[0])
  make = getattr(module, order["builder"].partition(":")[2])
  random.seed(0)  # a data set that draws from a global generator still gives the same problems
  np.random.seed(0)
  tfds.disable_progress_bar()
  logging.set_verbosity(logging.ERROR)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      builder = make(
        config=make.config_class(name=order["name"], **order["settings"]),
        data_dir=order["folder"],
        file_format="array_record",
      )
      builder.download_and_prepare()
  except ValueError as error:
    return {"refused": " ".join(str(error).splitlines())}
  return {"made": str(builder.data_path)}


if __name__ == "__main__":
  print(json.dumps(main(json.load(sys.stdin))))
