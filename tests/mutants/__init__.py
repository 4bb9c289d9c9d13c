"""Mutation testing: a seeded sample of small changes to the formulas, each of which must make a test fail.

`make mutants` runs it; it is not part of the tests. `__main__` is the place to start reading.
"""
