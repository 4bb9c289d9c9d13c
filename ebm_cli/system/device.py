"""The device, and deterministic algorithms on it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ebm_cli.errors import UserError

DRIVER = Path("/proc/driver/nvidia/version")
"""File of the NVIDIA driver, whose first line has its version."""


def device_of(name: str) -> torch.device:
    """The device of this name; `auto` is CUDA where it is available, then MPS, then the CPU.

    Raises:
        UserError: a device that is not available.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    if not available[name]:
        raise UserError(f"device={name} is not available on this machine; try device=auto, or device=cpu")
    return torch.device(name)


def fix_workspace() -> None:
    """Give cuBLAS the workspace with which its products are reproducible; before CUDA is initialised."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def set_deterministic(deterministic: bool) -> None:
    """Make torch refuse operations that are not reproducible, or allow them; to be called before CUDA is initialised.

    On a GPU the products of cuBLAS are reproducible only with a workspace of a fixed size, which cuBLAS reads from the
    environment when it is initialised; without it torch refuses them. A size that the user has set is kept.
    """
    if deterministic:
        fix_workspace()
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        # Only where it changes something: the call imports TorchDynamo.
        torch.use_deterministic_algorithms(deterministic)


@contextmanager
def deterministic() -> Iterator[None]:
    """Refuse operations that are not reproducible inside the block; `fix_workspace` comes before."""
    before = torch.are_deterministic_algorithms_enabled()
    set_deterministic(True)
    try:
        yield
    finally:
        set_deterministic(before)


def driver_version(file: Path = DRIVER) -> str | None:
    """Version of the NVIDIA driver of this machine; None where its file is not there."""
    try:
        words = file.read_text().splitlines()[0].split()
    except (OSError, IndexError):
        return None
    return next((word for word in words if word[0].isdigit()), None)
