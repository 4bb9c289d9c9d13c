"""Maximum likelihood of the sinh-arcsinh distribution, for all coordinates at once."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ebm_cli.densities.column_groups import grouped
from ebm_cli.densities.sinh_arcsinh import SinhArcsinh, sinh_arcsinh

HEAVIEST_LOG_TAIL, LIGHTEST_LOG_TAIL, MOST_SKEW, LONGEST_LOG_SCALE = math.log(4), math.log(1.5), 4.0, math.log(100)
"""Smooth bounds of −log δ, log δ, |ε| and |log η|, of rows whose bulk has scale 1.

Far out T grows like |x|^δ: a density of large δ is all but 0 just outside the rows, and what is learned there is lost.
"""


def fit_sinh_arcsinh(rows: Tensor, n_steps: int = 25) -> SinhArcsinh | None:
    """Fit T to rows [N, D], float64, each column centred with a bulk of scale 1; None if no column gains.

    A column keeps its line, T(x) = x, unless T has more likelihood on rows held out (a fifth) than the normal
    distribution of the column's moments, by more than a standard error.

    Args:
        rows: the rows.
        n_steps: steps of Newton's method, of which those that gain count.
    """
    n = len(rows)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(1))
    held, train = rows[order[: n // 5]], rows[order[n // 5 :]]
    if len(held) < 10:
        return None
    found = _maximise(*grouped(train), n_steps)
    normal = -0.5 * ((held - train.mean(0)) / train.std(0)).square() - train.std(0).log()
    gain = _log_density(held, *found) - normal
    better = gain.mean(0) > gain.std(0) / math.sqrt(len(held))
    if not better.any():
        return None
    line = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=rows.dtype)
    marginals = SinhArcsinh(rows.shape[1])
    centre, scale, skew, tail = (torch.where(better, part, at) for part, at in zip(found, line, strict=True))
    marginals.take(centre, scale, skew, tail, rows)
    return marginals


def _log_density(x: Tensor, centre: Tensor, scale: Tensor, skew: Tensor, tail: Tensor) -> Tensor:
    """Log-density of each coordinate up to the constant of the normal distribution: [N, D]."""
    y, log_slope = sinh_arcsinh(x, centre, scale, skew, tail)
    return log_slope - 0.5 * y.square()


def _maximise(values: Tensor, shares: Tensor, n_steps: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """ξ, η, ε, δ of most likelihood for each column [D], of values [G, D] with weights [G, 1].

    Newton's steps with the absolute values of the curvatures, damped until they gain: uphill from saddles, too.
    """

    def likelihood(raw: Tensor, column: Tensor) -> Tensor:
        return (shares * _log_density(column.T, *_parameters(raw.T))).sum(0)

    columns = values.T.contiguous()
    raw = torch.zeros(len(columns), 4, dtype=values.dtype)
    damping = torch.ones(len(columns), dtype=values.dtype)
    reached = likelihood(raw, columns)
    for _ in range(n_steps):
        slope, curvature = _derivatives(likelihood, raw, columns)
        bent, axes = torch.linalg.eigh(curvature)
        along = (axes.mT @ slope.unsqueeze(2)).squeeze(2) / (bent.abs() + damping.unsqueeze(1))
        step = (axes @ along.unsqueeze(2)).squeeze(2)
        # A step of a parameter's whole range tells nothing of the next.
        tried = raw + step / step.norm(dim=1, keepdim=True).clamp_min(1)
        found = likelihood(tried, columns)
        ahead = found > reached
        raw = torch.where(ahead.unsqueeze(1), tried, raw)
        reached = torch.where(ahead, found, reached)
        damping = torch.where(ahead, damping / 5, damping * 5).clamp(1e-8, 1e12)
    return _parameters(raw.T)


def _derivatives(likelihood: Callable[[Tensor, Tensor], Tensor], raw: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient [D, 4] and second derivatives [D, 4, 4] of each column's likelihood; 0 where they overflow."""
    with torch.enable_grad():
        at = raw.detach().requires_grad_()
        (slope,) = torch.autograd.grad(likelihood(at, columns).sum(), at, create_graph=True)
        rows = [torch.autograd.grad(part, at, retain_graph=True)[0] for part in slope.sum(0)]
    # sinh of a far value overflows at a heavy tail. 0 there ends the step of this column alone, which gains nothing and
    # is tried again with more damping; a NaN would make `eigh` fail for all columns.
    return slope.detach().nan_to_num(0.0, 0.0, 0.0), torch.stack(rows, 1).nan_to_num(0.0, 0.0, 0.0)


def _parameters(raw: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """ξ, η, ε, δ within their bounds, from four numbers without any: [4, D] → [D] each."""

    def within(value: Tensor, low: float, high: float) -> Tensor:
        bound = torch.where(value > 0, high, low)
        return bound * (value / bound).tanh()

    centre, log_scale, skew, log_tail = raw
    return (
        centre,
        within(log_scale, LONGEST_LOG_SCALE, LONGEST_LOG_SCALE).exp(),
        within(skew, MOST_SKEW, MOST_SKEW),
        within(log_tail, HEAVIEST_LOG_TAIL, LIGHTEST_LOG_TAIL).exp(),
    )
