"""Where compiled programs are kept, and who may say otherwise."""

from __future__ import annotations

import jax
import pytest

from rl_jax.launching.compilation import keep_programs


@pytest.fixture
def settings(monkeypatch, tmp_path):
  """The two settings of JAX, as they were afterwards."""
  names = ("jax_compilation_cache_dir", "jax_enable_compilation_cache")
  before = {name: getattr(jax.config, name) for name in names}
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  jax.config.update("jax_compilation_cache_dir", None)
  jax.config.update("jax_enable_compilation_cache", True)
  yield jax.config
  for name, value in before.items():
    jax.config.update(name, value)


def test_programs_are_kept_by_kind_of_processor(settings, tmp_path):
  keep_programs()
  folder = settings.jax_compilation_cache_dir
  assert folder.startswith(str(tmp_path / "rl_jax" / "programs")) and len(folder.rpartition("/")[2]) == 12
  keep_programs()
  assert settings.jax_compilation_cache_dir == folder


def test_a_folder_that_was_named_stays(settings):
  settings.update("jax_compilation_cache_dir", "elsewhere")
  keep_programs()
  assert settings.jax_compilation_cache_dir == "elsewhere"


def test_who_wants_none_gets_none(settings):
  settings.update("jax_enable_compilation_cache", False)
  keep_programs()
  assert settings.jax_compilation_cache_dir is None
