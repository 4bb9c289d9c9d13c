"""Data and flows that the tests of densities share."""

import torch
from torch import Tensor

from ebm_cli.densities import CouplingFlow, Density
from tests.support import seeded


def bent_data(n: int = 4000) -> Tensor:
    """Rows [n, 2], float64, of a Gaussian bent along a parabola."""
    z = torch.randn(n, 2, generator=seeded(), dtype=torch.float64)
    return torch.stack((z[:, 0], 0.5 * z[:, 1] + 0.4 * z[:, 0] ** 2 - 0.4), 1)


def small_flow() -> CouplingFlow:
    """A small flow in double precision; it starts as the identity."""
    return CouplingFlow((2,), n_couplings=4, width=16).double()


def perturb(flow: Density) -> Density:
    """Perturb the parameters, so that the flow is not the identity."""
    rng = seeded(1)
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=rng, dtype=p.dtype))
    return flow


def hard_rows() -> dict[str, Tensor]:
    """Rows that make likelihoods unbounded, covariances singular or scales meaningless."""
    z = torch.randn(400, 3, generator=seeded(), dtype=torch.float64)
    return {
        "repeated rows": z[:40].repeat(10, 1),
        "a constant column": torch.cat((z, torch.ones(400, 1)), 1),
        "one row repeated": torch.ones(400, 2, dtype=torch.float64),
        "collinear columns": torch.cat((z, z[:, :1] + z[:, 1:2]), 1),
        "Cauchy": z / z.roll(1, 1),
        "whole numbers": z.mul(2).round(),
        "ten rows": z[:10],
        "fewer rows than columns": z[:2].repeat(1, 3),
        "half zeros": z.clamp_min(0),
    }
