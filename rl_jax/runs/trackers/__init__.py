"""Trackers: programs that show the metrics of many runs, each written by a small module of its own."""
