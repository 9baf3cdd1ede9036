"""Programs that try to be paid without being right, by group; `python -m tests.tasks.verifiers.hostile_programs`.

Each attempt is scored beside a right program of the same test. The table has the rewards and the seconds of each group.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from rl_jax.tasks.verifiers.programs import unit_tests


class Group(NamedTuple):
  """Attempts at one test.

  Attributes:
    test: the test.
    right: a program that passes it.
    attempts: programs that must not.
  """

  test: str | dict[str, str]
  right: str
  attempts: tuple[str, ...]


LIMITS = {"seconds": 0.5, "total_seconds": 2.0}
RIGHT = "def add(a, b): return a + b"
_CALL = "assert add(1, 2) == 3"
_SUM = {"input": "1 2\n", "output": "3"}
_SUMS = "print(sum(map(int, input().split())))"
_ALWAYS = "  def __eq__(self, other): return True\n  def __ne__(self, other): return False\n  __hash__ = None\n"
_FRAMES = (
  "import os, sys\nframe, known = sys._getframe(), {}\n"
  "while frame:\n  known |= frame.f_locals\n  frame = frame.f_back\n"
)

FORGED_ASSERTIONS = Group(
  _CALL,
  RIGHT,
  (
    "import os; os.write(5, os.read(4, 64)); os._exit(0)",
    "import __main__; __main__.test = 'pass'",
    "import __main__; __main__.steps = []",
    "import builtins; builtins.exec = lambda *a: None",
    "import builtins; builtins.eval = lambda *a: 3",
    "import builtins; builtins.compile = lambda *a, **k: (lambda: 3).__code__",
    "class E:\n" + _ALWAYS + "add = lambda a, b: E()",
    "class E(int):\n" + _ALWAYS + "add = lambda a, b: E(9)",
    "class E(list):\n" + _ALWAYS + "add = lambda a, b: E()",
    "class E(str):\n" + _ALWAYS + "add = lambda a, b: E('3')",
    "class E(float):\n  def hex(self): return '0x1.8p+1'\nadd = lambda a, b: E(9.0)",
    "class E:\n  def __repr__(self): return '3'\nadd = lambda a, b: E()",
    "class E:\n  def __class__(self): return int\nadd = lambda a, b: E()",
    _FRAMES + "add = lambda a, b: next(v for v in known.values() if v == 3)",
    _FRAMES + "print(known)\nos.write(1, ('\\n%s {\"value\":true}\\n' % known['mark']).encode())",
    _FRAMES
    + "os.write(1, ('\\n%s {\"ready\":true}\\n%s {\"proof\":\"\"}\\n' % (known['mark'], known['mark'])).encode())",
    "import gc\nadd = lambda a, b: next(o for o in gc.get_objects() if isinstance(o, tuple) and 'assert' in str(o))",
    "import atexit, os; atexit.register(os._exit, 0)",
    "import sys, os; sys.excepthook = lambda *a: os._exit(0)",
    "import threading, os, time\nthreading.Thread(target=lambda: (time.sleep(0.05), os._exit(0))).start()",
    "import signal, os\nsignal.signal(signal.SIGALRM, lambda *a: os._exit(0))\nsignal.setitimer(0, 0.01)",
    "import sys\nsys.settrace(lambda *a: None)",
    "import sys\nsys.setprofile(lambda *a: sys.exit(0))",
    "import os\nif os.fork(): os._exit(0)",
    "import math; math.isclose = lambda *a, **k: True\nadd = lambda a, b: 9",
    "import builtins\nclass A(Exception): pass\nbuiltins.AssertionError = A",
    "import sys; sys.exit(0)",
    "import os; os._exit(0)",
    "raise SystemExit(0)",
    "exit()",
    'print(\'passed\'); print(\'{"value":{"int":"3"}}\')',
    "add = lambda a, b: float('nan')",
    "add = lambda a, b: None",
    "add = lambda a, b: add",
    "def __getattr__(name): return lambda *a: 3",
    "import sys; sys.modules['program'] = type(sys)('program')",
    "import os; os.close(1); os.close(2)",
    "import os, sys; os.dup2(2, 1); sys.stdout = None",
  ),
)

FORGED_OUTPUTS = Group(
  _SUM,
  _SUMS,
  (
    "import os; print(os.listdir('/proc'))",
    "print(open('/proc/1/cmdline').read())",
    "print(open('/tmp/output').read())",
    "import os; print(os.read(3, 64).decode())",
    "import os; print(os.read(4, 64).decode())",
    "import os\nfor fd in range(3, 64):\n  try: print(os.read(fd, 64))\n  except OSError: pass",
    "import os; os._exit(0)",
    "raise SystemExit(0)",
    "",
    "pass",
    "print()",
    "print('3\\n3')",
    "print('33')",
    "print(input())",
    "print('passed')",
    "print(3, 3)",
    "import sys; sys.stderr.write('3')",
    "print('\\x003')",
    "print('3', end='\\x1b[2K')",
    "import os; os.kill(1, 9); print(4)",
    "import os, signal; os.kill(1, signal.SIGINT); print(4)",
    "import os, signal; os.kill(os.getppid(), signal.SIGSTOP); print(4)",
    "import resource; resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0)); print(4)",
    "import ctypes; c = ctypes.CDLL(None, use_errno=True)\nassert c.ptrace(16, 1, 0, 0) == 0; print(3)",
    "import ctypes; c = ctypes.CDLL(None, use_errno=True)\nassert c.process_vm_readv(1, 0, 0, 0, 0, 0) == 0; print(3)",
    "import os, ctypes; c = ctypes.CDLL(None)\nassert c.syscall(438, os.pidfd_open(1), 1, 0) >= 0; print(3)",
    "import __main__; print(vars(__main__))",
    "import gc; print([o for o in gc.get_objects() if isinstance(o, bytes)])",
  ),
)

LOOPS = Group(
  _CALL,
  RIGHT,
  (
    "while True: pass",
    "import time; time.sleep(600)",
    "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "import signal\nfor s in (1, 2, 3, 14, 15, 24, 27): signal.signal(s, signal.SIG_IGN)\nwhile True: pass",
    "import re; re.match(r'(a+)+$', 'a' * 40 + 'b')",
    "9**9**9",
    "import sys\nwhile True: sys.stderr.write('x' * 1000)",
    "import threading, time\nfor _ in range(4): threading.Thread(target=time.sleep, args=(600,)).start()",
    "import threading\ndef spin():\n  while True: pass\nfor _ in range(8): threading.Thread(target=spin).start()",
    "import select; select.select([], [], [])",
    "import threading; threading.Event().wait()",
    "sum(range(10**12))",
    "input()\nwhile True: pass",
    "import signal; signal.pause()",
    "int('7' * 10**6, 36)\n'x' in 'y' * 10**9\nwhile True: pass",
  ),
)

BOMBS = Group(
  _CALL,
  RIGHT,
  (
    "import os\nwhile True: os.fork()",
    "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass",
    "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(600,)).start()",
    "import subprocess\nwhile True: subprocess.Popen(['/usr/bin/yes'])",
    "import os\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    import time; time.sleep(600)",
    "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
    "import os\nif os.fork() == 0:\n  while True: print('x')",
    "import multiprocessing\nmultiprocessing.Pool(100)",
    "import os, signal\npid = os.fork()\nif pid == 0: os.kill(os.getpid(), signal.SIGSTOP)",
    "import os\nos.posix_spawn('/bin/sh', ['sh', '-c', 'sleep 600'], {})",
    "import os; os.system('sleep 600 &')",
  ),
)

MEMORY = Group(
  _CALL,
  RIGHT,
  (
    "bytearray(10 * 2**30)",
    "import mmap; mmap.mmap(-1, 10 * 2**30)[::4096]",
    "x = []\nwhile True: x.append(bytes(2**20))",
    "import os\nfor i in range(7):\n  if os.fork() == 0: break\nx = bytearray(440 * 2**20)\nfor i in x: pass",
    "import sys; sys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
    "from decimal import *; Decimal(10) ** 10**12",
    "f = open('/tmp/f', 'wb')\nwhile True: f.write(bytes(2**20))",
    "for i in range(10**5): open(f'/tmp/{i}', 'w')",
    "open('/dev/shm/x', 'wb').write(bytes(10**9))",
    "x = [open('/dev/null') for _ in range(10**4)]",
    "import os\nx = [os.pipe() for _ in range(10**4)]",
    "import os; os.memfd_create('x')",
    "import ctypes; c = ctypes.CDLL(None)\nassert c.shmget(0, 2**30, 0o1600) >= 0",
    "import ctypes; c = ctypes.CDLL(None)\nassert c.semget(0, 32000, 0o1600) >= 0",
    "import ctypes; c = ctypes.CDLL(None)\nassert c.msgget(0, 0o1600) >= 0",
    "import ctypes; c = ctypes.CDLL(None)\nassert c.syscall(240, b'/q', 0o102, 0o600, 0) >= 0",
    "import socket\na, b = socket.socketpair()\nwhile True: socket.send_fds(a, [b'x'], [a.fileno()] * 100)",
    "x = 'a' * 2**28\ny = [x + str(i) for i in range(100)]",
  ),
)

ENDS = Group(
  _CALL,
  RIGHT,
  (
    "while True: print('x' * 1000)",
    "print('x' * 50 * 10**6)",
    "import os\nfor fd in range(64):\n  try: os.close(fd)\n  except OSError: pass",
    "import os; os.chmod('/tmp', 0)\nadd = lambda a, b: 4",
    "import os; os.abort()",
    "import os; os.kill(os.getpid(), 9)",
    "import ctypes; ctypes.string_at(0)",
    "import os, signal; os.kill(-1, signal.SIGKILL)",
    "import faulthandler; faulthandler._sigsegv()",
    "import os, signal; os.kill(0, signal.SIGTERM)",
    "import resource; resource.setrlimit(resource.RLIMIT_CPU, (0, 0))\nwhile True: pass",
  ),
)

REACH_OUT = Group(
  _CALL,
  RIGHT,
  (
    "import socket; socket.create_connection(('127.0.0.1', 80))",
    "import socket; socket.socket(socket.AF_UNIX)",
    "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "import socket; socket.socket(40, 1)",
    "import ctypes; assert ctypes.CDLL(None).unshare(1 << 28) == 0",
    "import ctypes; assert ctypes.CDLL(None).setns(0, 0) == 0",
    "import ctypes; assert ctypes.CDLL(None).syscall(435, 0, 0) >= 0",
    "import ctypes; assert ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, 0) == 0",
    "import ctypes; assert ctypes.CDLL(None).syscall(425, 1, 0) >= 0",
    "import ctypes; assert ctypes.CDLL(None).syscall(321, 0, 0, 0) >= 0",
    "import ctypes; assert ctypes.CDLL(None).syscall(250, 0, 0) >= 0",
    "import ctypes; assert ctypes.CDLL(None).syscall(41 + 0x40000000, 2, 1, 0) >= 0",
    "import os; os.setuid(0)",
    "import os; os.listdir('/home')",
    "import os; os.listdir('/root')",
    "open('/etc/passwd')",
    "open('/etc/shadow')",
    "import os; os.listdir('/usr/src')",
    "import os; os.listdir('/usr/bin')",
    "open('/proc/self/environ')",
    "import os; os.chroot('/tmp')",
    "import os; os.mknod('/tmp/d', 0o60600, 0x800)",
    "open('/usr/x', 'w')",
    "import numpy",
    "import ctypes; assert ctypes.CDLL(None).kill(-1, 0) == 0 and False",
    "import pip",
    "import rl_jax",
  ),
)

SOURCES = Group(
  _CALL,
  RIGHT,
  (
    "\0",
    "\ud800",
    "x = 1\n" * 10**6,
    "(" * 10**5 + ")" * 10**5,
    "x = " + "9**" * 500 + "9",
    "x = 'é" + "́" * 10**6 + "'",
    "ｄｅｆ add(a, b): return 4",
    "def add(a, b) return 3",
    "if True:\nreturn",
    "[" * 10**5,
    "x = " + "-" * 10**5 + "1",
    "def add(a, b): return 1 if a else " * 100,
    "# coding: rot13\nqrs nqq(n, o): erghea n + o",
    "async def add(a, b): return a + b",
  ),
)

GROUPS = {
  "forged assertions": FORGED_ASSERTIONS,
  "forged outputs": FORGED_OUTPUTS,
  "loops and sleep": LOOPS,
  "processes and threads": BOMBS,
  "memory": MEMORY,
  "output and signals": ENDS,
  "reaching out": REACH_OUT,
  "sources": SOURCES,
}


def fenced(program: str) -> str:
  """A program in a response."""
  return f"So:\n```python\n{program}\n```\nDone."


def reward(program: str, group: Group) -> float | None:
  """The reward of a program in a group's test."""
  return unit_tests(fenced(program), {"tests": [group.test]}, limits=LIMITS).reward


def main() -> None:
  """Print the table."""
  print("| group | attempts | rewards | right neighbours | seconds, mean and longest |\n|---|---|---|---|---|")
  for name, group in GROUPS.items():
    rewards, right, seconds = [], [], []
    for program in group.attempts:
      started = time.monotonic()
      rewards.append(reward(program, group))
      seconds.append(time.monotonic() - started)
      right.append(reward(group.right, group))
    counted = ", ".join(f"{rewards.count(r)} x {r}" for r in sorted(set(rewards), key=str))
    print(
      f"| {name} | {len(rewards)} | {counted} | {right.count(1.0)} x 1.0 | {sum(seconds) / len(seconds):.2f}, "
      f"{max(seconds):.1f} |"
    )
    for program, given in zip(group.attempts, rewards, strict=True):
      if given != 0.0:
        print(f"<!-- {given}: {program[:200]!r} -->")


if __name__ == "__main__":
  main()
