"""The number of CPU threads."""

import torch
from torch import nn

SMALL_NETWORK = 1_000_000
"""Parameters below which `threads=auto` is 1: on a small network a second thread costs more than it saves."""
ALL_THREADS = torch.get_num_threads()
"""Torch's own choice, read at import: a job of a sweep does not inherit what an earlier job set."""


def set_threads(threads: int | str, energy: nn.Module | None = None) -> int:
    """Set the number of CPU threads, and return it; `auto` is a fixed rule on the size of the network.

    Without an energy, while one is being built, `auto` is 1: drawing rows and fitting to them takes milliseconds, to
    which threads that wait for each other would add tenths of a second.
    """
    if isinstance(threads, int):
        torch.set_num_threads(threads)
    else:
        small = energy is None or sum(p.numel() for p in energy.parameters()) < SMALL_NETWORK
        torch.set_num_threads(1 if small else ALL_THREADS)
    return torch.get_num_threads()
