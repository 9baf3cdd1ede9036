"""Section of advisories on a page."""

from __future__ import annotations

from collections.abc import Mapping

from rl_jax.runs import page
from rl_jax.runs.advisories import FEWEST, SUBJECTS, advisories, is_judged
from rl_jax.runs.record import Record


def advisory_section(runs: Mapping[str, Record]) -> list[str]:
  """Advisories of one run, or of several with their names; none for runs that are too short.

  Args:
    runs: records by their names on the page.
  """
  judged = {name: record for name, record in runs.items() if is_judged(record)}
  if not judged:
    return []
  found = [(name if len(runs) > 1 else "", advisory) for name, run in judged.items() for advisory in advisories(run)]
  if not found:
    subjects = f"{', '.join(SUBJECTS[:-1])} and {SUBJECTS[-1]}"
    return [page.section("Advisories", f'<p class="note">None. Looked for: {subjects}.</p>')]
  items = []
  for name, advisory in found:
    heading = f"{name}: {advisory.name}" if name else advisory.name
    items.append(f"<li><b>{page.escape(heading)}.</b> {page.escape(advisory.text)}</li>")
  short = sorted(runs.keys() - judged.keys())
  note = f"Not of {', '.join(short)}, which has fewer than {FEWEST} iterations." if short else ""
  return [page.section("Advisories", f'<ul class="advisories">{"".join(items)}</ul>', note=note)]
