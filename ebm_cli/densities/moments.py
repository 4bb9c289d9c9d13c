"""Mean and covariance of rows, with the factor that whitens them: all that a normal distribution is."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

RIDGE = 1e-4
"""Added to a covariance's diagonal, squared standardised units: a constant column leaves it singular."""


class Moments(NamedTuple):
    """m [D] and L [D, D], lower triangular, of N(m, LLᵀ), on the rows' device and in float64."""

    mean: Tensor
    factor: Tensor

    @classmethod
    def of(cls, data: Tensor, ridge: float = RIDGE) -> "Moments":
        """Those of rows [N, *shape], LLᵀ their covariance (divided by N) + ridge·I."""
        rows = data.detach().flatten(1).double()
        size = rows.shape[1]
        mean = rows.mean(0)
        covariance = (rows - mean).T @ (rows - mean) / len(rows)
        eye = torch.eye(size, dtype=rows.dtype, device=rows.device)
        return cls(mean, torch.linalg.cholesky(covariance + ridge * eye))

    @classmethod
    def standard(cls, size: int) -> "Moments":
        """Those of N(0, I)."""
        return cls(torch.zeros(size, dtype=torch.float64), torch.eye(size, dtype=torch.float64))

    def whiten(self) -> Tensor:
        """L⁻¹ [D, D]."""
        inverse: Tensor = torch.linalg.solve_triangular(
            self.factor, torch.eye(len(self.mean)).to(self.factor), upper=False
        )
        return inverse

    def log_norm(self) -> Tensor:
        """log N(m; m, LLᵀ) = −log det L − ½ D log 2π."""
        return -self.factor.diagonal().log().sum() - 0.5 * len(self.mean) * math.log(2 * math.pi)
