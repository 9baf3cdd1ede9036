"""Benchmarks: commands that print times beside named peers and bounds measured in the same run."""
