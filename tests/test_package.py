"""The package as others install it: a wheel in an empty environment, a source archive, other packages beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import rl_jax.__main__ as entry

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess:
  """A command outside of the checkout, that does not see it."""
  variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
  return subprocess.run([*map(str, command)], cwd=folder, env=variables, capture_output=True, text=True, timeout=600)


def python(folder: Path, code: str, *, path: Path) -> subprocess.CompletedProcess:
  """A Python that has the packages of this one, and before them those in `path`."""
  own = [str(path), *(entry for entry in sys.path if entry.endswith("site-packages"))]
  return run(sys.executable, "-S", "-c", f"import sys; sys.path[1:1] = {own!r}\n{code}", folder=folder)


def test_commands_are_listed_with_what_they_do(capsys):
  assert entry.main([]) == 0
  out = capsys.readouterr().out
  words = {"trajectories", "errors"}
  modules = {path.stem for path in (ROOT / "rl_jax").glob("[a-z]*.py")} - words
  assert set(entry.commands()) == modules and "train" in modules
  assert all(f"  {name} " in out for name in modules)


def test_a_command_that_is_not_there_is_one_line(capsys):
  assert entry.main(["trian"]) == 1
  assert capsys.readouterr().err == "rl-jax: no command 'trian': did you mean 'train'?\n"
  assert entry.main(["--version"]) == 0
  assert capsys.readouterr().out.startswith("rl-jax ")


def test_a_command_is_that_of_its_module(capsys):
  assert entry.main(["evaluate"]) == 1
  assert capsys.readouterr().err.startswith("rl_jax.evaluate: nothing to evaluate: give the --workdir of a run")


@pytest.mark.parametrize("name", ["kernels", "experiments"])
def test_a_linked_folder_has_one_name(name):
  done = run(sys.executable, "-c", f"import {name}", folder=ROOT)
  assert done.stderr.strip().splitlines()[-1].startswith(f"ImportError: this folder is imported as rl_jax.{name}: ")


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> tuple[Path, Path]:
  """The wheel and the source archive of a copy of what git knows."""
  folder = tmp_path_factory.mktemp("package")
  names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
  copy = folder / "copy"
  for name in filter(None, names.split("\0")):
    source, target = ROOT / name, copy / name
    if name.startswith(("tests/", "notebooks/")) or not (source.is_symlink() or source.is_file()):
      continue
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source.readlink()) if source.is_symlink() else target.write_bytes(source.read_bytes())
  build = "from setuptools import build_meta as b; print(b.build_wheel({0!r})); print(b.build_sdist({0!r}))"
  done = run(sys.executable, "-c", build.format(str(folder)), folder=copy)
  assert done.returncode == 0, done.stderr[-2000:]
  return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def installed(archives, tmp_path_factory) -> Path:
  folder = tmp_path_factory.mktemp("installed")
  with zipfile.ZipFile(archives[0]) as wheel:
    wheel.extractall(folder)
  return folder


def test_the_wheel_holds_rl_jax_alone_as_files(archives):
  names = zipfile.ZipFile(archives[0]).namelist()
  assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"rl_jax"}
  packed = {"rl_jax/kernels/advantages/group.py", "rl_jax/kernels/papers.json", "rl_jax/experiments/grpo.py"}
  assert packed <= set(names)
  scripts = zipfile.ZipFile(archives[0]).read(next(name for name in names if name.endswith("entry_points.txt")))
  assert b"rl-jax = rl_jax.__main__:main" in scripts


def test_the_source_archive_has_the_kernels(archives):
  with tarfile.open(archives[1]) as archive:
    names = {name.partition("/")[2] for name in archive.getnames()}
  assert "rl_jax/kernels/advantages/group.py" in names


def test_other_packages_named_kernels_and_experiments_stand_beside_it(installed, tmp_path):
  for name in ("kernels", "experiments"):
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("who = 'another'\n")
  code = "import kernels, experiments; from rl_jax.kernels import reductions; "
  code += "print(kernels.who, experiments.who, reductions.__name__)"
  done = python(tmp_path, code, path=installed)
  assert done.stdout.split() == ["another", "another", "rl_jax.kernels.reductions"], done.stderr


def test_a_link_that_is_a_text_file_is_one_line(installed, tmp_path):
  (tmp_path / "rl_jax").mkdir()
  (tmp_path / "rl_jax/__init__.py").write_bytes((ROOT / "rl_jax/__init__.py").read_bytes())
  (tmp_path / "rl_jax/kernels").write_text("../kernels")
  done = python(tmp_path, "import rl_jax", path=tmp_path)
  assert "ImportError: rl_jax/kernels is a link to the folder kernels, which was checked out as a text file: git" in (
    done.stderr
  )


@pytest.mark.slow  # a minute; the other tests of the wheel import and list what it holds
@pytest.mark.integration
def test_an_experiment_of_the_wheel_trains_by_name_in_an_empty_folder(installed, tmp_path):
  code = f"""
from rl_jax.__main__ import main
import rl_jax; assert rl_jax.__file__.startswith({str(installed)!r}), rl_jax.__file__
sys.exit(main(["train", "grpo:smoke"]))
"""
  done = python(tmp_path, code, path=installed)
  assert done.returncode == 0, done.stderr[-2000:]
  assert (tmp_path / "runs/grpo-smoke/report.html").exists()
