"""A spiral arm whose noise varies, a thick shell, and counts that were dequantised."""

import math
from typing import final

import torch
from torch import Tensor

from ebm_cli.datasets.gaussian_sums import GaussianSum, gauss_legendre, log_sum_exp, table_in_chunks
from ebm_cli.datasets.table_suite.distributions import JohnsonSU, Normal
from ebm_cli.datasets.table_suite.exact import Exact


@final
class SpiralArm(Exact):
    """x = r(t)(cos φ(t), sin φ(t)) + σ(t) ε,  t = √u ∈ [0, 1],  r = 0.4 + 3.2 t,  φ = 3π t,  σ = 0.28 − 0.2 t.

    p(x) = ∫ 2t N(x; c(t), σ(t)² I) dt by 600 Gauss–Legendre nodes, at most a σ apart.

    Shapes: x [B, 2]. One mode.
    """

    def __init__(self) -> None:
        super().__init__((2,))
        t, w = gauss_legendre(0.0, 1.0, 600)
        self.gaussians = GaussianSum(self._curve(t), self._noise(t)[:, None], 2.0 * t * w, 1)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        t = self.uniform(n, rng).sqrt()
        return self._curve(t) + self._noise(t)[:, None] * self.normal(n, rng)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.gaussians.log_prob(x)

    @staticmethod
    def _curve(t: Tensor) -> Tensor:
        angle = 3.0 * math.pi * t
        return (0.4 + 3.2 * t)[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)

    @staticmethod
    def _noise(t: Tensor) -> Tensor:
        return 0.28 - 0.2 * t


@final
class Shell(Exact):
    """A thick shell in space, denser above than below.

    x = r ω,  log r ~ N(0, s²),  ω on the sphere with density (1 + a ω₃)/(4π):

        log p(x) = log N(log r; 0, s²) − 3 log r + log(1 + a x₃/r) − log 4π

    Args:
        thickness: s > 0.
        tilt: a in (0, 1).

    Shapes: x [B, 3]. One mode.
    """

    def __init__(self, thickness: float = 0.12, tilt: float = 0.7) -> None:
        super().__init__((3,))
        self.thickness, self.tilt = thickness, tilt

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        # (1 + a c)/2 has the distribution function ½(c + 1) + ¼ a(c² − 1), which is solved for c.
        a, u, angle = self.tilt, self.uniform(n, rng), 2.0 * math.pi * self.uniform(n, rng)
        c = (((1.0 - a) ** 2 + 4.0 * a * u).sqrt() - 1.0) / a
        flat = (1.0 - c.square()).clamp(min=0.0).sqrt()
        direction = torch.stack([flat * angle.cos(), flat * angle.sin(), c], dim=1)
        return (self.thickness * self.normal(n, rng)[:, :1]).exp() * direction

    def log_prob(self, x: Tensor) -> Tensor:
        r = x.square().sum(1).clamp(min=1e-12).sqrt()
        radial = Normal().log_prob(r.log() / self.thickness) - math.log(self.thickness) - 3.0 * r.log()
        return radial + torch.log1p(self.tilt * x[:, 2] / r) - math.log(4.0 * math.pi)


@final
class DequantisedCounts(Exact):
    """A count with Gaussian noise of half a step, and a skewed number whose location and scale grow with the count.

        P(k) ∝ (k + 1) 0.72^k, k = 0 … 80;   x₁ = k + ½ ε;   x₂ = 0.6 √k + (0.2 + 0.04 k) e,   e ~ Johnson's S_U

    Shapes: x [B, 2]. One mode.
    """

    pmf: Tensor

    def __init__(self) -> None:
        super().__init__((2,))
        k = torch.arange(81, dtype=torch.float64)
        pmf = (k + 1.0) * 0.72**k
        self.register_buffer("pmf", (pmf / pmf.sum()).to(torch.get_default_dtype()), persistent=False)
        self.distribution = JohnsonSU(-0.8, 1.5)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        k = torch.multinomial(self.pmf, n, replacement=True, generator=rng).to(self.pmf)
        first = k + 0.5 * self.normal(n, rng)[:, 0]
        return torch.stack(
            [first, 0.6 * k.sqrt() + (0.2 + 0.04 * k) * self.distribution.sample(n, rng, self.origin)], dim=1
        )

    def log_prob(self, x: Tensor) -> Tensor:
        k = torch.arange(len(self.pmf), dtype=x.dtype, device=x.device)
        scale = 0.2 + 0.04 * k

        def table(c: Tensor) -> Tensor:
            first = Normal().log_prob(2.0 * (c[:, :1] - k)) + math.log(2.0)
            second = self.distribution.log_prob((c[:, 1:] - 0.6 * k.sqrt()) / scale) - scale.log()
            return log_sum_exp(self.pmf.to(x).log() + first + second)

        return table_in_chunks(table, x, 8 * len(k))
