"""Losses: unreduced per-token (or per-pair) values, reduced by `kernels.reductions.aggregate`."""
