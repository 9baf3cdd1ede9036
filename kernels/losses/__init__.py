"""Losses: unreduced per-token (or per-pair) values, reduced by `reductions.aggregate`."""
