"""Precision of float32 products: of matrices and of convolutions, on devices that have a faster kind.

    highest   float32
    high      TF32: factors with 10 bits of mantissa, sums in float32
    medium    bf16: factors with 7 bits, sums in float32; TF32 for convolutions, and on devices without bf16

Only training steps take less than the highest: evaluations (log Z, integrals, acceptance rates, samples) use full
precision, whatever the process was set to. That has to be said to torch, which by itself takes TF32 for convolutions on
a GPU, and in some containers (TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1) for matrices, too.

Everything but products (activations, losses, the optimizer) stays float32, and so do the weights. Autocast is not used,
and that of a caller is off inside: it would round what the derivative rules carry between layers, of which second
derivatives take differences.
"""

from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple

import torch

Precision = Literal["highest", "high", "medium"]

AUTOCAST = ("cpu", "cuda")
"""Kinds of devices on which a caller may have turned autocast on."""
_BACKENDS: Any = torch.backends
_HAS_PARTS = hasattr(torch.backends.cudnn, "conv")
"""From torch 2.9 on the switches have parts that a caller may set apart: torch has no word for them all then."""
_PRODUCTS: tuple[Any, ...] = (_BACKENDS.cuda.matmul, _BACKENDS.mkldnn.matmul) if _HAS_PARTS else ()
_CONVOLUTIONS: tuple[Any, ...] = (_BACKENDS.cudnn.conv, _BACKENDS.cudnn.rnn) if _HAS_PARTS else ()

Setting = str | tuple[str, ...]
"""The word for a switch, or that of each of its parts."""


class Recorded(NamedTuple):
    """The state of the switches, as torch records it.

    Args:
        products: of matrices: highest, high or medium.
        convolutions: of cuDNN: tf32 or float32; None where it was not asked.
        autocast: kinds of devices on which it is on.
    """

    products: Setting
    convolutions: Setting | None
    autocast: tuple[str, ...]


def recorded(with_convolutions: bool = True) -> Recorded:
    """The present state of the switches."""
    convolutions = _convolutions() if with_convolutions else None
    return Recorded(_products(), convolutions, tuple([kind for kind in AUTOCAST if torch.is_autocast_enabled(kind)]))


class ProductPrecision(AbstractContextManager[None]):
    """Context in which float32 products have this precision, without autocast; afterwards all is as it was before.

    Args:
        precision: see the module.
        device: that computes: only CUDA has switches for convolutions; None for any.

    Contexts may be nested, one in itself, too.
    """

    def __init__(self, precision: Precision = "highest", device: torch.device | None = None) -> None:
        self._inside = _meaning(precision, device is None or device.type == "cuda")
        self._before: list[Recorded] = []

    def __enter__(self) -> None:
        before = recorded(self._inside.convolutions is not None)
        self._before.append(before)
        _switch(before, self._inside)

    def __exit__(self, *_: object) -> None:
        _switch(self._inside, self._before.pop())


def use_full_precision() -> None:
    """Have this process compute in full precision from here on, wherever nothing else is said."""
    _switch(recorded(), _meaning("highest", with_convolutions=True))


def _meaning(precision: Precision, with_convolutions: bool) -> Recorded:
    convolutions = "float32" if precision == "highest" else "tf32"
    return Recorded(precision, convolutions if with_convolutions else None, ())


def _switch(before: Recorded, after: Recorded) -> None:
    """Set what differs: a step should not pay for switches that stay."""
    if before.products != after.products:
        _set_products(after.products)
    if before.convolutions != after.convolutions and after.convolutions is not None:
        _set_convolutions(after.convolutions)
    for kind in AUTOCAST if before.autocast != after.autocast else ():
        torch.set_autocast_enabled(kind, kind in after.autocast)


def _products() -> Setting:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return tuple(str(part.fp32_precision) for part in _PRODUCTS)


def _set_products(value: Setting) -> None:
    torch.set_float32_matmul_precision(value if isinstance(value, str) else "highest")
    _set_apart(_PRODUCTS, value)


def _convolutions() -> Setting:
    try:
        return "tf32" if torch.backends.cudnn.allow_tf32 else "float32"
    except RuntimeError:
        return tuple(str(part.fp32_precision) for part in _CONVOLUTIONS)


def _set_convolutions(value: Setting) -> None:
    torch.backends.cudnn.allow_tf32 = value == "tf32"
    _set_apart(_CONVOLUTIONS, value)


def _set_apart(parts: tuple[Any, ...], value: Setting) -> None:
    for part, each in zip(parts, value, strict=True) if isinstance(value, tuple) else ():
        part.fp32_precision = each
