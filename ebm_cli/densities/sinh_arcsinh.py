"""A monotone map of each coordinate that makes skewed or heavy-tailed marginals normal.

    T(x) = sinh(δ asinh(w) − ε),    w = (x − ξ) / η

δ < 1 draws heavy tails in, δ > 1 stretches light ones, ε takes out skew; δ = 1, ε = 0 is linear. If T(x) is standard
normal, x has the sinh-arcsinh distribution of Jones & Pewsey (2009), "Sinh-arcsinh distributions", eq. 2.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ebm_cli.densities.base import Density
from ebm_cli.densities.differentials import Differentials


class Bend(NamedTuple):
    """T(x), log T′(x), and the first and second derivatives of log T′, each [B, D]."""

    value: Tensor
    log_slope: Tensor
    first: Tensor
    second: Tensor


class SinhArcsinh(nn.Module):
    """T, coordinate by coordinate; it starts as the identity. Points are flat, [B, D].

    Args:
        size: D.
    """

    centre: Tensor
    scale: Tensor
    skew: Tensor
    tail: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        zero, one = torch.zeros(size), torch.ones(size)
        self.take(zero, one, zero, one, zero)

    def take(self, centre: Tensor, scale: Tensor, skew: Tensor, tail: Tensor, like: Tensor) -> None:
        """Take other parameters ξ, η > 0, ε, δ > 0, [D] each, stored with dtype and device of `like`."""
        for name, value in {"centre": centre, "scale": scale, "skew": skew, "tail": tail}.items():
            self.register_buffer(name, value.to(like, copy=True))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute T(x) and log T′(x), both [B, D]."""
        return sinh_arcsinh(x, self.centre, self.scale, self.skew, self.tail)

    def inverse(self, y: Tensor) -> Tensor:
        """T⁻¹(y) = ξ + η sinh((asinh y + ε) / δ)."""
        w = ((y.asinh() + self.skew) / self.tail).sinh()
        return torch.addcmul(self.centre, self.scale, w)

    def bend(self, x: Tensor) -> Bend:
        """Compute T and three of its derivatives."""
        value, log_slope = self.forward(x)
        w = (x - self.centre) / self.scale
        square = 1 + w.square()
        tanh, rate = (self.tail * w.asinh() - self.skew).tanh(), self.tail * square.rsqrt()
        # (log √(1 + w²))′, whose own derivative is 1/(1 + w²)² less its square.
        pull, turn = w / square, tanh * rate
        first = turn - pull
        second = (rate + turn) * (rate - turn) - turn * pull - square.square().reciprocal() + pull.square()
        return Bend(value, log_slope, first / self.scale, second / self.scale.square())


def sinh_arcsinh(x: Tensor, centre: Tensor, scale: Tensor, skew: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
    """T(x) and log T′(x) = log cosh u + log δ − log η − ½ log(1 + w²), u = δ asinh(w) − ε."""
    w = (x - centre) / scale
    u = tail * w.asinh() - skew
    # |u|: the second derivative of abs() would import torch's compiler, a second of CPU.
    size = torch.maximum(u, -u)
    log_cosh = size + (-2 * size).exp().log1p() - math.log(2)
    # hypot does not overflow where w² would.
    return u.sinh(), log_cosh + (tail / scale).log() - torch.hypot(w, torch.ones_like(w)).log()


class Transformed(Density):
    """q(x) = r(T(x)) Π_i T_i′(x_i): a density r of transformed coordinates.

    Args:
        density: r.
        marginals: T.

    Shapes: x [B, *shape].
    """

    def __init__(self, density: Density, marginals: SinhArcsinh) -> None:
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
