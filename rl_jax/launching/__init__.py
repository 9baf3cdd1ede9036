"""One run from start to end: directory, initialization, processes, signals, and the record of a run."""
