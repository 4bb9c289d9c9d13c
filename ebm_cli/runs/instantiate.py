"""Seeded and size-limited instantiation of the modules of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from ebm_cli.datasets import Dataset
from ebm_cli.energies import Energy
from ebm_cli.methods import Method, Polish
from ebm_cli.rng import generator
from ebm_cli.system.memory import format_bytes, max_array_bytes

MAX_TENSORS = 20_000
"""Parameter tensors of a model and its method, at most; a network of a thousand layers has 2,000."""


@dataclass(frozen=True)
class Parts:
    """The parts of a run that its config describes, on their device; and remarks on runs that were loaded for them.

    `polish` is the second phase of its training; None without, and for a loaded run that had not begun it.
    """

    dataset: Dataset
    energy: Energy
    method: Method
    remarks: tuple[str, ...] = ()
    polish: Polish | None = None


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Seed torch's global generator, from which modules draw initial weights, inside the block; restore it after."""
    with torch.random.fork_rng(devices=[]), size_limited():
        torch.manual_seed(generator(seed, name, torch.device("cpu")).initial_seed())
        yield


@contextmanager
def size_limited(max_bytes: int | None = None) -> Iterator[None]:
    """Refuse a network while it is built, once it has too many layers or more parameters than memory can hold.

    Args:
        max_bytes: of all parameters; None for `max_array_bytes`.
    """
    n_tensors, n_bytes = 0, 0
    limit = max_array_bytes() if max_bytes is None else max_bytes

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal n_tensors, n_bytes
        n_tensors, n_bytes = n_tensors + 1, n_bytes + (0 if parameter is None else parameter.nbytes)
        if n_tensors > MAX_TENSORS:
            raise ValueError(f"the network has more than {MAX_TENSORS:,} weight and bias tensors; make it smaller")
        if n_bytes > limit:
            raise ValueError(f"the network has more than {format_bytes(limit)} of parameters, which is the limit")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
