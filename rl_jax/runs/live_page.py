"""Live form of a page: the same page, with a bar and a script that keep it current while a reader views it.

The script asks the server for `state` (JSON), and for the page if its version has changed. It replaces only the blocks
that differ, and keeps the reader's place: the heading above the window, open folds, and the horizontal scroll of
tables. It waits while text is selected or the page is hidden.
"""

from __future__ import annotations

from rl_jax.runs.page import escape

POLL_MILLISECONDS = 2000

_STYLE = """
html { overflow-anchor: none; }
#live { position: sticky; top: 0; z-index: 1; margin: -28px calc(-1 * var(--edge)) 14px; padding: 6px var(--edge);
  background: var(--page); border-bottom: 1px solid var(--line); color: var(--faint); font-size: 13px;
  overflow-wrap: anywhere; }
#live::before { content: ""; display: inline-block; width: 8px; height: 8px; margin-right: 8px; border-radius: 50%;
  background: var(--good); }
#live.ended::before { background: var(--faint); }
#live.lost::before { background: var(--c1); }
"""

_SCRIPT = """
(() => {
  const bar = document.getElementById("live");
  let version = bar.dataset.version;

  const headings = () => [...document.querySelectorAll("main h1, main h2, main summary")]
    .filter(heading => heading.getClientRects().length);
  const top = heading => heading.getBoundingClientRect().top;
  const path = details => {
    const names = [];
    for (let each = details; each; each = each.parentElement.closest("details"))
      names.push(each.firstElementChild.textContent);
    return names.join("\\n");
  };

  const tables = block => [block, ...block.querySelectorAll(".scroll")];

  function replace(before, after) {
    const offsets = tables(before).map(table => table.scrollLeft);
    before.replaceWith(after);
    tables(after).forEach((table, i) => { table.scrollLeft = offsets[i] || 0; });
  }

  function swap(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const main = document.querySelector("main"), next = fresh.querySelector("main");
    const folds = new Map([...main.querySelectorAll("details")].map(details => [path(details), details.open]));
    for (const details of next.querySelectorAll("details"))
      if (folds.has(path(details))) details.open = folds.get(path(details));
    const above = headings().filter(heading => top(heading) <= bar.offsetHeight + 1).pop();
    const place = above && top(above);
    const old = [...main.children], blocks = [...next.children];
    blocks.forEach((block, i) => {
      if (!old[i]) main.append(block);
      else if (!old[i].isEqualNode(block)) replace(old[i], block);
    });
    old.slice(blocks.length).forEach(block => block.remove());
    const found = above && headings().find(heading => heading.textContent === above.textContent);
    if (found) scrollBy({ top: top(found) - place, behavior: "instant" });
    document.title = fresh.title;
    version = fresh.getElementById("live").dataset.version;
  }

  const ago = seconds => seconds < 90 ? `${Math.round(seconds)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min`
    : `${Math.round(seconds / 3600)} h`;

  function say(state) {
    bar.className = state.error ? "lost" : state.ended ? "ended" : "";
    const age = state.age === null ? "nothing written yet" : `last written ${ago(state.age)} ago`;
    bar.textContent = state.error || (state.ended ? `the run has ended, ${age}` : `live, ${age}`);
  }

  async function poll() {
    if (!document.hidden)
      try {
        const state = await (await fetch("state", { cache: "no-store" })).json();
        if (state.version !== version && getSelection().isCollapsed)
          swap(await (await fetch(location.pathname, { cache: "no-store" })).text());
        say(state);
      } catch {
        bar.className = "lost";
        bar.textContent = "no answer from rl-jax report --follow: the page stays as it is, and asks again";
      }
    setTimeout(poll, POLL);
  }
  poll();
})();
"""


def live(document: str, version: str, nonce: str) -> str:
  """The document with bar and script.

  Args:
    document: a page of `page.page`.
    version: text that differs between documents.
    nonce: text by which the server's Content-Security-Policy allows only this script.
  """
  head, _, rest = document.partition("<body>\n")
  body, _, tail = rest.rpartition("\n</body>")
  bar = f'<p id="live" data-version="{escape(version)}">live</p>'
  script = _SCRIPT.replace("POLL", str(POLL_MILLISECONDS))
  return (
    head.replace("</style>", f"{_STYLE}</style>", 1)
    + f'<body>\n{bar}\n<main>\n{body}\n</main>\n<script nonce="{escape(nonce)}">{script}</script>\n</body>{tail}'
  )
