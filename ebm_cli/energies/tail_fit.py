"""The steps of `ColumnTails` from rows, and their heights by maximum likelihood from weighted draws.

With φ [P] the steps at a point, the rows' means φ̄ and draws y_i of a density, whose weights w_i make them draws of the
model p, the heights are the minimum of

    L(h) = h·φ̄ + log Σ_i w_i exp(−h·φ(y_i)) + ½ Σ_j λ_j h_j²,    λ_j = φ̄_j (1/k_j + 1/m_j)/s²

the negative log-likelihood of the rows under p exp(−h·φ)/Z, per row, with a prior N(0, s²) of each height. It is
convex: its gradient is a difference of two means, and its second derivative the covariance of φ under the corrected
model. k_j and m_j are the rows and the effective number of draws in a step: where both are many, λ_j is nothing; where
the draws hardly know the tail of the model, it stays as it is.

s² is estimated from the P steps themselves, which differ from the rows by d_j = log(φ̄_j/E_p[φ_j]), of variance
s² + 1/k_j + 1/m_j, and from a guess s₀² that weighs as much as g steps:

    s² = ( g s₀² + Σ_j (d_j² − 1/k_j − 1/m_j) ) / (g + P)

Many rows that find nothing wrong thus keep their noise out of the tails of a model that is right. Without the guess it
is the estimator of moments of a random effect of mean 0 (Hedges & Olkin 1985, chapter 9).
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ebm_cli.energies.column_tails import Tails

SHARES = (0.003, 0.001)
"""Shares of the rows beyond the thresholds of either side of a column."""
FEWEST, LARGEST = 10, 0.01
"""Rows beyond a threshold, at least, because the share of fewer is hardly known, and at most as a share: a tail."""
GUESS, GUESS_STEPS = 0.7, 4
"""s₀, nats, as far as trained tails are off on known tables, and g; s is at most s₀: with more, neighbouring steps work
against each other."""
SMALLEST = 0.3
"""s, nats, at least."""
MOST_ITERATIONS, TOLERANCE = 30, 1e-8
"""Steps of Newton's method at most, and twice the gain of L, nats, that a further one must promise."""
NARROWEST = 0.02
"""Width of a step, standardised units, at least: rows may be equal, and chains have to climb it."""
LEAST_DRAWS = 1e-3
"""Effective number of draws that a step counts with at least."""
BLOCK = 20_000
"""Draws whose products are taken together in double precision."""


def steps_of(rows: Tensor) -> Tails:
    """Steps behind quantiles of rows [N, D] on both sides of each column, of height 0.

    A step is half as wide as the distance to the threshold of twice as many rows. Of few rows, both shares are the same
    number of rows, and there is one step a side; of fewer than a thousand there is none.
    """
    n, size = rows.shape
    ordered = rows.double().sort(0).values
    found: list[tuple[Tensor, Tensor]] = []
    for sign, column in ((-1.0, ordered), (1.0, ordered.flip(0))):
        for count in sorted({max(FEWEST, round(share * n)) for share in SHARES}):
            if count <= LARGEST * n:
                threshold = (column[count - 1] + column[count]) / 2
                width = ((threshold - column[2 * count]).abs() / 2).clamp(min=NARROWEST)
                found.append((threshold, sign * width))
    if not found:
        return Tails(*rows.new_zeros(3, size, 0))
    thresholds, widths = (torch.stack(part, 1) for part in zip(*found, strict=True))
    return Tails(thresholds, widths, torch.zeros_like(widths))


def fit_heights(of_rows: Tensor, n_rows: int, of_draws: Tensor, log_w: Tensor) -> Tensor:
    """The heights [P] of maximum likelihood, by Newton's method with step halving.

    Args:
        of_rows: φ̄ [P], float64.
        n_rows: rows that it is the mean of.
        of_draws: φ of the draws [N, P].
        log_w: logarithms of their weights [N], float64, up to a constant.

    Cost: a few passes over φ of the draws, P² operations each.
    """
    error = 1 / (n_rows * of_rows) + 1 / _effective(of_draws, log_w)
    ridge = of_rows * error / prior_variance(of_rows, _mean(of_draws, log_w.softmax(0)), error)
    h = torch.zeros_like(of_rows)
    value, log_tilted = _objective(h, of_rows, ridge, of_draws, log_w)
    for _ in range(MOST_ITERATIONS):
        mean, covariance = _moments(of_draws, log_tilted)
        gradient = of_rows - mean + ridge * h
        step = torch.linalg.solve(covariance + ridge.diag(), gradient)
        promised, length = float(gradient @ step), 1.0
        if promised < TOLERANCE:
            break
        tried, there = _objective(h - step, of_rows, ridge, of_draws, log_w)
        while tried > value - 0.25 * length * promised and length > 1e-3:
            length /= 2
            tried, there = _objective(h - length * step, of_rows, ridge, of_draws, log_w)
        if tried >= value:
            break
        h, value, log_tilted = h - length * step, tried, there
    return h


def prior_variance(of_rows: Tensor, of_model: Tensor, error: Tensor) -> float:
    """s², from the means of φ over rows and under the model [P], and the error variances of their log ratios [P].

    A step that less than one row or draw knows, of an error of more than 1, does not count.
    """
    counts = error < 1
    excess = (of_rows[counts] / of_model[counts]).log().square() - error[counts]
    found = (GUESS_STEPS * GUESS**2 + float(excess.sum())) / (GUESS_STEPS + len(excess))
    return min(max(found, SMALLEST**2), GUESS**2)


def _objective(h: Tensor, of_rows: Tensor, ridge: Tensor, of_draws: Tensor, log_w: Tensor) -> tuple[float, Tensor]:
    """L(h) up to a constant, and the logarithms of the weights that h gives the draws."""
    log_tilted = log_w - torch.cat([part @ h for part in _blocks(of_draws)])
    value = float(h @ of_rows + log_tilted.logsumexp(0) + 0.5 * ridge @ h.square())
    return value if math.isfinite(value) else math.inf, log_tilted


def _moments(of_draws: Tensor, log_w: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [P] and covariance [P, P] of φ under weighted draws."""
    w = log_w.softmax(0)
    mean = _mean(of_draws, w)
    square = sum(
        (((part * own.unsqueeze(1)).T @ part) for own, part in zip(w.split(BLOCK), _blocks(of_draws), strict=True)),
        log_w.new_zeros(()),
    )
    return mean, square - mean.outer(mean)


def _mean(of_draws: Tensor, w: Tensor) -> Tensor:
    """Mean of φ under draws whose weights w [N] have the sum 1."""
    return sum((own @ part for own, part in zip(w.split(BLOCK), _blocks(of_draws), strict=True)), w.new_zeros(()))


def _effective(of_draws: Tensor, log_w: Tensor) -> Tensor:
    """Effective number of draws in each step [P], (Σ wφ)²/Σ (wφ)²."""
    weighted = (
        (part * own.unsqueeze(1)) for own, part in zip(log_w.softmax(0).split(BLOCK), _blocks(of_draws), strict=True)
    )
    sums = [(part.sum(0), part.square().sum(0)) for part in weighted]
    total, square = (torch.stack(part).sum(0) for part in zip(*sums, strict=True))
    # A step that no draw reaches counts as almost none: its own ridge is large, and finite.
    found = total.square() / square.clamp(min=torch.finfo(square.dtype).tiny)
    return found.clamp(min=LEAST_DRAWS)


def _blocks(of_draws: Tensor) -> Iterator[Tensor]:
    return (part.double() for part in of_draws.split(BLOCK))
