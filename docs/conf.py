"""Settings of the site. `make docs`: docs/stage.py writes its source, Sphinx reads that and the docstrings."""

import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from docstrings import rst  # noqa: E402

project = "rl_jax"
author = "The rl_jax authors"
copyright = f"2026, {author}"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = "rl_jax"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
myst_heading_anchors = 4
suppress_warnings = ["ref.python"]  # names of types that several modules have
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_preserve_defaults = True
maximum_signature_line_length = 80
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_attr_annotations = False  # shapes such as "*N" are no markup


def read_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
  """Rewrite a docstring in place, before napoleon reads it."""
  lines[:] = rst("\n".join(lines)).splitlines()


def setup(app: Any) -> None:
  """Connect the handler."""
  app.connect("autodoc-process-docstring", read_docstring, priority=400)
