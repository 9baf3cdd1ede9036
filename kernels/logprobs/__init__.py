"""Token logprobs and entropies: the one function for policy, old and reference."""

from kernels.logprobs.api import LinearLogprobs as LinearLogprobs
from kernels.logprobs.api import linear_logprobs as linear_logprobs
from kernels.logprobs.recomputed import Placement as Placement
from kernels.logprobs.reference import TokenLogprobs as TokenLogprobs
from kernels.logprobs.reference import align as align
from kernels.logprobs.reference import categorical as categorical
from kernels.logprobs.reference import token_logprobs as token_logprobs
