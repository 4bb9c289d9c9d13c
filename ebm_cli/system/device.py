"""The device, the number of CPU threads and deterministic algorithms."""

import os

import torch
from torch import nn

from ebm_cli.errors import UserError

SMALL = 1_000_000
"""Parameters below which `threads=auto` is 1: two threads on a small network cost more than they bring."""
ALL_THREADS = torch.get_num_threads()
"""What torch chooses by itself: a job of a sweep does not inherit the choice of the one before it."""


def device_of(name: str) -> torch.device:
    """`auto` is CUDA where there is one, then MPS, then the CPU.

    Raises:
        UserError: a device that is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    if not available[name]:
        raise UserError(f"device={name}: there is none on this machine; try device=auto")
    return torch.device(name)


def set_threads(threads: int | str, energy: nn.Module | None = None) -> int:
    """Set the number of CPU threads; `auto` is a fixed rule on the network's size. Returns what it is now.

    Without an energy, for putting one together, `auto` is 1: drawing rows and fitting to them is work of milliseconds,
    of which threads that wait for each other make tenths of a second.
    """
    if isinstance(threads, int):
        torch.set_num_threads(threads)
    else:
        small = energy is None or sum(p.numel() for p in energy.parameters()) < SMALL
        torch.set_num_threads(1 if small else ALL_THREADS)
    return torch.get_num_threads()


def set_deterministic(deterministic: bool) -> None:
    """Refuse operations that are not reproducible, where asked to; comes before CUDA starts.

    On a GPU the products of cuBLAS are reproducible with a workspace of a fixed size alone, which it takes from the
    environment when it starts; PyTorch refuses them without. A size that the user has chosen is left.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        # Not for nothing: it imports the compiler, to tell it too.
        torch.use_deterministic_algorithms(deterministic)
