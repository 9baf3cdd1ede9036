"""Experiment configs: reading, resolving, overriding; loading of a user's own Python parts."""
