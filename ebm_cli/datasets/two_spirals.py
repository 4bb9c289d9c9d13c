"""Two interleaved Archimedean spirals."""

import math
from typing import final

import torch
from torch import Tensor

from ebm_cli.datasets.curve import Curve


@final
class TwoSpirals(Curve):
    """The arm c(t) = t (−cos t, sin t) / 3 for t up to 3π (one and a half turns, radius π) and −c(t), blurred.

    t = 3π √U is uniform over the disc's area, and therefore nearly uniform along the arm. The scale is that of FFJORD
    (Grathwohl et al., 2019); its uniform jitter of 1/6 data units is left out, because it has no closed form.

    Args:
        noise: σ > 0, data units; neighbouring arms are π/3 apart.

    Shapes: x [B, 2]. Modes: the two arms.

    Raises:
        ValueError: noise ≤ 0, or too narrow for the quadrature (see `Curve`).
    """

    interval = (0.0, 3.0 * math.pi)
    power = 1
    reflected_in = (0.0, 0.0)

    def __init__(self, noise: float = 0.1) -> None:
        super().__init__(noise)

    def curve(self, t: Tensor) -> Tensor:
        return torch.stack([-t * t.cos(), t * t.sin()], dim=1) / 3.0
