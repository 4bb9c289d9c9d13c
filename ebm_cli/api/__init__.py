"""The verbs and trained models as Python functions, for notebooks and scripts; layer 10, imported by `ebm_cli` alone.

`ebm_cli.load`, `compose`, `train`, `evaluate`: arrays go in and come out in the data's own units, and nothing of the
caller's process is changed.
"""
