"""The run whose files the tests of what a record vouches for edit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import commands
from tests.launching import vouched


@pytest.fixture(scope="module")
def vouched_run(tmp_path_factory) -> Path:
  """Four iterations; checkpoints of the second and the fourth."""
  folder = tmp_path_factory.mktemp("vouched") / "run"
  vouched.train(folder, 4)
  commands.assert_moved(folder)
  return folder


@pytest.fixture
def copy(vouched_run, tmp_path) -> Path:
  """A copy of it, to edit."""
  return shutil.copytree(vouched_run, tmp_path / "run")
