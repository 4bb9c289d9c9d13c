"""An invertible map of points with a cheap Jacobian: the layers of a flow.

Affine couplings that move the two halves of a point in turn; in one dimension, where there is no second half, a
monotone spline.
"""

import torch
from torch import Tensor, nn

from ebm_cli.densities.affine_coupling import Coupling
from ebm_cli.densities.spline import Spline


class Bijection(nn.ModuleList):
    """T: R^D → R^D, at first the identity.

    Args:
        size: D ≥ 1.
        n_couplings: number of couplings, ≥ 2; for D = 1 one spline takes their place.
        width: hidden units of each coupling's network of two hidden layers, ≥ 1; for D = 1 the bins of the spline.

    Shapes: points [B, D], log-determinants [B].  Cost: the same in both directions.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(self, size: int, n_couplings: int, width: int) -> None:
        if n_couplings < 2:
            raise ValueError(f"n_couplings must be >= 2, got {n_couplings}")
        if width < 1:
            raise ValueError(f"width must be >= 1, got {width}")
        super().__init__(
            [Spline(width)] if size == 1 else [Coupling(size, width, flip=bool(i % 2)) for i in range(n_couplings)]
        )

    def push(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """T(z), and log|det ∂T/∂z|."""
        terms = []
        for layer in self:
            z, term = layer(z)
            terms.append(term)
        return z, torch.cat(terms, 1).sum(1)

    def pull(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """T⁻¹(x), and log|det ∂T⁻¹/∂x|."""
        terms = []
        for layer in reversed(self):
            x, term = layer(x, inverse=True)
            terms.append(term)
        return x, torch.cat(terms, 1).sum(1)
