"""Dense-reward and advantage-estimation reinforcement learning on language models, in JAX."""

import os

__version__ = "0.1.0"

for _link in ("kernels", "experiments"):
  if not os.path.isdir(os.path.join(os.path.dirname(__file__), _link)):
    raise ImportError(
      f"rl_jax/{_link} is a link to the folder {_link}, which was checked out as a text file: "
      "git config core.symlinks true, then git checkout -- rl_jax; or install the wheel"
    )

from rl_jax.launching import interrupts  # noqa: E402, after what says why an import would fail

interrupts.watch_command()
