"""The one change of units between the data and the energy: an affine map, column by column.

Energy, noise, sampler and step sizes live in standardised units u, so that their defaults carry across data sets;
evaluation reports in the data's own units x. With u = (x − mean) / scale a density changes by the map's Jacobian:

    log p_x(x) = log p_u(u) − Σ_j log scale_j
"""

from typing import Self, final

import torch
from torch import Tensor, nn

RELATIVE_FLOOR = 1e-6
"""A column whose standard deviation is below this share of its largest value is constant up to rounding."""


@final
class Standardizer(nn.Module):
    """u = (x − mean) / scale, per column; rebuilt by `Standardizer(shape)` and `load_state_dict`.

    Args:
        shape: shape of one point. A new standardizer is the identity.

    Attributes:
        mean, scale: [*shape], data units; scale > 0.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))

    @classmethod
    def identity(cls, shape: tuple[int, ...]) -> Self:
        """The map that changes nothing: standardised units are data units."""
        return cls(shape)

    @classmethod
    def fit(cls, x: Tensor) -> Self:
        """Zero mean and unit standard deviation for each column of x [N, *shape], N ≥ 2; a constant one keeps its unit.

        Raises:
            ValueError: fewer rows.
        """
        if x.shape[0] < 2:
            raise ValueError(f"x must hold at least 2 rows, got {x.shape[0]}")
        rows = x.detach().double()
        return cls.of(rows.mean(dim=0), rows.std(dim=0), rows.abs().amax(dim=0)).to(x)

    @classmethod
    def of(cls, mean: Tensor, std: Tensor, largest: Tensor) -> Self:
        """The same from each column's mean, standard deviation and largest absolute value, [*shape], data units.

        A constant column keeps its own unit (scale 1): divided by its rounding error it would explode on the first
        new value.
        """
        standardizer = cls(tuple(mean.shape)).to(mean)
        standardizer.mean.copy_(mean)
        standardizer.scale.copy_(torch.where(std > RELATIVE_FLOOR * largest, std, torch.ones_like(std)))
        return standardizer

    @classmethod
    def pixels(cls, shape: tuple[int, ...], top: float) -> Self:
        """[0, top] → [−1, 1], the same map for every pixel: one that is always black stays at −1."""
        standardizer = cls(shape)
        standardizer.mean.fill_(top / 2)
        standardizer.scale.fill_(top / 2)
        return standardizer

    def forward(self, x: Tensor) -> Tensor:
        """Data units → standardised units, [B, *shape]."""
        return (x - self.mean) / self.scale

    def inverse(self, u: Tensor) -> Tensor:
        """Standardised units → data units, [B, *shape]."""
        return u * self.scale + self.mean

    @property
    def like(self) -> Tensor:
        """A tensor of a point's shape, with the dtype and device of standardised rows: `x.to(standardizer.like)`."""
        return self.mean

    @property
    def device(self) -> torch.device:
        """The device that standardised rows are on."""
        return self.mean.device

    @torch.no_grad()
    def standardise(self, x: Tensor) -> Tensor:
        """Convert rows [B, *shape] of any dtype and device to standardised units, without recording a gradient."""
        u: Tensor = self(x.to(self.like))
        return u

    @torch.no_grad()
    def to_data_units(self, u: Tensor) -> Tensor:
        """Convert standardised rows [B, *shape] to data units, without recording a gradient."""
        return self.inverse(u)

    @property
    def log_det(self) -> Tensor:
        """log |dx/du| = Σ_j log scale_j, in nats, a scalar tensor: log p_x = log p_u − log_det."""
        return self.scale.log().sum()
