"""The choice among simple densities by the log-density of rows that they were not fitted to.

The candidates are a Gaussian, a mixture of Gaussians and one of Student's t distributions, each of the rows as they are
and of transformed marginals. The best mean log-density of the rows held out wins, unless a density with fewer
parameters is within a standard error of the paired difference: then the one with the fewest does.
"""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.densities.bent import Bent
from ebm_cli.densities.elliptical import EllipticalMixture
from ebm_cli.densities.families import Family, fit_families, n_parameters, quick_fit, refit
from ebm_cli.densities.fitting_rows import FittingRows
from ebm_cli.densities.memo import fitted_once
from ebm_cli.densities.mixture_by_bic import MOST_COORDINATES, MOST_ROWS_TO_CHOOSE, some_rows
from ebm_cli.densities.sinh_arcsinh import SinhArcsinh, Transformed
from ebm_cli.densities.sinh_arcsinh_fit import fit_sinh_arcsinh
from ebm_cli.densities.student import StudentMixture

Marginals = Literal["auto", "none", "sinh_arcsinh"]
FAMILIES: tuple[Family, ...] = ("gaussian", "mixture", "student")

FEW_ROWS = 2000
"""Up to so many rows every row is held out once, in one of three folds, because a fifth of them decides little."""
FEWEST_ROWS = 50
"""Fewer rows, or fewer different ones of several columns, choose nothing: they get a Gaussian."""
HOPELESS = 0.4
"""Marginals, transformed or not, that one and four Gaussians describe so much worse, nats a column, are left out."""

Key = tuple[Family, bool]
"""A candidate: its family, and whether the marginals are transformed."""


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
            (density,) = _candidates(z, families, marginals).values()
        else:
            density = _best(z, families, marginals)
        if len(z) > FEW_ROWS:
            density = _refitted(density, z)
    return _in_units(density, prepared, tuple(rows.shape[1:])).to(rows)


def _best(z: Tensor, families: tuple[Family, ...], marginals: Marginals) -> Density:
    """The candidate that predicts best; of few rows, fitted to all of them."""
    folds = [(_candidates(train, families, marginals), held) for train, held in _splits(z)]
    scores: dict[Key, Tensor] = {}
    sizes: dict[Key, int] = {}
    for key in folds[0][0]:
        if all(key in found for found, _ in folds):
            scores[key] = torch.cat([found[key].log_prob(held) for found, held in folds])
            sizes[key] = max(_size(found[key]) for found, _ in folds)
    family, transformed = key = _choose(scores, sizes)
    if len(folds) == 1:
        return folds[0][0][key]
    return _candidates(z, (family,), "sinh_arcsinh" if transformed else "none")[key]


def _refitted(density: Density, z: Tensor) -> Density:
    """A fit to some rows, continued on more."""
    if isinstance(density, Transformed):
        return Transformed(refit(mixture_of(density), density.marginals(z)[0]), density.marginals)
    return refit(mixture_of(density), z)


def _splits(z: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows to fit and rows held out: every third row of few, a fifth of many; 10,000 of each at most."""
    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(2))
    n_folds, n_held = (3, len(z) // 3) if len(z) <= FEW_ROWS else (1, len(z) // 5)
    for fold in range(n_folds):
        held = order[fold * n_held : (fold + 1) * n_held]
        train = torch.cat((order[: fold * n_held], order[(fold + 1) * n_held :]))
        yield z[train[:MOST_ROWS_TO_CHOOSE]], z[held[:MOST_ROWS_TO_CHOOSE]]


def _candidates(z: Tensor, families: tuple[Family, ...], marginals: Marginals) -> dict[Key, Density]:
    """Fit every candidate to rows."""
    bent = None if marginals == "none" else fit_sinh_arcsinh(z)
    if bent is None and marginals == "sinh_arcsinh":
        bent = SinhArcsinh(z.shape[1]).to(z)
    gain = _gain(z, bent) if bent is not None and marginals == "auto" else 0.0
    found: dict[Key, Density] = {}
    if marginals != "sinh_arcsinh" and gain < HOPELESS:
        found |= {(family, False): density for family, density in fit_families(z, families).items()}
    if bent is not None and gain > -HOPELESS:
        y, _ = bent(z)
        found |= {(family, True): Transformed(r, bent) for family, r in fit_families(y, families).items()}
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


def _choose(scores: dict[Key, Tensor], sizes: dict[Key, int]) -> Key:
    """The candidate of fewest parameters within a standard error of the best: scores [N] on the same rows each."""
    finite = {key: score for key, score in scores.items() if score.isfinite().all()}
    best = max(finite.values(), key=lambda score: float(score.mean()))
    behind = {key: best - score for key, score in finite.items()}
    close = [key for key, gap in behind.items() if float(gap.mean()) <= float(gap.std()) / len(gap) ** 0.5]
    return min(close, key=lambda key: sizes[key])


def _size(density: Density) -> int:
    """Free parameters of a candidate."""
    inner = mixture_of(density)
    k, size = inner.means.shape
    return n_parameters(k, size, isinstance(inner, StudentMixture)) + 4 * size * isinstance(density, Transformed)


def mixture_of(density: Density) -> EllipticalMixture:
    """The mixture of a fitted density, of coordinates that its marginals have transformed."""
    inner = density.density if isinstance(density, Transformed) else density
    inner = inner.mixture if isinstance(inner, Bent) else inner
    assert isinstance(inner, EllipticalMixture)
    return inner


def _in_units(density: Density, rows: FittingRows, shape: tuple[int, ...]) -> Density:
    """The density of x = centre + scale · z, where z has the one given."""
    inner = mixture_of(density)
    inner.shape = density.shape = shape
    if isinstance(density, Transformed):
        t = density.marginals
        t.take(rows.centre + rows.scale * t.centre, rows.scale * t.scale, t.skew, t.tail, rows.scale)
    else:
        inner.rescale(rows.centre, rows.scale)
    return density
