"""A run from start to end: directory, initialisation, processes, signals and record."""
