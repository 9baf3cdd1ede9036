"""PDR."""

from __future__ import annotations

from rl_jax.kernels.losses import mixture
from rl_jax.kernels.search import refinement
from tests.kernels.kernel import Kernel

COUNTS = lambda rng, shape: rng.integers(1, 50, shape).astype("int32")
FLAGS = lambda rng, shape: rng.random(shape) < 0.5
DRAWS = {
  "inputs": COUNTS,
  "outputs": COUNTS,
  "prompt_lengths": COUNTS,
  "draft_lengths": COUNTS,
  "artefact_lengths": COUNTS,
  "accepted": FLAGS,
  "refined": FLAGS,
  "slots": lambda rng, shape: rng.integers(0, 4, shape).astype("int32"),
}
CALLS = {"inputs": "BS", "outputs": "BS", "accepted": "BS", "mask": "BS"}
LENGTHS = {"prompt_lengths": "B", "draft_lengths": "B", "artefact_lengths": "B"}
DRAFTS = {"tokens": "BST", "mask": "BST", "slots": "BK", "slot_mask": "BK"}
POLICY = {"logprobs": "BT", "old_logprobs": "BT", "advantages": "BT", "correct": "B", "mask": "BT"}

KERNELS = [
  Kernel(refinement.token_budget, CALLS, draws=DRAWS),
  Kernel(refinement.refinement_calls, LENGTHS, {"widths": (3, 2), "cap": 60}, mask=None, draws=DRAWS),
  Kernel(refinement.top_drafts, {"scores": "BS", "mask": "BS"}),
  Kernel(refinement.join_drafts, DRAFTS, {"cap": 7}, draws=DRAWS),
  Kernel(refinement.join_drafts, DRAFTS, {"cap": 7, "room": "equal"}, draws=DRAWS),
  Kernel(mixture.cispo_with_imitation, POLICY, gradients=("logprobs",)),
  Kernel(mixture.pdr_loss, POLICY | {"refined": "B"}, gradients=("logprobs",), draws=DRAWS),
]
