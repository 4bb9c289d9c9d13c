"""A monotone map of each coordinate that makes skewed or heavy-tailed marginals normal.

    T(x) = sinh(δ asinh(w) − ε),    w = (x − ξ) / η

δ < 1 draws heavy tails in, δ > 1 stretches light ones, ε takes out skew; δ = 1, ε = 0 is linear. If T(x) is standard
normal, x has the sinh-arcsinh distribution of Jones & Pewsey (2009), "Sinh-arcsinh distributions", eq. 2.
"""

import math

import torch
from torch import Tensor

from ebm_cli.densities.monotone import Bend, Monotone


class SinhArcsinh(Monotone):
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

    def rescale(self, centre: Tensor, scale: Tensor, like: Tensor) -> None:
        self.take(centre + scale * self.centre, scale * self.scale, self.skew, self.tail, like)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return sinh_arcsinh(x, self.centre, self.scale, self.skew, self.tail)

    def inverse(self, y: Tensor) -> Tensor:
        """T⁻¹(y) = ξ + η sinh((asinh y + ε) / δ)."""
        w = ((y.asinh() + self.skew) / self.tail).sinh()
        return torch.addcmul(self.centre, self.scale, w)

    def bend(self, x: Tensor) -> Bend:
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
