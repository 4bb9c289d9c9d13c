"""Mean and covariance of rows, which determine a normal distribution, and the factor that whitens the rows."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

RIDGE = 1e-4
"""Added to a covariance's diagonal, squared standardised units, because a constant column leaves it singular."""


class Moments(NamedTuple):
    """Parameters of N(m, LLᵀ): mean m [D] and lower triangular factor L [D, D], on the rows' device, float64."""

    mean: Tensor
    factor: Tensor

    @classmethod
    def from_rows(cls, data: Tensor, ridge: float = RIDGE) -> "Moments":
        """Compute the moments of rows [N, *shape]: LLᵀ is their covariance (divided by N) plus ridge·I."""
        rows = data.detach().flatten(1).double()
        size = rows.shape[1]
        mean = rows.mean(0)
        covariance = (rows - mean).T @ (rows - mean) / len(rows)
        eye = torch.eye(size, dtype=rows.dtype, device=rows.device)
        return cls(mean, torch.linalg.cholesky(covariance + ridge * eye))

    @classmethod
    def standard(cls, size: int) -> "Moments":
        """Return the moments of N(0, I) in `size` dimensions."""
        return cls(torch.zeros(size, dtype=torch.float64), torch.eye(size, dtype=torch.float64))

    def whiten(self) -> Tensor:
        """Compute the whitening factor L⁻¹ [D, D]."""
        inverse: Tensor = torch.linalg.solve_triangular(
            self.factor, torch.eye(len(self.mean)).to(self.factor), upper=False
        )
        return inverse

    def log_norm(self) -> Tensor:
        """Compute log N(m; m, LLᵀ) = −log det L − ½ D log 2π."""
        return -self.factor.diagonal().log().sum() - 0.5 * len(self.mean) * math.log(2 * math.pi)
