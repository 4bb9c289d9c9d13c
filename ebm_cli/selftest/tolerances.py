"""The two measures of the self-test: standard errors, and relative errors against finite differences."""

import math

import torch
from torch import Tensor

from ebm_cli.derivatives import value_and_grad
from ebm_cli.evaluation.quadrature import Quadrature, integrate
from ebm_cli.evaluation.quadrature_grid import COARSE_GRID, Grid
from ebm_cli.samplers import EnergyFn
from ebm_cli.selftest.harness import Fact

SIGMAS = 5.0
"""Bound of a deviation in standard errors: exceeded by chance once in two million, two-sided."""
DIFFERENCE = 1e-5
"""Step of a central difference in float64: its error is about 1e-10 of the third derivative and of the value."""
RELATIVE = 1e-6
"""Bound of a relative error against a finite difference in float64."""
MASS = 1e-3
"""Bound of |∫ p − 1|, to which the quadrature's own estimate of its error is added.

The core of the grid is the box of ten thousand samples. Outside it there is more mass than this with probability e⁻¹⁰,
and the wide cells of the shells may miss a part of it that is narrow (a filament of a flow).
"""
EDGE = 1e-2
"""The same bound for a density whose support ends: the grid misses an end within the outermost 2 % of a cell.

Twelve cells cover 1.15 of the support's width, so its two ends in each of two dimensions are worth 0.8 % of the mass.
"""


def relative_error(found: Tensor, expected: Tensor, quantile: float = 1.0) -> float:
    """|found − expected| in units of the root mean square of `expected`, or of 1 where that is smaller.

    A quantile below 1 forgives single points: a piecewise smooth function has kinks, and a difference across one is
    not its derivative.
    """
    found, expected = (value.detach().cpu().double() for value in (found, expected))
    if not bool(found.isfinite().all()):
        return math.nan
    scale = max(1.0, float(expected.square().mean().sqrt()))
    return float(torch.quantile((found - expected).abs().flatten(), quantile)) / scale


def random_directions(x: Tensor, rng: torch.Generator) -> Tensor:
    """A random unit vector for each point of x [B, *D]."""
    v = torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)
    length: Tensor = v.flatten(1).norm(dim=1)
    return v / length.view(-1, *[1] * (x.dim() - 1))


def central_difference(function: EnergyFn, x: Tensor, v: Tensor) -> Tensor:
    """v·∇f by central differences [B]."""
    with torch.no_grad():
        difference: Tensor = function(x + DIFFERENCE * v) - function(x - DIFFERENCE * v)
        return difference / (2 * DIFFERENCE)


def gradient_fact(function: EnergyFn, x: Tensor, rng: torch.Generator, what: str) -> Fact:
    """∇f along a random direction against central differences, at nine points in ten."""
    v = random_directions(x, rng)
    along = (value_and_grad(function, x)[1] * v).flatten(1).sum(1)
    return Fact(what, relative_error(along, central_difference(function, x, v), 0.9), RELATIVE, "relative")


def integral(energy: EnergyFn, points: Tensor) -> Quadrature:
    """∫ exp(−f), in one or two dimensions, around points [N, d] in float64."""
    return integrate(energy, Grid.around(points, COARSE_GRID), COARSE_GRID, tuple(points.shape[1:]), torch.float64)


def mass_bound(exact: Quadrature) -> float:
    """Bound of the distance of a density's integral from 1."""
    return MASS + exact.error + (EDGE if bool(exact.energy.isinf().any()) else 0.0)


@torch.no_grad()
def deviation(x: Tensor, energy: EnergyFn, exact: Quadrature) -> float:
    """Deviation of independent points x [N, d] from the density of a quadrature, in standard errors.

    It is the largest over the means of tanh u_i, of tanh u_i tanh u_j and of the energy, with u the coordinates scaled
    to the density's mean and standard deviation. The features of u are bounded because the standard error of a
    heavy-tailed mean is unreliable.
    """
    points, masses = exact.heaviest(1e-9)
    masses = masses / masses.sum()
    centre = masses @ points
    scale = (masses @ (points - centre).square()).sqrt()

    def features(rows: Tensor) -> Tensor:
        u = ((rows - centre) / scale).tanh()
        i, j = torch.triu_indices(u.shape[1], u.shape[1])
        return torch.cat((u, u[:, i] * u[:, j], energy(rows)[:, None]), 1)

    return standard_errors(features(x.double()), masses @ features(points))


def standard_errors(values: Tensor, expected: Tensor) -> float:
    """The largest |mean − expected| over K columns of N independent rows [N, K], in standard errors."""
    # The constant is the rounding in a column that does not vary.
    error = values.std(0) / math.sqrt(len(values)) + 1e-6
    return float(((values.mean(0) - expected).abs() / error).max())
