"""How exact the products of float32 matrices are in a training step, on devices that have a faster kind.

    highest   float32
    high      TF32: factors with 10 bits of mantissa, sums in float32
    medium    bf16: factors with 7 bits, sums in float32; TF32 where there is no bf16

What is not a product (activations, losses, the optimizer) stays float32, and so do the weights. Not autocast: it would
round what the derivative rules carry between layers, of which second derivatives take differences. Only steps are
affected: what a model is measured by is computed in full.
"""

from contextlib import AbstractContextManager
from typing import Literal

import torch

Precision = Literal["highest", "high", "medium"]


class Products(AbstractContextManager[None]):
    """Inside, float32 products are as exact as this; behind it, as exact as they can be.

    Args:
        precision: see above.
    """

    def __init__(self, precision: Precision) -> None:
        self._precision = precision

    def __enter__(self) -> None:
        torch.set_float32_matmul_precision(self._precision)

    def __exit__(self, *_: object) -> None:
        torch.set_float32_matmul_precision("highest")
