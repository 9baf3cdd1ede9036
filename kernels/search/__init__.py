"""Test-time search: selection of partial responses and drafts to continue, and its cost."""

from rl_jax.kernels.search.beam import Beam, beam_select
from rl_jax.kernels.search.refinement import (
  Budget,
  Calls,
  Selection,
  Workspace,
  join_drafts,
  refinement_calls,
  token_budget,
  top_drafts,
)

__all__ = [
  "Beam",
  "Budget",
  "Calls",
  "Selection",
  "Workspace",
  "beam_select",
  "join_drafts",
  "refinement_calls",
  "token_budget",
  "top_drafts",
]
