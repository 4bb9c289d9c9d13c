"""The families of simple densities that are fitted to rows z [N, D], float64, of comparable scales."""

import math
from typing import Literal

import torch
from torch import Tensor

from ebm_cli.densities.elliptical import EllipticalMixture
from ebm_cli.densities.mixture import FittedMixture
from ebm_cli.densities.mixture_by_bic import (
    MOST_CLUSTERS,
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

N_POLISHED = 2
"""Numbers of components that are compared after more steps."""


def fit_families(rows: Tensor, families: tuple[Family, ...]) -> dict[Family, EllipticalMixture]:
    """Fit each of these families to rows; the numbers of components are chosen by BIC on 10,000 rows at most."""
    found: dict[Family, EllipticalMixture] = {}
    if "gaussian" in families:
        found["gaussian"] = predictive_gaussian(rows)
    if len(families) > len(found):
        some = some_rows(rows, MOST_ROWS_TO_CHOOSE)
        fits = gaussian_mixtures(some, gaussian_em)
        if "mixture" in families:
            found["mixture"] = gaussian_density(min(fits, key=lambda fit: fit.bic))
        if "student" in families:
            found["student"] = student_by_bic(some, fits)
    return found


def refit(density: EllipticalMixture, rows: Tensor, n_steps: int = 100) -> EllipticalMixture:
    """Continue the fit of a density of one of the families on other rows, 50,000 at most, by at most n_steps."""
    rows = some_rows(rows, MOST_ROWS_TO_FIT)
    scatters = density.factors @ density.factors.mT
    if isinstance(density, StudentMixture):
        if density.dof.isinf().all():
            return predictive_gaussian(rows)
        start = StudentFit(density.weights, density.means, scatters, density.dof, [])
        return student_density(student_em(rows, start, n_steps))
    start_at = Components(density.weights, density.means, scatters, 0.0)
    fit = gaussian_em(rows, len(density.weights), start_at, n_steps)
    return density if fit is None else gaussian_density(fit)


def gaussian_em(rows: Tensor, k: int, start: Components, n_steps: int = 100) -> Components | None:
    """Fit K Gaussians from a start as `fit_components` does, in less time; None where that is None."""
    if k == 1:
        return fit_components(rows, k, start)
    try:
        fit = student_em(rows, _as_student(start, math.inf), n_steps, 3e-4)
    except RuntimeError:
        return None
    n, size = rows.shape
    if float(fit.weights.min()) * n < size + 2:
        return None
    bic = -2 * n * fit.log_likelihoods[-1] + n_parameters(k, size, heavy=False) * math.log(n)
    return Components(fit.weights, fit.means, fit.scatters, bic)


def quick_fit(rows: Tensor, k: int) -> float:
    """Mean log-likelihood of rows under a mixture of k Gaussians, nats a row; nan if it cannot be fitted."""
    try:
        start = _as_student(clusters(rows, min(k, len(rows))), math.inf)
        return student_em(rows, start, 30, 1e-3).log_likelihoods[-1]
    except RuntimeError:
        return math.nan


def student_by_bic(rows: Tensor, gaussians: list[Components]) -> StudentMixture:
    """Fit mixtures of t distributions of growing K until BIC got worse twice.

    More than eight components are tried up to the number of the best Gaussians only, which spend some on tails, and
    with few steps: the best two take more.

    Each starts at the mixture of Gaussians of its K and at the clusters of k-means, and continues from the better one:
    Gaussians spend components on tails, and clusters do not see components that share a centre.
    """
    n, size = rows.shape
    most = max(MOST_CLUSTERS, len(min(gaussians, key=lambda fit: fit.bic).weights))
    screened: list[tuple[float, StudentFit]] = []
    worse = 0
    for gaussian in gaussians:
        k = len(gaussian.weights)
        if worse == 2 or k > most:
            break
        starts = [gaussian, clusters(rows, k)] if 1 < k <= MOST_CLUSTERS else [gaussian]
        tried = [student_em(rows, _as_student(start), 15, 1e-4) for start in starts]
        fit = max(tried, key=lambda found: found.log_likelihoods[-1])
        if k <= MOST_CLUSTERS:
            fit = student_em(rows, fit, 45, 1e-4)
        bic = _student_bic(fit, n)
        worse = 0 if not screened or bic < min(screened, key=lambda found: found[0])[0] else worse + 1
        screened.append((bic, fit))
    nearly = sorted(screened, key=lambda found: found[0])[:N_POLISHED]
    polished = [student_em(rows, fit, 45, 1e-4) if len(fit.weights) > MOST_CLUSTERS else fit for _, fit in nearly]
    determined = [fit for fit in polished if len(fit.weights) == 1 or float(fit.weights.min()) * n >= size + 2]
    return student_density(min(determined or polished, key=lambda fit: _student_bic(fit, n)))


def _student_bic(fit: StudentFit, n: int) -> float:
    """BIC of a fit to n rows."""
    k, size = fit.means.shape
    return -2 * n * fit.log_likelihoods[-1] + n_parameters(k, size, heavy=True) * math.log(n)


def _as_student(start: Components, dof_at: float = FIRST_DOF) -> StudentFit:
    dof = torch.full_like(start.weights, dof_at)
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
