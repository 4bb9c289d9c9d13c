"""A density of coordinates that a monotone map of each has transformed."""

import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.densities.differentials import Differentials
from ebm_cli.densities.monotone import Monotone


class Transformed(Density):
    """q(x) = r(T(x)) Π_i T_i′(x_i): a density r of transformed coordinates.

    Args:
        density: r.
        marginals: T.

    Shapes: x [B, *shape].
    """

    def __init__(self, density: Density, marginals: Monotone) -> None:
        super().__init__()
        self.shape = density.shape
        self.density = density
        self.marginals = marginals

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        y = self.density.sample(n, rng)
        x: Tensor = self.marginals.inverse(y.flatten(1)).view(len(y), *self.shape)
        return x

    def log_prob(self, x: Tensor) -> Tensor:
        y, log_slope = self.marginals.forward(x.flatten(1))
        return self.density.log_prob(y.view(x.shape)) + log_slope.sum(1)

    def differentials(self, x: Tensor, v: Tensor | None = None) -> Differentials:
        with torch.no_grad():
            bend = self.marginals.bend(x.flatten(1))
            slope = bend.log_slope.exp()
            flat = None if v is None else v.flatten(2)
            u = None if v is None or flat is None else (slope * flat).view(len(v), *x.shape)
            inner = self.density.differentials(bend.value.view(x.shape), u)
            pulled = slope * inner.gradient.flatten(1)
            second = None
            if inner.second is not None and flat is not None:
                # T″ = T′ (log T′)′.
                bent = pulled * bend.first + bend.second
                second = inner.second + (flat.square().sum(0) * bent).sum(1)
            return Differentials(inner.value + bend.log_slope.sum(1), (pulled + bend.first).view_as(x), second)
