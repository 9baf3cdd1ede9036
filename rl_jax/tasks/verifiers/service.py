"""Client of a service that runs programs over HTTP, for machines that cannot isolate programs.

The service speaks the run_code interface of SandboxFusion: POST {"code", "language", "stdin", "run_timeout",
"memory_limit_MB"} gives {"status", "message", "run_result": {"status", "execution_time", "return_code", "stdout",
"stderr"}}. It isolates programs and counts their time by its own means; verdicts are made here.
"""

from __future__ import annotations

import http.client
import json
import secrets
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from rl_jax.tasks.verifiers.errors import CannotVerify
from rl_jax.tasks.verifiers.isolation import driver
from rl_jax.tasks.verifiers.isolation.execution import Execution, Job

GRACE_SECONDS = 30.0
"""Time allowed to the service beyond that of the program."""
MOST_BYTES = 64 * 2**20
_TRIAL = Job(
  program="print(6 * 7)", name="__main__", stdin="", steps=None, seconds=5.0, memory_bytes=512 * 2**20, processes=1,
  threads=1, file_bytes=2**20, output_bytes=2**16,
)  # fmt: skip
_TRIAL_OUTPUT = "42"
_ENDED = {"Finished": "finished", "Error": "failed", "TimeLimitExceeded": "time"}


def check(address: str) -> None:
  """Raises: CannotVerify: the address is none of HTTP."""
  try:
    parts = urllib.parse.urlsplit(address)
    good = isinstance(address, str) and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
  except (AttributeError, TypeError, ValueError):  # no text, or a host or a port that is none
    good = False
  if not good:
    raise CannotVerify(
      f"service: got {address!r}, want the address of a run_code service such as http://host:8080/run_code"
    )


def ready(address: str) -> None:
  """Have the service run one small program. Raises: CannotVerify: it does not answer, or not with what that prints."""
  result = execute(address, _TRIAL)
  if "refused" in result:
    raise CannotVerify(f"service: no program can be run, {result['refused']}")
  if result["ended"] != "finished" or result["output"].strip() != _TRIAL_OUTPUT:
    raise CannotVerify(
      f"service: {address} ran {_TRIAL.program!r} and answered {result['ended']!r} with the output "
      f"{result['output'][:100]!r}, want {_TRIAL_OUTPUT!r}: is it a run_code service?"
    )


def execute(address: str, job: Job) -> dict[str, Any]:
  """Run a job at the service; an `Execution` as a dictionary, or {"refused": a line} where there is no verdict."""
  mark, secret = (None, "") if job.steps is None else (secrets.token_hex(16), secrets.token_hex(16))
  code = job.program if mark is None else driver.script(job.name, job.program, mark, secret, job.steps or [])
  request = {
    "code": code,
    "language": "python",
    "stdin": job.stdin,
    "run_timeout": job.seconds,
    "memory_limit_MB": job.memory_bytes >> 20,
  }
  try:
    answer = _post(address, request, job.seconds + GRACE_SECONDS)
    execution = _execution(answer, job, mark, secret)
  except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError) as error:
    return {"refused": f"{address}: {' '.join(str(error).split())[:200] or type(error).__name__}"}
  return execution._asdict()


def _post(address: str, request: dict[str, Any], seconds: float) -> dict[str, Any]:
  data = json.dumps(request).encode()
  http_request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
  with urllib.request.urlopen(http_request, timeout=seconds) as stream:
    answer = stream.read(MOST_BYTES + 1)
  if len(answer) > MOST_BYTES:
    raise ValueError(f"an answer of more than {MOST_BYTES} bytes")
  return json.loads(answer)


def _execution(answer: dict[str, Any], job: Job, mark: str | None, secret: str) -> Execution:
  """Raises: ValueError: the service itself failed."""
  result = answer.get("run_result")
  if answer["status"] == "SandboxError" or result is None:
    raise ValueError(f"the service failed: {answer.get('message') or answer['status']}")
  ended = _ENDED.get(result["status"])
  if ended is None:
    raise ValueError(f"unknown status {result['status']!r} of a run")
  code = result.get("return_code")
  if ended in ("finished", "failed") and code:
    ended = "killed" if code < 0 or code > 128 else "failed"
  output = (result.get("stdout") or "").encode(errors="surrogatepass")
  if len(output) > job.output_bytes:
    ended = "output"
  printed, frames = driver.take_apart(output, mark) if mark else driver.Frames(output, [])
  text = printed.decode(errors="backslashreplace") + ((result.get("stderr") or "") if mark else "")
  proven = any(frame.get("proof") == secret for frame in frames)
  return Execution(ended, text, frames, float(result.get("execution_time") or 0.0), proven)
