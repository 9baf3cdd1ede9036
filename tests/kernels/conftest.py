"""Print after the run how many golden cases each paper compared, and which not and why."""

from __future__ import annotations


def pytest_terminal_summary(terminalreporter):
  passed = (report for report in terminalreporter.stats.get("passed", []) if report.when == "call")
  lines = [line for report in passed for line in report.capstdout.splitlines() if line.startswith("golden ")]
  if lines:
    terminalreporter.section("golden cases")
    for line in sorted(lines):
      terminalreporter.write_line(line)
