"""A function of points as an energy: what a user writes, without a base class of ours."""

from collections.abc import Callable

import torch
from torch import Tensor

from ebm_cli.densities import Density
from ebm_cli.energies.base import Energy


class Given(Energy):
    """f(x) of a callable; of a `Density` f(x) = −log p(x), with log Z = 0.

    Args:
        function: [B, *shape] → [B], nats; a module is moved with this one.
        shape: shape of one point.

    Shapes: x [B, *shape] → [B].
    """

    def __init__(self, function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return -self.function.log_prob(x) if isinstance(self.function, Density) else self.function(x)

    def log_z(self) -> Tensor | None:
        return torch.zeros(()) if isinstance(self.function, Density) else None
