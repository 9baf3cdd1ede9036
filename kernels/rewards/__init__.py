"""Reward shaping: what is added to a reward before the advantage is taken."""
