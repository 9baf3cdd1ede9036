"""Token logprobs and entropies: the one function for policy, old and reference."""

from rl_jax.kernels.logprobs.api import LinearLogprobs as LinearLogprobs
from rl_jax.kernels.logprobs.api import linear_logprobs as linear_logprobs
from rl_jax.kernels.logprobs.recomputed import Placement as Placement
from rl_jax.kernels.logprobs.reference import TokenLogprobs as TokenLogprobs
from rl_jax.kernels.logprobs.reference import align as align
from rl_jax.kernels.logprobs.reference import categorical as categorical
from rl_jax.kernels.logprobs.reference import token_logprobs as token_logprobs
