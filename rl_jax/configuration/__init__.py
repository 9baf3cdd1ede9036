"""Experiment configs: reading, resolving and overriding; loading of a user's own Python parts."""
