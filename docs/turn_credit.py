"""Draw the bias of turn-level group normalisation: python docs/turn_credit.py writes docs/turn_credit.json and .png.

Exact for one problem of the rooms (four cells in a row, a key beside the start, a door, the goal) and one policy that
walks east, walks west or ends the episode, in four turns at most. Estimators are compared by the gradient that they
expect over all groups of three episodes, at several rewards of the key; the rest of 1 is the goal's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from rl_jax.kernels.advantages import gigpo, igpo, mt_grpo  # noqa: E402
from rl_jax.runs import figures  # noqa: E402
from rl_jax.runs.panels import Curve, Panel  # noqa: E402
from rl_jax.runs.record import Series  # noqa: E402
from rl_jax.tasks.environments import rooms  # noqa: E402
from rl_jax.tasks.environments.enumeration import angle, every_episode, exact, expected_gradient  # noqa: E402

FILE = ROOT / "docs/turn_credit.json"
PROBLEM = {"starts": [0], "keys": [[1]], "door_rows": [[0]], "goals": [3], "doors": [1]}
TURNS = ("E.", "W.", ".")
LOGITS = (0.0, 0.0, -1.0)
"""East, west and the end of the episode, in every state: chances of 0.42, 0.42 and 0.16."""
ROWS = 3
KEY_REWARDS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
ESTIMATORS: dict[str, Callable] = {
  "MT-GRPO, skip": lambda rewards, states, ids, exists: mt_grpo(rewards, ids, exists, scale=False, absent="skip"),
  "IGPO, joint": lambda rewards, states, ids, exists: igpo(rewards, ids, exists, scale=False),
  "GiGPO, none": lambda rewards, states, ids, exists: gigpo(rewards, states, ids, exists, discount=1.0).advantages,
  "MT-GRPO, zero": lambda rewards, states, ids, exists: mt_grpo(rewards, ids, exists, scale=False),
  "GiGPO, left out": lambda rewards, states, ids, exists: (
    gigpo(rewards, states, ids, exists, discount=1.0, normalization="leave_one_out").advantages
  ),
}
"""By the option that matters; all without a std, which is one more weight."""
BIASED = tuple(ESTIMATORS)[:3]


def measured() -> dict[str, dict[str, list[float]]]:
  """Degrees from the exact gradient, and the part of a gradient of unit length that is the end at the start, by key
  reward."""
  found: dict[str, dict[str, list[float]]] = {name: {"degrees": [], "end": []} for name in (*ESTIMATORS, "exact")}
  compiled = {name: jax.jit(estimator) for name, estimator in ESTIMATORS.items()}
  for key_reward in KEY_REWARDS:
    fields = {"width": 2, "height": 1, "max_turns": 4, "key_reward": key_reward, "held_out_fraction": 0.5}
    environment = rooms.environment(fields)
    prompts = environment.prompts(jnp.zeros(1, jnp.int32), "train")
    prompts = prompts.replace(metadata={name: jnp.array(value) for name, value in PROBLEM.items()})
    symbols = environment.vocabulary.symbols
    episodes = every_episode(
      environment, prompts, [[symbols.index("<end>" if c == "." else c) for c in turn] for turn in TURNS]
    )
    logits = np.tile(LOGITS, (len(episodes.names), 1))
    truth = exact(episodes, logits).gradient
    gradients = {name: expected_gradient(episodes, logits, run, ROWS) for name, run in compiled.items()}
    for name, gradient in {**gradients, "exact": truth}.items():
      found[name]["degrees"].append(round(angle(gradient, truth), 4))
      end = gradient[episodes.states[0, 0], TURNS.index(".")] / np.linalg.norm(gradient)
      found[name]["end"].append(round(float(end), 6))
  return found


def drawn(found: dict[str, dict[str, list[float]]]) -> bytes:
  """The figure, as PNG."""
  x = np.array([round(100 * reward) for reward in KEY_REWARDS])
  across = "reward of the key, in % of all"

  def curves(quantity: str, names: Sequence[str]) -> list[Curve]:
    return [Curve(name, Series(x, np.array(found[name][quantity])[:, None]), name == "exact") for name in names]

  panels = [
    Panel("Angle to the exact gradient", "degrees", curves("degrees", tuple(ESTIMATORS)), across=across),
    Panel("Push on ending at once", "share of the gradient", curves("end", (*BIASED, "exact")), across=across),
  ]
  return figures.png(panels, "Credit of turns, where the policy may end an episode")


def main() -> int:
  """Measure, write and draw."""
  found = measured()
  FILE.write_text(json.dumps({"key_rewards": KEY_REWARDS, "estimators": found}, indent=1) + "\n")
  FILE.with_suffix(".png").write_bytes(drawn(found))
  for name, quantities in found.items():
    print(f"{name}: degrees {quantities['degrees'][0]} to {max(quantities['degrees'])}")
  return 0


if __name__ == "__main__":
  sys.exit(main())
