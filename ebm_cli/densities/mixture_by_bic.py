"""The mixture of normal distributions whose number of components the data choose.

K is the one of lowest BIC = −2 log L + (free parameters) log N, where

    free parameters = K (D + D (D + 1)/2) + K − 1.

Source: Schwarz (1978), "Estimating the dimension of a model".
"""

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ebm_cli.densities.fitting_rows import FittingRows
from ebm_cli.densities.memo import fitted_once
from ebm_cli.densities.mixture import FittedMixture

COMPONENTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32)
"""Numbers of components that are tried, in this order, until two in a row are no better than the best so far."""
MOST_ROWS_TO_CHOOSE, MOST_ROWS_TO_FIT = 10_000, 50_000
MOST_CLUSTERS, N_PARTITIONS = 8, 4
"""Up to so many components two starts are tried, of which the second is the best of so many partitions: a cluster of a
twentieth of the rows is often missing in the first. More components take long, and gain little."""
MOST_COORDINATES = 64
"""Above, one component is fitted: full covariances would take minutes."""
RIDGE = 1e-6
"""Added to the covariances' diagonals, squared units of each column's bulk."""


class Components(NamedTuple):
    """Weights [K], means [K, D], covariances [K, D, D] and the BIC of the fit, in units of `FittingRows`."""

    weights: Tensor
    means: Tensor
    covariances: Tensor
    bic: float


FitAt = Callable[[Tensor, int, Components], Components | None]
"""Fits K components to rows from a start."""


@fitted_once
def mixture_by_bic(rows: Tensor) -> FittedMixture:
    """Fit a mixture of Gaussians, full covariances, to rows [N, *shape]; K by BIC.

    K is chosen on 10,000 rows and refitted to 50,000 at most. Deterministic, and fitted once for the same rows.
    Cost: seconds. Values that repeat are spread as `FittingRows` says.
    """
    from threadpoolctl import threadpool_limits  # scikit-learn's own dependency

    prepared = FittingRows.of(rows)
    with threadpool_limits(1):
        best = min(gaussian_mixtures(some_rows(prepared.values, MOST_ROWS_TO_CHOOSE)), key=lambda fit: fit.bic)
        if len(rows) > MOST_ROWS_TO_CHOOSE:
            best = fit_components(some_rows(prepared.values, MOST_ROWS_TO_FIT), len(best.weights), best) or best
    mixture = FittedMixture(shape=tuple(rows.shape[1:]))
    scale = prepared.scale
    mixture.set_components(
        best.weights, prepared.centre + scale * best.means, best.covariances * torch.outer(scale, scale), rows
    )
    return mixture


def some_rows(rows: Tensor, n: int) -> Tensor:
    """At most n rows, drawn without replacement, the same in every call."""
    if len(rows) <= n:
        return rows
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:n]]


def gaussian_mixtures(rows: Tensor, fit_at: FitAt | None = None) -> list[Components]:
    """Fit mixtures of growing K to rows [N, D] until BIC got worse twice; the first has one component.

    Expectation maximisation starts at `clusters`, and the better of two ends stays; `fit_at` does it, or else
    `fit_components`.
    """
    fit_at = fit_at or fit_components
    n, size = rows.shape
    fits: list[Components] = []
    worse = 0
    for k in COMPONENTS:
        fewer_rows_than_determine_it = k > 1 and n < 2 * k * (size + 1)
        if worse == 2 or fewer_rows_than_determine_it or (k > 1 and size > MOST_COORDINATES):
            break
        ends = [fit_at(rows, k, start) for start in _starts(rows, k)]
        fit = min((end for end in ends if end), key=lambda end: end.bic, default=None)
        worse = 0 if not fits or (fit and fit.bic < min(f.bic for f in fits)) else worse + 1
        fits += [fit] if fit else []
    return fits


def _starts(rows: Tensor, k: int) -> list[Components]:
    """One partition of the rows, and the best of a few if that is another."""
    first = clusters(rows, k)
    if not 2 < k <= MOST_CLUSTERS:
        return [first]
    best = clusters(rows, k, N_PARTITIONS)
    return [first] if torch.equal(first.means, best.means) else [first, best]


def clusters(rows: Tensor, k: int, n_partitions: int = 1) -> Components:
    """Weights, means and covariances of k clusters of rows [N, D] in which far rows are near each other.

    k-means of asinh(rows): distances grow with the logarithm of a number beyond the bulk. Of the rows themselves it
    gives each of the farthest ones a cluster of its own, and all others one: EM stays there, many nats below a mixture
    of a narrow and a wide component.
    """
    from sklearn.cluster import KMeans

    if k == 1:
        member = torch.ones(len(rows), 1, dtype=rows.dtype)
    else:
        labels = torch.from_numpy(
            KMeans(k, n_init=n_partitions, random_state=0).fit_predict(rows.asinh().numpy())
        ).long()
        member = torch.nn.functional.one_hot(labels, k).to(rows)
    counts = member.sum(0).clamp_min(1)
    means = member.T @ rows / counts[:, None]
    ridge = RIDGE * torch.eye(rows.shape[1], dtype=rows.dtype)
    covariances = [
        (m * (rows - mean).T) @ (rows - mean) / n for m, mean, n in zip(member.T, means, counts, strict=True)
    ]
    return Components(counts / counts.sum(), means, torch.stack(covariances) + ridge, math.inf)


def fit_components(rows: Tensor, k: int, start: Components) -> Components | None:
    """Fit K components; None if one of them rests on so few rows that they do not determine its covariance."""
    if k == 1:
        return _one_component(rows)
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(k, reg_covar=RIDGE, random_state=0, **_started_at(start))
    with warnings.catch_warnings():
        # A hundred steps that still gain a little are no fault here.
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            model.fit(rows.numpy())
        except ValueError:
            # A covariance that rounding made singular, of values that outliers put many orders of magnitude apart.
            return None
    if model.weights_.min() * len(rows) < rows.shape[1] + 2:
        return None
    weights, means, covariances = map(torch.from_numpy, (model.weights_, model.means_, model.covariances_))
    return Components(weights, means, covariances, model.bic(rows.numpy()))


def _one_component(rows: Tensor) -> Components:
    """The normal distribution of the rows' moments."""
    n, size = rows.shape
    mean = rows.mean(0)
    covariance = (rows - mean).T @ (rows - mean) / n
    # The ridge is relative too, where it would drown in the rounding of a large variance.
    covariance = covariance + (RIDGE + 1e-10 * covariance.diagonal()).diag()
    log_det = 2 * torch.linalg.cholesky(covariance).diagonal().log().sum()
    inside = torch.linalg.solve(covariance, (rows - mean).T @ (rows - mean)).trace()
    n_parameters = size + size * (size + 1) // 2
    bic = n * (size * math.log(2 * math.pi) + log_det) + inside + n_parameters * math.log(n)
    return Components(torch.ones(1, dtype=rows.dtype), mean.unsqueeze(0), covariance.unsqueeze(0), float(bic))


def _started_at(start: Components) -> dict[str, Any]:
    """The options of scikit-learn's class that start it at a fit."""
    precisions = torch.linalg.inv(start.covariances)
    return {
        "weights_init": (start.weights / start.weights.sum()).numpy(),
        "means_init": start.means.numpy(),
        "precisions_init": precisions.numpy(),
    }
