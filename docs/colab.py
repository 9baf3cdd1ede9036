"""Write the badge and the first cell of Colab into the notebooks: python docs/colab.py [--check].

The badge is a first cell of text, the installation a first cell of code. With --check nothing is written, and the exit
status is 1 if a notebook differs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

REPOSITORY = "OWNER/rl_jax"
"""Public repository on GitHub; change it here and run this file where the project is published or forked."""

BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
INSTALL = f"""\
import importlib.util
import subprocess
import sys

# On Colab, or anywhere without the package: install it from its repository, once.
if importlib.util.find_spec("rl_jax") is None:
  source = "rl-jax[tasks] @ git+https://github.com/{REPOSITORY}"
  subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", source], check=True)"""


def cells(name: str) -> list[dict[str, Any]]:
  """The two cells that a notebook begins with."""
  link = f"https://colab.research.google.com/github/{REPOSITORY}/blob/main/notebooks/{name}.ipynb"
  badge = {
    "cell_type": "markdown",
    "id": "colab-badge",
    "metadata": {},
    "source": [f"[![Open in Colab]({BADGE})]({link})"],
  }
  source = INSTALL.splitlines(keepends=True)
  run: dict[str, Any] = {"execution_count": None, "metadata": {}, "outputs": []}
  return [badge, {"cell_type": "code", "id": "colab-install", "source": source, **run}]


def begun(notebook: dict[str, Any], name: str) -> dict[str, Any]:
  """The notebook with its first two cells. The first code cell keeps what its execution left in it."""
  own = [cell for cell in notebook["cells"] if not cell.get("id", "").startswith("colab-")]
  before = {cell["id"]: cell for cell in notebook["cells"] if cell.get("id", "").startswith("colab-")}
  first = [before.get(cell["id"], cell) | {"source": cell["source"]} for cell in cells(name)]
  return notebook | {"cells": first + own}


def main(arguments: list[str]) -> int:
  """Write the notebooks, or compare them; the exit status."""
  stale = []
  for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
    text = path.read_text(encoding="utf-8")
    wanted = json.dumps(begun(json.loads(text), path.stem), indent=1, ensure_ascii=False) + "\n"
    if text != wanted:
      stale.append(path.name)
      if "--check" not in arguments:
        path.write_text(wanted, encoding="utf-8")
  if "--check" not in arguments:
    return 0
  for name in stale:
    print(f"{name}: run `python docs/colab.py`", file=sys.stderr)
  return int(bool(stale))


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
