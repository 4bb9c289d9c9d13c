"""A Gaussian in three dimensions, whose conditional distributions are known."""

import torch
from torch import Tensor

MEAN = torch.tensor([1.0, -2.0, 0.5]).double()
COV = torch.tensor([[2.0, 1.2, -0.6], [1.2, 1.5, 0.3], [-0.6, 0.3, 1.0]]).double()


def energy(x: Tensor) -> Tensor:
    """Energy of N(MEAN, COV): [B, 3] → [B]."""
    centred = x.flatten(1) - MEAN
    return 0.5 * (centred @ torch.linalg.inv(COV) * centred).sum(1)


def conditional_moments(keep: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the free coordinates, given that the kept ones are those of x [3]."""
    free, gain = ~keep, COV[~keep][:, keep] @ torch.linalg.inv(COV[keep][:, keep])
    return MEAN[free] + gain @ (x[keep] - MEAN[keep]), COV[free][:, free] - gain @ COV[keep][:, free]


def posterior_moments(observed: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of x given y = x + N(0, diag s²): precision P + I/s², mean (P + I/s²)⁻¹ (P m + y/s²)."""
    precision = torch.linalg.inv(COV)
    cov = torch.linalg.inv(precision + torch.diag(std**-2))
    return cov @ (precision @ MEAN + observed / std**2), cov


def deviation(x: Tensor, mean: Tensor, cov: Tensor) -> float:
    """Deviation of the moments of independent rows x [N, D] from mean and covariance, in standard errors."""
    n, variance = len(x), cov.diagonal()
    off = (x.mean(0) - mean) / (variance / n).sqrt()
    spread = ((torch.outer(variance, variance) + cov**2) / n).sqrt()
    centred = x - mean
    return float(torch.cat([off, ((centred.T @ centred / n - cov) / spread).flatten()]).abs().max())
