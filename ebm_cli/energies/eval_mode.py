"""Evaluation mode for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(energy: nn.Module) -> Iterator[None]:
    """Put a module into eval mode inside the block, and back into its former mode after it, also after an exception.

    Batch statistics, dropout and the power iterations of a spectral norm belong to training: in eval mode a chain sees
    one function at all its steps, and an evaluation changes no buffer.
    """
    was_training = energy.training
    energy.eval()
    try:
        yield
    finally:
        energy.train(was_training)
