"""Energies of a training step, whose gradient is taken in the parameters alone."""

from collections.abc import Callable
from typing import Any

from torch import Tensor


def values(energy: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """f(x) [B] at points [B, *D], for one gradient in the parameters and none in x.

    An energy that carries native code (`energy.native_values`) is evaluated there if that code supports it, and in
    torch otherwise.
    """
    native = native_evaluation(energy, x)
    found: Tensor = energy(x) if native is None else native.differentiable()
    return found


def native_evaluation(energy: Callable[[Tensor], Tensor], x: Tensor) -> Any:
    """The energies at points [B, *D] with their gradient in the parameters (`acceleration.native_values`), or None."""
    native = getattr(energy, "native_values", None)
    return None if native is None else native.evaluate(energy, x)
