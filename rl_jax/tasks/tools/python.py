"""Python as a tool: programs run in the sandbox, without network, packages or files, and what they print is the result.

A program starts anew with each call. One that is ended at a limit, of CPU time or of output, has an error as its
result, as one that raises does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rl_jax.tasks.verifiers import sandbox, service
from rl_jax.tasks.verifiers.code_blocks import code_block
from rl_jax.tasks.verifiers.errors import CannotVerify

_SILENT = "nothing printed"
_RAISED = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)*(\S.*)", re.MULTILINE)
"""A traceback, which ends in a line that names the exception."""


class Python:
  """Runs programs one after another.

  Args:
    limits: fields of `sandbox.Limits`; `seconds` is the deadline of a call, `shown_bytes` the most that is shown.
    address: of a service that runs programs, see `rl_jax.tasks.verifiers.service`; "": they run here.

  Raises: CannotVerify: a limit makes no sense, or programs cannot be run safely.
  """

  def __init__(self, limits: Mapping[str, Any], address: str = ""):
    self._limits, self._address = sandbox.checked(sandbox.limits_of(limits, "task")), address
    self._notes: list[str] = []
    if address:
      service.ready(address)
    else:
      sandbox.isolation()

  def __call__(self, call: str) -> str:
    """Output of the program in a call, which may be a block of code; "error: …" with the reason where it has failed.

    Raises: CannotVerify: the machine could not run it.
    """
    block = code_block(call)
    outcome = sandbox.execute(call if block is None else block, self._limits, address=self._address)
    if outcome.passed:
      return outcome.output.strip()[: self._limits.shown_bytes] or _SILENT
    if outcome.ended == "refused":
      self._notes = [f"the tool 'python' could not run a program: {outcome.output}"]
      raise CannotVerify(self._notes[0])
    raised = _RAISED.findall(outcome.output)
    reasons = {
      "failed": raised[-1] if raised else "the program has failed",
      "time": f"more than {self._limits.seconds:g} s",
      "output": f"more than {self._limits.output_bytes} bytes of output",
    }
    return f"error: {reasons.get(outcome.ended, 'the program was ended')}"[: self._limits.shown_bytes]

  def notes(self) -> list[str]:
    """The last refusal of the machine since the last call."""
    notes, self._notes = self._notes, []
    return notes
