"""Metric groups of the evaluation, one file a word of `metrics`: each returns its results for a `Context`; layer 5,
imported by layers 6 and above."""
