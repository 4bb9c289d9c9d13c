"""Two interleaving half circles."""

import math
from typing import final

import torch
from torch import Tensor

from ebm_cli.datasets.curve import Curve


@final
class Moons(Curve):
    """Two half circles of radius 1, (cos t, sin t) and (1 − cos t, ½ − sin t), t ~ U[0, π], blurred by a Gaussian.

    The distribution of scikit-learn's `make_moons` with the same noise, here with its exact density.

    Args:
        noise: σ > 0, data units; the gap between the moons is ½.

    Shapes: x [B, 2]. Modes: the upper moon is 0, the lower 1.

    Raises:
        ValueError: noise ≤ 0, or too narrow for the quadrature (see `Curve`).
    """

    interval = (0.0, math.pi)
    reflected_in = (0.5, 0.25)

    def __init__(self, noise: float = 0.1) -> None:
        super().__init__(noise)

    def curve(self, t: Tensor) -> Tensor:
        return torch.stack([t.cos(), t.sin()], dim=1)
