"""The device, the number of CPU threads and deterministic algorithms."""

import os

import torch
from torch import nn

from ebm_cli.errors import UserError

SMALL_NETWORK = 1_000_000
"""Parameters below which `threads=auto` is 1: on a small network a second thread costs more than it saves."""
ALL_THREADS = torch.get_num_threads()
"""The number of threads that torch chooses: a job of a sweep does not inherit the choice of the job before it."""


def device_of(name: str) -> torch.device:
    """The device of this name; `auto` is CUDA where it is available, then MPS, then the CPU.

    Raises:
        UserError: a device that is not available.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    if not available[name]:
        raise UserError(f"device={name} is not available on this machine; try device=auto")
    return torch.device(name)


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


def set_deterministic(deterministic: bool) -> None:
    """Make torch refuse operations that are not reproducible, or allow them; to be called before CUDA is initialised.

    On a GPU the products of cuBLAS are reproducible only with a workspace of a fixed size, which cuBLAS reads from the
    environment when it is initialised; without it torch refuses them. A size that the user has set is kept.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        # Only where it changes something: the call imports TorchDynamo.
        torch.use_deterministic_algorithms(deterministic)
