"""One elliptical component, the simplest density of a table, with what few rows leave unknown."""

import torch
from torch import Tensor

from ebm_cli.densities.student import StudentMixture

RIDGE = 1e-6
MOST_DOF = 200
"""More degrees of freedom are a normal distribution."""


def predictive_gaussian(rows: Tensor) -> StudentMixture:
    """Predict a normal distribution of unknown mean and covariance from rows [N, D], float64, of comparable scales.

        t_ν(x; m, (N + 1) S / ν),   ν = N − D,   S = covariance (divided by N)

    It has the least expected divergence of all predictions that do not depend on the units, and thus less than the
    normal distribution of the same moments, which many rows make it (ν > 200). Fewer rows than determine a covariance
    (ν < 3) take one that is shrunk towards a multiple of the identity.

    Sources: Aitchison (1975), "Goodness of prediction fit"; Ledoit & Wolf (2004).
    """
    n, size = rows.shape
    centred = rows - rows.mean(0)
    ridge = RIDGE * torch.eye(size, dtype=rows.dtype)
    covariance, dof = centred.T @ centred / n + ridge, float(n - size)
    if dof < 3:
        covariance, dof = shrunk_covariance(rows) + ridge, 3.0
    else:
        covariance = covariance * (n + 1) / dof
    one = torch.ones(1, dtype=rows.dtype)
    if dof > MOST_DOF:
        # The covariance of the t distribution, so that nothing jumps at the bound.
        covariance, dof = covariance * dof / (dof - 2), torch.inf
    found = StudentMixture((size,))
    found.set_components(one, rows.mean(0, keepdim=True), covariance.unsqueeze(0), dof * one, rows)
    return found


def shrunk_covariance(rows: Tensor) -> Tensor:
    """Covariance of rows [N, D], shrunk as far as they suggest towards independent columns of equal variance."""
    from sklearn.covariance import ledoit_wolf

    spread = rows.std(0, correction=0).clamp_min(1e-3)
    shrunk, _ = ledoit_wolf((rows / spread).numpy())
    return torch.from_numpy(shrunk) * torch.outer(spread, spread)
