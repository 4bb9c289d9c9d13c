"""The swiss roll seen from its end, one spiral."""

import math
from typing import final

import torch
from torch import Tensor

from ebm_cli.datasets.curve import Curve


@final
class SwissRoll(Curve):
    """c(t) = t (cos t, sin t) / 5, t ~ U[3π/2, 9π/2], blurred: a spiral from radius 0.94 to 2.83.

    Two of the three coordinates of scikit-learn's `make_swiss_roll(noise=1)`, divided by 5 (FFJORD's scale).

    Args:
        noise: σ > 0, data units; the roll's layers are 2π/5 apart.

    Shapes: x [B, 2]. One mode.

    Raises:
        ValueError: noise ≤ 0, or too narrow for the quadrature (see `Curve`).
    """

    interval = (1.5 * math.pi, 4.5 * math.pi)

    def __init__(self, noise: float = 0.2) -> None:
        super().__init__(noise)

    def curve(self, t: Tensor) -> Tensor:
        return torch.stack([t * t.cos(), t * t.sin()], dim=1) / 5.0
