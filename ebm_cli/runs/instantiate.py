"""Seeded and size-limited instantiation of the modules of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from ebm_cli.datasets import Dataset
from ebm_cli.energies import Energy
from ebm_cli.methods import Method
from ebm_cli.rng import generator
from ebm_cli.system.memory import format_bytes, max_array_bytes

MOST_TENSORS = 20_000
"""Parameters' tensors of a model and its method; a network of a thousand layers has 2,000."""


@dataclass(frozen=True)
class Parts:
    """What a config describes, on its device."""

    dataset: Dataset
    energy: Energy
    method: Method


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Modules draw initial weights from torch's global generator: seeded inside the block, restored after it."""
    with torch.random.fork_rng(devices=[]), bounded():
        torch.manual_seed(generator(seed, name, torch.device("cpu")).initial_seed())
        yield


@contextmanager
def bounded(most: int | None = None) -> Iterator[None]:
    """Refuse a network as it is made, once it has layers without an end, or more parameters than there is room for.

    Args:
        most: bytes of all parameters; None for what memory has room for.
    """
    n_tensors, n_bytes = 0, 0
    most = max_array_bytes() if most is None else most

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal n_tensors, n_bytes
        n_tensors, n_bytes = n_tensors + 1, n_bytes + (0 if parameter is None else parameter.nbytes)
        if n_tensors > MOST_TENSORS:
            raise ValueError(f"more than {MOST_TENSORS:,} layers' weights and biases: more than anybody can train")
        if n_bytes > most:
            raise ValueError(f"more than {format_bytes(most)} of parameters, which is all that there is room for")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
