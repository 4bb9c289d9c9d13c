"""The choice among simple densities by the log-density of rows that they were not fitted to.

The candidates are a Gaussian, a mixture of Gaussians and one of Student's t distributions, each of the rows as they are
and of marginals that `SinhArcsinh` has transformed. The best mean log-density of the rows held out wins, unless one of
fewer parameters is within a standard error of the paired difference: then the one with the fewest does. The winner gets
the marginals of the rows by a spline (`SlopeSpline`) if that gains more than two standard errors. A difference of more
than 0.02 nats a column decides in any case, since a single row far from all others makes the standard error as large as
any difference.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.densities.families import Family, refit
from ebm_cli.densities.fitting_rows import FittingRows
from ebm_cli.densities.memo import fitted_once
from ebm_cli.densities.mixture_by_bic import MOST_COORDINATES, MOST_ROWS_TO_CHOOSE
from ebm_cli.densities.reference_candidates import Kind, Marginals, candidates, mixture_of, size_of, splined
from ebm_cli.densities.transformed import Transformed

FAMILIES: tuple[Family, ...] = ("gaussian", "mixture", "student")

FEW_ROWS = 2000
"""Up to so many rows the winner is fitted anew to all; of more, its fit to some of them is continued on all."""
ROWS_OF_FOLDS = 5000
"""Up to so many rows every row is held out once, in one of three folds, because a fifth of them decides little."""
MOST_BEHIND = 0.02
"""Nats a column by which a candidate of fewer parameters may be behind the best one, however large the error is."""
FEWEST_ROWS = 50
"""Fewer rows, or fewer different ones of several columns, choose nothing: they get a Gaussian."""


@fitted_once
def fit_reference(rows: Tensor, families: tuple[Family, ...] = FAMILIES, marginals: Marginals = "auto") -> Density:
    """Fit the best simple density to rows [N, *shape], stored with their dtype and device. Deterministic.

    Cost: 1 to 12 s of one thread, most of it for 10,000 rows that many components of 10 to 20 coordinates describe.
    """
    from threadpoolctl import threadpool_limits  # scikit-learn's own dependency

    prepared = FittingRows.of(rows)
    z = prepared.values
    different = len(rows.unique(dim=0)) if z.shape[1] > 1 and len(z) <= FEW_ROWS else len(z)
    if different < FEWEST_ROWS or z.shape[1] > MOST_COORDINATES:
        families = families if len(families) == 1 else ("gaussian",)
        marginals = "none" if marginals == "auto" else marginals
    with threadpool_limits(1):
        if len(families) == 1 and marginals != "auto":
            (density,) = candidates(z, families, marginals).values()
            kind = Kind(families[0], False, marginals == "spline")
        else:
            density, kind = _best(z, families, marginals)
        if len(z) > FEW_ROWS:
            density = _refitted(density, z)
        if kind.splined:
            density = splined(density, z)
    return _in_units(density, prepared, tuple(rows.shape[1:])).to(rows)


class _Fold(NamedTuple):
    """Rows to fit, the candidates fitted to them, and rows held out."""

    train: Tensor
    found: dict[Kind, Density]
    held: Tensor


def _best(z: Tensor, families: tuple[Family, ...], marginals: Marginals) -> tuple[Density, Kind]:
    """The candidate that predicts best, before its spline if it has one, and its kind; of few rows, fitted to all."""
    folds = [_Fold(train, candidates(train, families, marginals), held) for train, held in _splits(z)]
    common = [kind for kind in folds[0].found if all(kind in fold.found for fold in folds)]
    plain = {kind: [fold.found[kind] for fold in folds] for kind in common}
    kind = _choose(plain, folds, n_errors=1)
    if marginals in ("auto", "spline"):
        # One normal distribution with the right marginals often does what many with wrong ones do.
        tried = [one for one in common if one in (kind, ("gaussian", kind.bent, False))]
        bent = {one._replace(splined=True): [splined(fold.found[one], fold.train) for fold in folds] for one in tried}
        kind = _choose(bent if marginals == "spline" else {kind: plain[kind]} | bent, folds, n_errors=2)
    before = kind._replace(splined=False)
    if len(z) > FEW_ROWS:
        return folds[0].found[before], kind
    return candidates(z, (kind.family,), "sinh_arcsinh" if kind.bent else "none")[before], kind


def _refitted(density: Density, z: Tensor) -> Density:
    """A fit to some rows, continued on more."""
    if isinstance(density, Transformed):
        return Transformed(refit(mixture_of(density), density.marginals(z)[0]), density.marginals)
    return refit(mixture_of(density), z)


def _splits(z: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows to fit and rows held out: every third row of few, a fifth of many; 10,000 of each at most."""
    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(2))
    n_folds, n_held = (3, len(z) // 3) if len(z) <= ROWS_OF_FOLDS else (1, len(z) // 5)
    for fold in range(n_folds):
        held = order[fold * n_held : (fold + 1) * n_held]
        train = torch.cat((order[: fold * n_held], order[(fold + 1) * n_held :]))
        yield z[train[:MOST_ROWS_TO_CHOOSE]], z[held[:MOST_ROWS_TO_CHOOSE]]


def _choose(found: dict[Kind, list[Density]], folds: list[_Fold], n_errors: float) -> Kind:
    """The kind of fewest parameters within so many standard errors of the best, and hardly behind it."""
    scores = {
        kind: torch.cat([density.log_prob(fold.held) for density, fold in zip(densities, folds, strict=True)])
        for kind, densities in found.items()
    }
    finite = {kind: score for kind, score in scores.items() if score.isfinite().all()}
    best = max(finite.values(), key=lambda score: float(score.mean()))
    behind = {kind: best - score for kind, score in finite.items()}
    most = MOST_BEHIND * folds[0].held.shape[1]
    close = [
        kind
        for kind, gap in behind.items()
        if float(gap.mean()) <= min(most, n_errors * float(gap.std()) / len(gap) ** 0.5)
    ]
    return min(close, key=lambda kind: max(size_of(density) for density in found[kind]))


def _in_units(density: Density, rows: FittingRows, shape: tuple[int, ...]) -> Density:
    """The density of x = centre + scale · z, where z has the one given."""
    inner = mixture_of(density)
    inner.shape = density.shape = shape
    if isinstance(density, Transformed):
        density.marginals.rescale(rows.centre, rows.scale, rows.scale)
    else:
        inner.rescale(rows.centre, rows.scale)
    return density
