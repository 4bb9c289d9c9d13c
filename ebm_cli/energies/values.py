"""Energies of a training step, whose gradient is taken in the parameters alone."""

from collections.abc import Callable

from torch import Tensor


def values(energy: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """f(x) [B] at points [B, *D], for one gradient in the parameters and none in x.

    An energy that carries native code (`energy.native_values`) is evaluated there if that code supports it, and in
    torch otherwise.
    """
    native = getattr(energy, "native_values", None)
    found: Tensor | None = None if native is None else native(energy, x)
    return energy(x) if found is None else found
