"""Write the source of the site from README, docs/, notebooks, results and the tree: python docs/stage.py FOLDER.

Folders are listed: a new method, kernel, experiment or notebook has its page without being named here. A link to a file
of the repository leads to the page that shows it: its API, or its source.
"""

from __future__ import annotations

import ast
import functools
import os
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
GUIDES = {
  "Guides": (
    "experiments",
    "read_a_report",
    "runs",
    "time_and_memory",
    "turn_credit",
    "text_tasks",
    "pods",
    "trainers",
    "torch_trainers",
    "tunix",
    "troubleshooting",
  ),
  "Extend": ("add_a_paper", "add_a_task", "architecture", "contributing", "changelog"),
}
API = {
  "methods": "rl_jax/methods",
  "kernels": "kernels",
  "tasks": "rl_jax/tasks",
  "rollouts": "rl_jax/rollouts",
  "curricula": "rl_jax/curricula",
  "models": "rl_jax/models",
}
"""Sections of the API and their folders."""
RENAMED = {
  "README.md": "index.md",
  "kernels/README.md": "kernels/index.md",
  "rl_jax/methods/README.md": "trainers.md",
  "CONTRIBUTING.md": "contributing.md",
  "CHANGELOG.md": "changelog.md",
}
"""Files of the repository that are pages, and their places in the site."""
_LINK = re.compile(r"(\]\()((?!https?://|#)[^)\s]+)(\))")
_METHOD_FILE = r"rl_jax/methods/\w+\.py"
_CODE = re.compile(r"(^```.*?^```)", re.M | re.S)


def main(argv: list[str]) -> int:
  """Write the source of the site into a folder, which is emptied first."""
  folder = Path(argv[0])
  shutil.rmtree(folder, ignore_errors=True)
  notebooks = [_notebook(path) for path in _listed("notebooks/*.ipynb")]
  for place, content in functools.reduce(lambda a, b: a | b, notebooks, pages()).items():
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
  return 0


def pages() -> dict[str, str | bytes]:
  """Files of the source by their places, without the notebooks."""
  result: dict[str, str | bytes] = {}
  for name, place in written().items():
    result[place] = _relinked((ROOT / name).read_text(encoding="utf-8"), Path(name), place)
  for path in _listed("experiments/results/*.md"):
    text = f"# {path.stem}\n\n{(ROOT / path).read_text(encoding='utf-8')}"
    result[_place(path)] = _relinked(text, path, _place(path))
  result |= {_place(path): (ROOT / path).read_bytes() for path in _listed("experiments/results/*.png")}
  experiments = [path for path in _listed("experiments/*.py") if path.stem != "__init__"]
  result |= {_place(path): _source(path) for path in experiments}
  result["experiments/index.md"] = _section("Experiments", "experiments/index.md", experiments)
  result["notebooks/index.md"] = _section("Notebooks", "notebooks/index.md", _listed("notebooks/*.ipynb"))
  for section, folder in API.items():
    modules = _modules(folder)
    result |= {_place(module): _api(module) for module in modules}
    index = f"{section}/index.md"
    result[index] = _section(section.capitalize(), index, modules, str(result.get(index, "")))
  for path in _linked():
    if _place(path) not in result and path.suffix != ".ipynb":
      result[_place(path)] = _source(path) if _is_shown(path) else (ROOT / path).read_bytes()
  result["index.md"] = f"{result['index.md']}\n{_contents()}"
  pages_of_results = [f"results/{path.stem}" for path in _listed("experiments/results/*.md")]
  result["studies.md"] = f"{result['studies.md']}\n{_toctree(pages_of_results)}"
  return result


@functools.cache
def written() -> dict[str, str]:
  """Pages written by hand, and their places in the site."""
  return RENAMED | {str(path): path.name for path in _listed("docs/*.md")}


def _contents() -> str:
  """The tables of contents of the front page, which the margin shows."""
  api = [f"{section}/index" for section in API]
  parts = {**GUIDES, "Reference": ["studies", *api, "experiments/index", "notebooks/index"]}
  return "\n".join(_toctree(names, caption) for caption, names in parts.items())


def _toctree(names: Iterable[str], caption: str = "") -> str:
  options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
  return "\n".join(["", "```{toctree}", *options, "", *names, "```", ""])


def _section(title: str, index: str, paths: list[Path], text: str = "") -> str:
  """The page of a section: its own text, or a list of its pages."""
  relative = {path: os.path.relpath(_place(path), PurePosixPath(index).parent) for path in paths}
  lines = [f"- [{_title(path)}]({place}): {_about(path)}".removesuffix(": ") for path, place in relative.items()]
  listing = "\n".join(lines)
  text = f"{text.rstrip()}\n\n## Files\n\n{listing}\n" if text else f"# {title}\n\n{listing}\n"
  return text + _toctree(place.removesuffix(".md") for place in relative.values())


def experiments_of(method: str) -> list[Path]:
  """The experiments whose docstring names a method's file before any other, alone or in a list of files."""
  first = lambda path: re.search(rf"{_METHOD_FILE}(?:,\s+{_METHOD_FILE})*", _docstring(path))
  files = {path: first(path) for path in _listed("experiments/*.py")}
  return [path for path, match in files.items() if match and f"/{method}.py" in match[0]]


def _api(module: Path) -> str:
  """The page of a module, whose docstrings Sphinx reads, with links to a method's experiments and results."""
  parts = module.with_suffix("").parts
  dotted = ".".join(parts if parts[0] == "rl_jax" else ("rl_jax", *parts))
  lines = [f"# {_title(module)}", "", "```{eval-rst}", f".. automodule:: {dotted}", "```", ""]
  if parts[:2] == ("rl_jax", "methods"):
    results = _listed(f"experiments/results/{module.stem}.md")
    links = [f"[{path.stem}](../{_place(path)})" for path in experiments_of(module.stem)]
    shown = {"Experiments": links, "Results": [f"[{path.stem}](../{_place(path)})" for path in results]}
    lines[1:1] = [f"\n{label}: {', '.join(links)}" for label, links in shown.items() if links]
  return "\n".join(lines)


def _notebook(path: Path) -> dict[str, str | bytes]:
  """A notebook as Markdown, and its images."""
  from nbconvert import MarkdownExporter

  text, resources = MarkdownExporter().from_filename(str(ROOT / path))
  pages: dict[str, str | bytes] = {}
  for name, content in resources["outputs"].items():
    pages[f"notebooks/{path.stem}_{name}"] = content
    text = text.replace(f"({name})", f"({path.stem}_{name})")
  return pages | {_place(path): _relinked(text, path, _place(path))}


def _source(path: Path) -> str:
  """A page with a file, or with the names in a folder."""
  if (ROOT / path).is_dir():
    names = sorted(child.name for child in (ROOT / path).iterdir() if not child.name.startswith(("_", ".")))
    return "\n".join(["---\norphan: true\n---", f"# {path}", "", *(f"- `{name}`" for name in names), ""])
  text = (ROOT / path).read_text(encoding="utf-8")
  about = ast.get_docstring(ast.parse(text)) or "" if path.suffix == ".py" else ""
  about = about.split("\n\n")[0] if path.parts[0] == "experiments" else ""
  return f"---\norphan: true\n---\n# {path}\n\n{about}\n\n````{_language(path)}\n{text.rstrip()}\n````\n"


def _language(path: Path) -> str:
  return {".py": "python", ".cff": "yaml"}.get(path.suffix, "text")


def _relinked(text: str, path: Path, place: str) -> str:
  """A page whose links lead to the pages of the files that they name."""

  def link(match: re.Match[str]) -> str:
    target, hash_sign, anchor = match[2].partition("#")
    if not (ROOT / _target(path, target)).exists():  # an image that a notebook's export makes
      return match[0]
    new = os.path.relpath(_place(_target(path, target)), PurePosixPath(place).parent)
    return f"{match[1]}{new}{hash_sign}{anchor}{match[3]}"

  return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in _CODE.split(text))


def _linked() -> list[Path]:
  """Files that pages written by hand, results and notebooks link to."""
  found = set()
  for path in [*map(Path, written()), *_listed("experiments/results/*.md")]:
    for part in _CODE.split((ROOT / path).read_text(encoding="utf-8")):
      if not part.startswith("```"):
        found |= {_target(path, target.partition("#")[0]) for _, target, _ in _LINK.findall(part)}
  return sorted(found)


def _target(page: Path, target: str) -> Path:
  """The file of the repository that a link of a page names."""
  return Path(os.path.normpath(page.parent / target))


def _place(path: Path) -> str:
  """Place in the site of the page of a file or folder of the repository."""
  name = path.as_posix()
  if name in written():
    return written()[name]
  if name.startswith("experiments/results/") and path.suffix in (".md", ".png"):
    return f"results/{path.name}"
  if path.suffix == ".ipynb" or (path.parent == Path("experiments") and path.suffix == ".py"):
    return str(path.with_suffix(".md"))
  for section, folder in API.items():
    if name == folder:
      return f"{section}/index.md"
    if path.is_relative_to(folder) and path in _modules(folder):
      return f"{section}/{path.relative_to(folder).with_suffix('.md')}"
  if (ROOT / path).is_dir():
    return f"source/{name}/index.md"
  return f"source/{name}" + (".md" if _is_shown(path) else "")


def _is_shown(path: Path) -> bool:
  return path.suffix not in (".png", ".json")


def _listed(pattern: str) -> list[Path]:
  return sorted(path.relative_to(ROOT) for path in ROOT.glob(pattern))


@functools.cache
def _modules(folder: str) -> list[Path]:
  """Modules of a folder that say what they are. Benchmarks, and programs of worker processes, are not imported."""
  hidden = lambda path: any(part.startswith("_") or part == "benchmarks" for part in path.parts)
  return [path for path in _listed(f"{folder}/**/*.py") if not hidden(path) and _docstring(path)]


@functools.cache
def _docstring(path: Path) -> str:
  if path.suffix != ".py":
    return ""
  return ast.get_docstring(ast.parse((ROOT / path).read_text(encoding="utf-8"))) or ""


def _about(path: Path) -> str:
  """First line of a module's docstring, without the name that is its title."""
  return "".join(_docstring(path).splitlines()[:1]).removeprefix(f"{_title(path)}: ")


def _title(path: Path) -> str:
  """The method's name, or the file's path in its section."""
  if path.parts[:2] == ("rl_jax", "methods") and ": " in _docstring(path).splitlines()[0]:
    return _docstring(path).partition(": ")[0]
  folder = next((folder for folder in API.values() if path.is_relative_to(folder)), path.parts[0])
  return str(path.relative_to(folder).with_suffix("")).replace("/", ".")


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
