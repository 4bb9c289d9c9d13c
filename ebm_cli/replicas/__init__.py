"""Many seeds of one config in one process: their networks are evaluated as one, everything else is that of R runs;
layer 8, imported by commands.

    stack       parameters of R runs in one buffer
    network     R networks as one energy
    step        one training step of R runs
    drive       R runs in lockstep, from their start to their ends
    evaluators  processes that make the final evaluations
    support     what can be trained so

The losses of R runs are the methods' own, `methods.replicated`.
"""
