"""Precision of float32 matrix products in a training step, on devices that have a faster kind.

    highest   float32
    high      TF32: factors with 10 bits of mantissa, sums in float32
    medium    bf16: factors with 7 bits, sums in float32; TF32 on devices without bf16

Everything else (activations, losses, the optimizer) stays float32, and so do the weights. Autocast is not used: it
would round what the derivative rules carry between layers, of which second derivatives take differences. Only training
steps are affected: evaluations use full precision.
"""

from contextlib import AbstractContextManager
from typing import Literal

import torch

Precision = Literal["highest", "high", "medium"]


class MatmulPrecision(AbstractContextManager[None]):
    """Context in which float32 products have this precision; outside they have the highest.

    Args:
        precision: see above.
    """

    def __init__(self, precision: Precision) -> None:
        self._precision = precision

    def __enter__(self) -> None:
        torch.set_float32_matmul_precision(self._precision)

    def __exit__(self, *_: object) -> None:
        torch.set_float32_matmul_precision("highest")
