"""Dense-reward and advantage-estimation reinforcement learning on language models, in JAX."""

import os
import signal
import sys

__version__ = "0.1.0"

for _link in ("kernels", "experiments"):
  if not os.path.isdir(os.path.join(os.path.dirname(__file__), _link)):
    raise ImportError(
      f"rl_jax/{_link} is a link to the folder {_link}, which was checked out as a text file: "
      "git config core.symlinks true, then git checkout -- rl_jax; or install the wheel"
    )

if sys.argv[0] == "-m" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
  # `python -m rl_jax.X` has seconds of imports before it: Ctrl-C in them is no traceback. Commands take it back.
  signal.signal(signal.SIGINT, signal.SIG_DFL)
