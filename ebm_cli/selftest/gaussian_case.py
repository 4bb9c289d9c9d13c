"""The Gaussian case of the known values: rows with exact moments, the energy of a Gaussian, and means of a loss."""

import torch
from torch import Tensor

from ebm_cli.energies import Energy, Quadratic
from ebm_cli.methods import Method
from ebm_cli.selftest.harness import Fact
from ebm_cli.selftest.tolerances import SIGMAS, standard_errors

N_ROWS, N_CALLS = 512, 64
MEAN, MAP = (0.5, -0.3), ((1.2, 0.5), (0.0, 0.6))
"""The rows are m + zA with z of mean 0 and covariance I, so that V = AᵀA."""


def gaussian_rows(rng: torch.Generator) -> Tensor:
    """Rows [N_ROWS, 2] whose mean and covariance are m and V exactly."""
    z = torch.randn(N_ROWS, 2, generator=rng, dtype=torch.float64)
    z = z - z.mean(0)
    factor = torch.linalg.cholesky(torch.cov(z.T, correction=0))
    z = torch.linalg.solve_triangular(factor, z.T, upper=False).T
    rows: Tensor = z @ torch.tensor(MAP, dtype=z.dtype) + torch.tensor(MEAN, dtype=z.dtype)
    return rows


def gaussian_energy(rows: Tensor, scale: float = 1.0, shift: float = 0.0, blur: float = 0.0) -> Quadratic:
    """The Gaussian with the precision scale · (V + blur² I)⁻¹ and the mean m + shift."""
    energy = Quadratic((2,)).double()
    covariance = torch.cov(rows.T, correction=0) + blur**2 * torch.eye(2, dtype=rows.dtype)
    with torch.no_grad():
        energy.raw_precision.copy_(scale * torch.linalg.inv(covariance))
        energy.mean.copy_(rows.mean(0) + shift)
    return energy


def mean_fact(what: str, values: Tensor, expected: Tensor | float) -> Fact:
    """The mean of independent values [N] or [N, K] against its expectation, in standard errors."""
    values = values if values.dim() == 2 else values[:, None]
    return Fact(what, standard_errors(values, torch.as_tensor(expected, dtype=values.dtype)), SIGMAS, "std. errors")


def losses(method: Method, energy: Energy, rows: Tensor, rng: torch.Generator) -> Tensor:
    """The loss of N_CALLS calls on the same rows [N_CALLS]."""
    return torch.stack([method.loss(energy, rows, rng).loss.detach() for _ in range(N_CALLS)])
