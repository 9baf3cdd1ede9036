"""Page of a run: one self-contained HTML file for light and dark screens, paper and phones."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rl_jax.runs.visible import visible

_STYLE = """
:root { color-scheme: light dark; --edge: 24px; --ink: #1b1f24; --faint: #59626d; --page: #ffffff; --card: #f6f7f9;
  --line: #d5dae0; --grid: #8a9199; --more: #9aa3ad; --good: #00694d; --plus: 0 114 178; --minus: 213 94 0;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b8558c; --c4: #b87a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --faint: #a3adb8; --page: #14171b; --card: #1d2126;
  --line: #363d46; --grid: #7d8791; --more: #5d6772; --good: #4fd0a5; --plus: 86 180 233; --minus: 255 138 61;
  --c0: #56b4e9; --c1: #ff8a3d; --c2: #2fc59b; --c3: #e39bc4;
  --c4: #f0b429; } }
@media (max-width: 480px) { :root { --edge: 16px; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 28px var(--edge) 60px; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
h1 { font-size: 28px; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 36px 0 10px; }
.status { font-size: 17px; margin: 0; } .status b { color: var(--good); }
.note { color: var(--faint); font-size: 14px; margin: 4px 0 10px; }
.warning { border-left: 4px solid var(--c1); padding: 2px 0 2px 10px; margin: 10px 0; }
.advisories { list-style: none; margin: 0; padding: 0; display: grid; gap: 8px; }
.advisories li { border-left: 4px solid var(--c1); padding: 6px 12px; background: var(--card);
  border-radius: 0 8px 8px 0; overflow-wrap: anywhere; max-width: 90ch; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(150px, 100%), 1fr)); gap: 6px 14px;
  margin: 14px 0 0; padding: 12px; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  font-size: 14px; }
.facts dt { color: var(--faint); font-size: 12px; } .facts dd { margin: 0; overflow-wrap: anywhere; }
.facts .wide { grid-column: 1 / -1; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(340px, 100%), 1fr)); gap: 14px; }
.scroll + .figures { margin-top: 14px; }
figure { margin: 0; padding: 10px; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  max-width: 560px; }
figure svg { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; background: linear-gradient(to right, var(--page) 30%, transparent) left,
  linear-gradient(to left, var(--page) 30%, transparent) right,
  linear-gradient(to right, var(--more), transparent) left, linear-gradient(to left, var(--more), transparent) right;
  background-size: 48px 100%, 48px 100%, 20px 100%, 20px 100%; background-repeat: no-repeat;
  background-attachment: local, local, scroll, scroll; }
table { border-collapse: collapse; font-size: 14px; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: 600; white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.number { white-space: normal; }
.name { font: 13px/1.45 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
.text { font: 13px/1.45 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; min-width: 10em; }
.tokens { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere;
  margin-bottom: 4px; }
.token { display: inline-block; vertical-align: top; text-align: center; white-space: pre; padding: 0 3px; margin: 1px;
  border-radius: 3px 3px 0 0; border-bottom: 2px solid transparent; }
.token sub { display: block; font-size: 10px; line-height: 1.2; color: var(--faint); }
.plus sub, .minus sub { color: var(--ink); }
.plus { background: rgb(var(--plus) / calc(var(--w) * 0.5)); border-bottom-color: rgb(var(--plus)); }
.minus { background: rgb(var(--minus) / calc(var(--w) * 0.5)); border-bottom: 2px dotted rgb(var(--minus)); }
@media (max-width: 480px) {
  .cards, .cards tbody, .cards tr, .cards td { display: block; }
  .cards thead { display: none; }
  .cards tr { padding: 8px 0; border-bottom: 1px solid var(--line); }
  .cards td { padding: 2px 0; border: 0; text-align: left; }
  .cards td.number, .cards td[class=""]:not(:last-child) { display: inline-block; margin-right: 14px; }
  .cards td::before { content: attr(data-label) " "; font: 12px system-ui, sans-serif; color: var(--faint); }
}
details { margin: 4px 0; } summary { cursor: pointer; }
details.section > summary { font-size: 20px; font-weight: 600; margin: 24px 0 10px; }
.tree { font: 13px/1.6 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.tree details, .tree .leaf { margin: 0 0 0 18px; } .tree .leaf { padding-left: 14px; }
.tree .key { color: var(--faint); }
"""


def page(title: str, body: Sequence[str]) -> str:
  """Full document; `title` is text, `body` is HTML."""
  return (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
    + "\n".join(body)
    + "\n</body>\n</html>\n"
  )


def escape(text: Any) -> str:
  """Text as HTML, with markup and control characters escaped (visible.py)."""
  return html.escape(visible(text), quote=True)


def name(text: Any) -> str:
  """Name of a metric, field or run as HTML that breaks only after separators."""
  return re.sub(r"[/_.]+", r"\g<0><wbr>", escape(text))


def facts(values: Mapping[str, str], wide: Sequence[str] = ()) -> str:
  """Names and values as a grid; those in `wide` take a full row."""
  items = [
    f'<div class="{"wide" if label in wide else ""}"><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>'
    for label, value in values.items()
  ]
  return f'<dl class="facts">{"".join(items)}</dl>'


def section(heading: str, content: str, *, note: str = "", folded: bool = False) -> str:
  """A heading with HTML under it; `folded` sections open on a click."""
  note = f'<p class="note">{escape(note)}</p>' if note else ""
  if folded:
    return f'<details class="section"><summary>{escape(heading)}</summary>{note}{content}</details>'
  return f"<h2>{escape(heading)}</h2>{note}{content}"


def figures(pictures: Sequence[tuple[str, str]]) -> str:
  """Grid of cards from (name, svg element); the name is the accessible label."""
  cards = [f'<figure aria-label="{escape(name)}">{picture}</figure>' for name, picture in pictures]
  return '<div class="figures">' + "\n".join(cards) + "</div>"


def table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]]) -> str:
  """A table of text. `columns`: (heading, class), the class being "number", "text", "name" or ""."""
  kinds = [kind for _, kind in columns]
  cells = [[(name if kind == "name" else escape)(cell) for kind, cell in zip(kinds, row, strict=True)] for row in rows]
  return table_of_html(columns, cells)


def table_of_html(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> str:
  """Table as `table`, with cells that are HTML. With a column of texts, each row is a card on a narrow screen."""
  cards = any(kind == "text" for _, kind in columns)
  head = "".join(f'<th class="{"number" if kind == "number" else ""}">{escape(name)}</th>' for name, kind in columns)
  labels = [f' data-label="{escape(label)}"' if cards and label else "" for label, _ in columns]
  lines = []
  for row in rows:
    cells = [
      f'<td class="{kind}"{label}>{cell}</td>' for (_, kind), label, cell in zip(columns, labels, row, strict=True)
    ]
    lines.append(f"<tr>{''.join(cells)}</tr>")
  kind = ' class="cards"' if cards else ""
  return f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def tree(value: dict[str, Any]) -> str:
  """Nested dicts as foldable lines."""
  return '<div class="tree">' + _branches(value) + "</div>"


def _branches(value: dict[str, Any]) -> str:
  lines = []
  for key, item in value.items():
    if isinstance(item, dict) and item:
      lines.append(f'<details open><summary class="key">{escape(key)}</summary>{_branches(item)}</details>')
    elif isinstance(item, list) and any(isinstance(entry, dict) for entry in item):
      by_index = {str(index): entry for index, entry in enumerate(item)}
      lines.append(f'<details open><summary class="key">{escape(key)}</summary>{_branches(by_index)}</details>')
    else:
      text = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
      lines.append(f'<div class="leaf"><span class="key">{escape(key)}:</span> {escape(text)}</div>')
  return "".join(lines)
