"""The candidates among which `reference_fit` chooses, fitted to rows z [N, D], float64, of comparable scales."""

from typing import Literal, NamedTuple

from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.densities.bent import Bent
from ebm_cli.densities.elliptical import EllipticalMixture
from ebm_cli.densities.families import Family, fit_families, n_parameters, quick_fit, refit
from ebm_cli.densities.mixture_by_bic import MOST_ROWS_TO_CHOOSE, some_rows
from ebm_cli.densities.monotone import Chain
from ebm_cli.densities.sinh_arcsinh import SinhArcsinh
from ebm_cli.densities.sinh_arcsinh_fit import fit_sinh_arcsinh
from ebm_cli.densities.slope_spline import SlopeSpline
from ebm_cli.densities.slope_spline_fit import N_FREE, SlopeSplineFit
from ebm_cli.densities.student import StudentMixture
from ebm_cli.densities.transformed import Transformed

Marginals = Literal["auto", "none", "sinh_arcsinh", "spline"]

HOPELESS = 0.4
"""Marginals, transformed or not, that one and four Gaussians describe so much worse, nats a column, are left out."""
N_ROUNDS, N_STEPS = 8, 15
"""Fits of marginals and mixture in turn, as one changes what the other has to describe, and the steps of the latter."""


class Kind(NamedTuple):
    """A candidate: its family, and whether sinh-arcsinh and after it a spline have transformed the marginals."""

    family: Family
    bent: bool
    splined: bool = False


def candidates(z: Tensor, families: tuple[Family, ...], marginals: Marginals) -> dict[Kind, Density]:
    """Fit every candidate without a spline to rows."""
    bent = fit_sinh_arcsinh(z) if marginals in ("auto", "sinh_arcsinh") else None
    if bent is None and marginals == "sinh_arcsinh":
        bent = SinhArcsinh(z.shape[1]).to(z)
    gain = _gain(z, bent) if bent is not None and marginals == "auto" else 0.0
    found: dict[Kind, Density] = {}
    if marginals != "sinh_arcsinh" and gain < HOPELESS:
        found |= {Kind(family, False): density for family, density in fit_families(z, families).items()}
    if bent is not None and gain > -HOPELESS:
        y, _ = bent(z)
        found |= {Kind(family, True): Transformed(r, bent) for family, r in fit_families(y, families).items()}
    return found


def _gain(z: Tensor, bent: SinhArcsinh) -> float:
    """The gain of Gaussians by the transform, nats a column: of one or four of them, whichever gain is nearer 0.

    It is 0 if they disagree, or if a fit fails.
    """
    some = some_rows(z, MOST_ROWS_TO_CHOOSE)
    y, log_slope = bent(some)
    jacobian = float(log_slope.sum(1).mean())
    one, four = ((quick_fit(y, k) - quick_fit(some, k) + jacobian) / z.shape[1] for k in (1, 4))
    return min(one, four, key=abs) if one * four > 0 else 0.0


def splined(density: Density, z: Tensor) -> Density:
    """The density with the marginals of rows z: a spline of each, after the map that it has."""
    before = [density.marginals] if isinstance(density, Transformed) else []
    mixture = mixture_of(density)
    y = before[0](z)[0] if before else z
    fit, some = SlopeSplineFit(y), some_rows(y, MOST_ROWS_TO_CHOOSE)
    for last in (*[False] * (N_ROUNDS - 1), True):
        spline = fit.fit(mixture)
        mixture = refit(mixture, spline(y if last else some)[0], N_STEPS)
    spline = fit.fit(mixture)
    return Transformed(mixture, Chain([*before, spline]) if before else spline)


def size_of(density: Density) -> int:
    """Free parameters of a candidate."""
    inner = mixture_of(density)
    k, size = inner.means.shape
    maps = density.marginals.maps if isinstance(density, Transformed) else []
    per_column = sum(N_FREE + 1 if isinstance(one, SlopeSpline) else 4 for one in maps)
    return n_parameters(k, size, isinstance(inner, StudentMixture)) + size * per_column


def mixture_of(density: Density) -> EllipticalMixture:
    """The mixture of a fitted density, of coordinates that its marginals have transformed."""
    inner = density.density if isinstance(density, Transformed) else density
    inner = inner.mixture if isinstance(inner, Bent) else inner
    assert isinstance(inner, EllipticalMixture)
    return inner
