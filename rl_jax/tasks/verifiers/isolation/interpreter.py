"""Files of the host that a Python program needs: the interpreter, its library, and the shared libraries of both."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterable

from rl_jax.tasks.verifiers.isolation.namespaces import View, outermost

_ASK = """
import ctypes, importlib, json, os, sysconfig
standard = sorted({os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")})
folder = os.path.join(sysconfig.get_path("platstdlib"), "lib-dynload")
for file in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
  name = file.partition(".")[0]
  if "test" not in name and name != "_tkinter":
    try:
      importlib.import_module(name)
    except ImportError:
      pass
for name in ("libgcc_s.so.1", "libstdc++.so.6"):  # the first is looked for when a thread is ended
  try:
    ctypes.CDLL(name)
  except OSError:
    pass
with open("/proc/self/maps") as lines:
  libraries = sorted({line.split(maxsplit=5)[5].strip() for line in lines if ".so" in line})
print(json.dumps([standard, libraries]))
"""
_LOADED_FROM = ("/lib", "/lib64", "/lib32", "/usr/lib", "/usr/lib64")
"""Folders in which the loader and the interpreter's own header look, beside those of the libraries."""
_EXTRA = ("/etc/ld.so.cache", "/usr/share/zoneinfo", "/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8")


@functools.cache
def path() -> str:
  """Return the interpreter without a virtual environment."""
  own = os.path.join(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
  return os.path.realpath(own if os.path.exists(own) else sys.executable)


@functools.cache
def view() -> View:
  """Return the view of a program: packages are hidden, and so is all else of /usr, /usr/local or an environment."""
  answer = subprocess.run([path(), "-ISB", "-c", _ASK], capture_output=True, text=True, check=True, env={})
  standard, libraries = json.loads(answer.stdout)
  standard, libraries = [p for p in standard if os.path.isdir(p)], [p for p in libraries if os.path.isfile(p)]
  hidden = tuple(f"{folder}/{name}" for folder in standard for name in ("site-packages", "dist-packages"))
  return View(outermost([*standard, path(), *libraries, *_EXTRA]), hidden, tuple(_links_to(libraries)))


def _links_to(libraries: Iterable[str]) -> Iterable[tuple[str, str]]:
  """The links by which the loader finds the libraries."""
  library_files = set(libraries)
  tops = [top for top in _LOADED_FROM if os.path.isdir(top)]
  yield from ((top, os.readlink(top)) for top in tops if os.path.islink(top))
  for folder in sorted({os.path.dirname(file) for file in library_files} | {os.path.realpath(top) for top in tops}):
    for entry in os.scandir(folder):
      if entry.is_symlink() and os.path.realpath(entry.path) in library_files:
        yield entry.path, os.path.realpath(entry.path)
