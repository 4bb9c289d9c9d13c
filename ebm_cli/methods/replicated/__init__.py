"""Losses of several runs of a method, computed together: one file a method, of its name; layer 4, imported by replicas.

A method names its own in `Method.replicated`. Points of all runs are one batch, R blocks of B rows, and the energy
knows which block is whose (`derivatives.stacked`).
"""

from ebm_cli.methods.replicated.base import Losses, Replicated

__all__ = ["Losses", "Replicated"]
