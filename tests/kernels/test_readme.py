"""kernels/README.md: its loop learns; `test_papers.py` compares its table."""

from __future__ import annotations

import re
from pathlib import Path

import rl_jax.kernels

README = (Path(rl_jax.kernels.__file__).parent / "README.md").read_text()


def test_the_plain_loop_learns():
  (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
  names: dict = {}
  exec(code, names)  # noqa: S102
  assert names["rewards"].mean() > 0.9
  assert not [line for line in code.splitlines() if "rl_jax" in line.replace("rl_jax.kernels", "")]
