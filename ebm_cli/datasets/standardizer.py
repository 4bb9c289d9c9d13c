"""The change of units between data and energy: an affine map, column by column.

Energy, noise, sampler and step sizes use standardised units u, so that their defaults suit every data set; evaluation
reports in the data's own units x. With u = (x − mean) / scale a density changes by the map's Jacobian:

    log p_x(x) = log p_u(u) − Σ_j log scale_j
"""

from typing import Self, final

import torch
from torch import Tensor, nn

RELATIVE_FLOOR = 1e-6
"""A column whose standard deviation is below this share of its largest absolute value is constant up to rounding."""


@final
class Standardizer(nn.Module):
    """The map u = (x − mean) / scale, per column; a checkpoint's is rebuilt with `Standardizer(shape).load_state_dict`.

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
        """Create the identity: standardised units are data units."""
        return cls(shape)

    @classmethod
    def fit(cls, x: Tensor) -> Self:
        """Fit zero mean and unit standard deviation to each column of x [N, *shape], N ≥ 2; a constant keeps its unit.

        Raises:
            ValueError: fewer than two rows.
        """
        if x.shape[0] < 2:
            raise ValueError(f"x must hold at least 2 rows, got {x.shape[0]}")
        rows = x.detach().double()
        return cls.from_moments(rows.mean(dim=0), rows.std(dim=0), rows.abs().amax(dim=0)).to(x)

    @classmethod
    def from_moments(cls, mean: Tensor, std: Tensor, largest: Tensor) -> Self:
        """Create the map from each column's mean, standard deviation and largest absolute value [*shape], data units.

        A constant column keeps its own unit (scale 1): divided by its rounding error, the first value that differs
        would become huge.
        """
        standardizer = cls(tuple(mean.shape)).to(mean)
        standardizer.mean.copy_(mean)
        standardizer.scale.copy_(torch.where(std > RELATIVE_FLOOR * largest, std, torch.ones_like(std)))
        return standardizer

    @classmethod
    def for_pixels(cls, shape: tuple[int, ...], low: float, high: float) -> Self:
        """Create the map [low, high] → [−1, 1], the same for every pixel: one that is always black stays at −1."""
        standardizer = cls(shape)
        standardizer.mean.fill_((low + high) / 2)
        standardizer.scale.fill_((high - low) / 2)
        return standardizer

    def forward(self, x: Tensor) -> Tensor:
        """Convert data units to standardised units: [B, *shape] → [B, *shape]."""
        return (x - self.mean) / self.scale

    def inverse(self, u: Tensor) -> Tensor:
        """Convert standardised units to data units: [B, *shape] → [B, *shape]."""
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
