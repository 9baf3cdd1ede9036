"""The code that a program's interpreter runs around the program, and the frames in which it answers.

An input/output test runs the program alone. Any other test is a list of steps that run after the program, in its
module: a "run" step executes a statement, a "value" step reports the value of an expression as plain data, and a
"prove" step runs an assertion and then reports a secret. Steps and secret come when the program has been run, on
standard input; until then the interpreter holds no word of the test and no descriptor but 0, 1 and 2.

A frame is a line of the output: mark, blank, JSON. A program that writes frames of its own says no more than it could
by returning wrong values, except in a "prove" step, which is therefore counted apart.
"""

from __future__ import annotations

import functools
import itertools
import json
import marshal
from typing import Any, Literal, NamedTuple

Step = tuple[Literal["run", "value", "prove"], str]

_DRIVE = """
def drive(name, program, mark, wait):
  import builtins, posix, sys
  run, evaluate, build, write, leave, report = exec, eval, compile, posix.write, posix._exit, sys.__excepthook__
  saved, error, problem, text, hexadecimal = dict(builtins.__dict__), BaseException, sys.exc_info, str, float.hex
  plain = str.__str__  # a subclass may say something else of itself
  whole, real, byte, mapping = int, float, (bytes, bytearray), dict
  builtins.exit = builtins.quit = sys.exit
  module = sys.modules[name] = type(sys)(name)
  if name != "__main__":
    sys.modules["__main__"] = type(sys)("__main__")
  space = module.__dict__
  run(build(program, "program.py", "exec"), space)
  if mark is None:
    return
  decimals = ("decimal.Decimal", "fractions.Fraction")
  views = (type({}.keys()), type({}.items()))

  def quoted(x):
    return '"' + x.encode("utf-8", "surrogatepass").hex() + '"'

  def tagged(tag, items):
    return '{"' + tag + '":[' + ",".join(items) + "]}"

  def encoded(x, depth):
    if depth == 0:
      raise RecursionError("a value nested more than 64 deep")
    inner = depth - 1
    if x is None or x is True or x is False:
      return {None: "null", True: "true", False: "false"}[x]
    if isinstance(x, whole):
      return '{"int":"%x"}' % x
    if isinstance(x, real):
      return '{"float":"' + hexadecimal(x) + '"}'
    if isinstance(x, text):
      return '{"text":' + quoted(plain(x)) + "}"
    if isinstance(x, list):
      return "[" + ",".join([encoded(y, inner) for y in x]) + "]"
    if isinstance(x, tuple):
      return tagged("tuple", [encoded(y, inner) for y in x])
    if isinstance(x, (set, frozenset, *views)):
      return tagged("set", [encoded(y, inner) for y in x])
    if isinstance(x, mapping):
      return tagged("dict", ["[" + encoded(k, inner) + "," + encoded(x[k], inner) + "]" for k in x])
    if isinstance(x, byte):
      return '{"bytes":"' + x.hex() + '"}'
    if isinstance(x, complex):
      return tagged("complex", [encoded(x.real, inner), encoded(x.imag, inner)])
    if isinstance(x, range):
      return tagged("range", [encoded(y, inner) for y in (x.start, x.stop, x.step)])
    kind = type(x).__module__ + "." + type(x).__qualname__
    if kind in decimals:
      return '{"number":' + quoted(text(x)) + "}"
    return '{"object":[' + quoted(kind) + "," + ("true" if x else "false") + "]}"

  def frame(line):
    for stream in (sys.stdout, sys.stderr):
      try:
        stream.flush()
      except error:
        pass
    data = ("\\n" + mark + " " + line + "\\n").encode()
    while data:
      data = data[write(1, data):]

  secret, steps = wait(frame)
  for kind, source in steps:
    try:
      if kind == "value":
        value = encoded(evaluate(build(source, "test.py", "eval"), space), 64)
        frame('{"value":' + value + "}")
      else:
        if kind == "prove":
          space["__builtins__"] = saved
        run(build(source, "test.py", "exec"), space)
        frame('{"proof":"' + (secret if kind == "prove" else "") + '"}')
    except error:
      report(*problem())
      frame('{"raised":true}')
      if kind == "run":
        break
  leave(0)
"""

_LOCAL = f"""
import sys
{_DRIVE}
def wait(frame):
  import _signal, marshal, posix
  frame('{{"ready":true}}')
  _signal.sigwait([_signal.SIGUSR1])
  parts = []
  while part := posix.read(0, 65536):
    parts.append(part)
  return marshal.loads(b"".join(parts))
main = sys.modules["__main__"]
drive(*given, wait)
"""
LOCAL = """import marshal, io
with io.open(3, "rb") as job:
  code, given = marshal.load(job)
del job
exec(code)"""
"""Code for a local interpreter, which reads a `job` from descriptor 3 and closes it."""


@functools.cache
def _compiled() -> Any:
  return compile(_LOCAL, "driver", "exec")  # once, as it takes as long as a third of an interpreter's start


def job(name: str, program: str, mark: str | None) -> bytes:
  """Return what `LOCAL` reads first. Args: mark: None where the program runs alone."""
  return marshal.dumps((_compiled(), (name, program, mark)))


def steps_after(secret: str, steps: list[Step]) -> bytes:
  """Return what `LOCAL` reads once it has been ready and has got SIGUSR1."""
  return marshal.dumps((secret, [tuple(step) for step in steps]))


def script(name: str, program: str, mark: str | None, secret: str, steps: list[Step]) -> str:
  """Return one script that does the same without a judge beside it: for a service elsewhere that runs scripts."""
  order = {"name": name, "program": program, "mark": mark, "secret": secret, "steps": steps}
  return f"import sys, json\n{_DRIVE}\nmain = sys.modules['__main__']\n_given = json.loads({json.dumps(order)!r})\n" + (
    "drive(_given['name'], _given['program'], _given['mark'], lambda frame: (_given['secret'], _given['steps']))\n"
  )


DEEPEST_FRAME = 400
"""Brackets within one another; a value has at most two for each of its own 64."""


def _frame(text: bytes) -> Any:
  """The JSON of a frame. Raises: ValueError: it is none, or has what no frame has: other numbers than whole ones."""

  def refuse(number: str) -> None:
    raise ValueError(f"{number} in a frame")

  opened = text.count(b"[") + text.count(b"{")
  if opened > DEEPEST_FRAME and max(itertools.accumulate((c in b"[{") - (c in b"]}") for c in text)) > DEEPEST_FRAME:
    raise ValueError("a frame that is nested too deeply")
  return json.loads(text, parse_float=refuse, parse_constant=refuse)


class Frames(NamedTuple):
  """An output taken apart.

  Attributes:
    printed: what the program itself printed.
    frames: decoded frames in order; one that is no JSON object is left out.
  """

  printed: bytes
  frames: list[dict[str, Any]]


def take_apart(output: bytes, mark: str) -> Frames:
  """Separate the frames of an output from what was printed."""
  printed: list[bytes] = []
  frames: list[dict[str, Any]] = []
  for line in output.split(b"\n"):
    if line.startswith(mark.encode() + b" "):
      try:
        frame = _frame(line[len(mark) + 1 :])
      except (ValueError, RecursionError):
        continue
      if isinstance(frame, dict):
        frames.append(frame)
      if printed and printed[-1] == b"":  # the line end that the frame put before itself
        printed.pop()
    else:
      printed.append(line)
  return Frames(b"\n".join(printed), frames)
