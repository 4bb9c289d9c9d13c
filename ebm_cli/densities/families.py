"""The families of simple densities that are fitted to rows z [N, D], float64, of comparable scales."""

import math
from typing import Literal

import torch
from torch import Tensor

from ebm_cli.densities.elliptical import EllipticalMixture
from ebm_cli.densities.mixture import FittedMixture
from ebm_cli.densities.mixture_by_bic import (
    MOST_ROWS_TO_CHOOSE,
    MOST_ROWS_TO_FIT,
    Components,
    clusters,
    fit_components,
    gaussian_mixtures,
    some_rows,
)
from ebm_cli.densities.one_component import predictive_gaussian
from ebm_cli.densities.student import StudentMixture
from ebm_cli.densities.student_em import FIRST_DOF, StudentFit, student_em

Family = Literal["gaussian", "mixture", "student"]

MOST_CLUSTERS = 8
"""Up to so many components two starts are tried: of more the second one takes long and gains little."""


def fit_families(rows: Tensor, families: tuple[Family, ...]) -> dict[Family, EllipticalMixture]:
    """Fit each of these families to rows; the numbers of components are chosen by BIC on 10,000 rows at most."""
    found: dict[Family, EllipticalMixture] = {}
    if "gaussian" in families:
        found["gaussian"] = predictive_gaussian(rows)
    if len(families) > len(found):
        some = some_rows(rows, MOST_ROWS_TO_CHOOSE)
        fits = gaussian_mixtures(some)
        if "mixture" in families:
            found["mixture"] = gaussian_density(min(fits, key=lambda fit: fit.bic))
        if "student" in families:
            found["student"] = student_by_bic(some, fits)
    return found


def refit(density: EllipticalMixture, rows: Tensor) -> EllipticalMixture:
    """Continue the fit of a density of one of the families on more rows, 50,000 at most."""
    rows = some_rows(rows, MOST_ROWS_TO_FIT)
    scatters = density.factors @ density.factors.mT
    if isinstance(density, StudentMixture):
        if density.dof.isinf().all():
            return predictive_gaussian(rows)
        start = StudentFit(density.weights, density.means, scatters, density.dof, [])
        return student_density(student_em(rows, start))
    fit = fit_components(rows, len(density.weights), Components(density.weights, density.means, scatters, 0.0))
    return density if fit is None else gaussian_density(fit)


def student_by_bic(rows: Tensor, gaussians: list[Components]) -> StudentMixture:
    """Fit mixtures of t distributions of growing K until BIC got worse twice.

    Each starts at the mixture of Gaussians of its K and at the clusters of k-means, and continues from the better one:
    Gaussians spend components on tails, and clusters do not see components that share a centre.
    """
    n, size = rows.shape
    best, lowest, worse = None, math.inf, 0
    for gaussian in gaussians:
        k = len(gaussian.weights)
        starts = [gaussian, clusters(rows, k)] if 1 < k <= MOST_CLUSTERS else [gaussian]
        first = [student_em(rows, _as_student(start), 15, 1e-4) for start in starts]
        fit = student_em(rows, max(first, key=lambda found: found.log_likelihoods[-1]), 45, 1e-4)
        bic = -2 * n * fit.log_likelihoods[-1] + n_parameters(k, size, heavy=True) * math.log(n)
        determined = k == 1 or float(fit.weights.min()) * n >= size + 2
        if best is None or (determined and bic < lowest):
            best, lowest, worse = fit, bic, 0
        else:
            worse += 1
        if worse == 2:
            break
    assert best is not None
    return student_density(best)


def _as_student(start: Components) -> StudentFit:
    dof = torch.full_like(start.weights, FIRST_DOF)
    return StudentFit(start.weights, start.means, start.covariances, dof, [])


def n_parameters(k: int, size: int, heavy: bool) -> int:
    """Free parameters of a mixture of K components in `size` dimensions."""
    return k * (size + size * (size + 1) // 2 + heavy) + k - 1


def gaussian_density(fit: Components) -> FittedMixture:
    """The mixture of normal distributions with these parameters."""
    found = FittedMixture(shape=(fit.means.shape[1],))
    found.set_components(fit.weights, fit.means, fit.covariances, fit.means)
    return found


def student_density(fit: StudentFit) -> StudentMixture:
    """The mixture of t distributions with these parameters."""
    found = StudentMixture((fit.means.shape[1],))
    found.set_components(fit.weights, fit.means, fit.scatters, fit.dof, fit.means)
    return found
