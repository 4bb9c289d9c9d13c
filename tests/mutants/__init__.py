"""Mutation testing: a seeded sample of small changes to the formulas, each of which must make a test fail.

`make mutants`; not part of the tests. Start with `__main__`.
"""
