"""Gaussian mixtures: of any components, in a ring, and on a grid."""

import math
from typing import final

import torch
from torch import Tensor

from ebm_cli.datasets.gaussian_sums import GaussianSum
from ebm_cli.datasets.target import Target
from ebm_cli.errors import require_positive


class GaussianMixture(Target):
    """p(x) = Σ_k w_k N(x; m_k, s_k² I) on R^D. Subclasses place the components.

    Args:
        means: m [K, D], data units.
        stds: s [K], > 0, data units.
        weights: w [K], > 0; they are normalised.

    Shapes: x [B, D]. Modes: the components.
    """

    means: Tensor
    stds: Tensor
    weights: Tensor

    def __init__(self, means: Tensor, stds: Tensor, weights: Tensor) -> None:
        super().__init__((means.shape[1],))
        self.n_modes = means.shape[0]
        self.gaussians = GaussianSum(means, stds[:, None], weights, self.n_modes)
        self.register_buffer("means", means, persistent=False)
        self.register_buffer("stds", stds, persistent=False)
        self.register_buffer("weights", weights / weights.sum(), persistent=False)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        k = torch.multinomial(self.weights, n, replacement=True, generator=rng)
        return self.means[k].addcmul_(self.stds[k][:, None], self.normal(n, rng))

    def log_prob(self, x: Tensor) -> Tensor:
        return self.gaussians.log_prob(x)

    def modes(self, x: Tensor) -> Tensor:
        return self.gaussians.largest_group(x)


@final
class Mixture(GaussianMixture):
    """Any mixture of isotropic Gaussians, in the dimension of its means.

    Args:
        means: K lists of D numbers, data units.
        stds: K numbers > 0, data units.
        weights: K numbers > 0; they are normalised to sum 1.

    Shapes: x [B, D]. Modes: the components, in their order.

    Raises:
        ValueError: lists of different lengths, or a number out of its range.
    """

    def __init__(self, means: list[list[float]], stds: list[float], weights: list[float]) -> None:
        if not means or not means[0] or any(len(m) != len(means[0]) for m in means):
            raise ValueError(f"means must be one or more lists of the same length, got {means}")
        if not all(math.isfinite(value) for m in means for value in m):
            raise ValueError(f"means must be finite numbers, got {means}")
        for name, values in (("stds", stds), ("weights", weights)):
            if len(values) != len(means) or not all(0 < value < math.inf for value in values):
                raise ValueError(f"{name} must be {len(means)} numbers > 0, one for each mean, got {values}")
        dtype = torch.get_default_dtype()
        super().__init__(
            torch.tensor(means, dtype=dtype), torch.tensor(stds, dtype=dtype), torch.tensor(weights, dtype=dtype)
        )

    def smoothed(self, noise_std: float) -> Target:
        if noise_std == 0:
            return self
        stds = [math.hypot(std, noise_std) for std in self.stds.tolist()]
        return Mixture(self.means.tolist(), stds, self.weights.tolist())


@final
class GaussianRing(GaussianMixture):
    """Equal Gaussians, evenly spaced on a circle around 0.

    By default the eight of FFJORD (Grathwohl et al., 2019): radius 4/√2, standard deviation 0.5/√2, entropy 2.8316
    nats.

    Args:
        n_modes: components ≥ 1.
        radius: of the circle, > 0, data units.
        std: of a component, > 0, data units.

    Shapes: x [B, 2]. Modes: the components, counterclockwise.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(self, n_modes: int = 8, radius: float = 2.8284271, std: float = 0.3535534) -> None:
        if n_modes < 1:
            raise ValueError(f"n_modes must be >= 1, got {n_modes}")
        require_positive(radius=radius, std=std)
        angle = torch.arange(n_modes) * (2.0 * math.pi / n_modes)
        means = radius * torch.stack([angle.cos(), angle.sin()], dim=1)
        super().__init__(means, torch.full((n_modes,), std), torch.ones(n_modes))
        self.radius = radius
        self.std = std

    def smoothed(self, noise_std: float) -> Target:
        return GaussianRing(self.n_modes, self.radius, math.hypot(self.std, noise_std)) if noise_std else self


@final
class GaussianGrid(GaussianMixture):
    """Equal Gaussians on a square grid around 0.

    By default the usual twenty-five: five by five, 2/√2 apart, standard deviation 0.2/√2.

    Args:
        side: components along each side, ≥ 1.
        spacing: between neighbours, > 0, data units.
        std: of a component, > 0, data units.

    Shapes: x [B, 2]. Modes: the components.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(self, side: int = 5, spacing: float = 1.4142136, std: float = 0.1414214) -> None:
        if side < 1:
            raise ValueError(f"side must be >= 1, got {side}")
        require_positive(spacing=spacing, std=std)
        ticks = spacing * (torch.arange(side) - 0.5 * (side - 1))
        n = side * side
        super().__init__(torch.cartesian_prod(ticks, ticks), torch.full((n,), std), torch.ones(n))
        self.side = side
        self.spacing = spacing
        self.std = std

    def smoothed(self, noise_std: float) -> Target:
        return GaussianGrid(self.side, self.spacing, math.hypot(self.std, noise_std)) if noise_std else self
