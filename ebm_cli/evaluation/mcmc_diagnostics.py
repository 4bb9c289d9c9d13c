"""Convergence diagnostics of Markov chains: R̂, bulk ESS and tail ESS.

R̂ compares the variance between chains with that inside them, and ESS is the number of independent draws that would
give the same error. For M chains of N draws, each chain first split in half (so M and N are those of the halves; a
drift inside a chain then shows as a difference between two), with W the mean of the chains' variances s_m² and B/N the
variance of their means:

    v̂ar⁺ = (N−1)/N · W + B/N,        R̂ = √(v̂ar⁺ / W)
    ρ̂_t = 1 − (W − (1/M) Σ_m s_m² ρ̂_{t,m}) / v̂ar⁺
    ESS = M N / τ̂,    τ̂ = 1 + 2 Σ_{t≥1} ρ̂_t = −1 + 2 Σ_{k≥0} P̂_k,    P̂_k = ρ̂_{2k} + ρ̂_{2k+1}

The last sum stops before the first P̂_k that is not positive, and P̂ is made non-increasing: for a reversible chain
both hold exactly (Geyer 1992, Stat. Sci. 7(4), "initial monotone sequence"), and the rest is noise. Draws are
replaced by normal scores of their pooled ranks r among all S = M N,

    z = Φ⁻¹((r − 3/8) / (S + 1/4)),   ties at their mean rank,

so that the draws need no finite variance. R̂ is the larger of that of the draws and that of |draw − median|, which
detects chains that differ in scale only. Bulk ESS is that of z; tail ESS is the smaller ESS of the indicators of the 5
% and 95 % quantiles.

Source: Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), Bayesian Analysis 16(2), sections 3 and 4. R̂ < 1.01 is
their threshold, and they require an ESS above 400 before R̂ itself is reliable.

All functions take draws [n_draws, n_chains, *D], at least 4 draws a chain, and return one number a coordinate [*D],
float64. A coordinate that is constant, or not finite, has no diagnostics: it is NaN. Memory: a few copies of a block of
coordinates.
"""

from collections.abc import Callable
from math import log10, prod

import torch
from torch import Tensor

BLOCK_NUMBERS = 1 << 22
"""Draws in a block of coordinates that is computed at once."""


def rhat(draws: Tensor, block: int = BLOCK_NUMBERS) -> Tensor:
    """Rank-normalised split R̂, the larger of location and scale: [n_draws, n_chains, *D] → [*D].

    1 where the chains agree; inf where each is stuck at its own point. `block` draws are worked on at once.
    """
    return _blockwise(_rhat, draws, block)


def ess_bulk(draws: Tensor, block: int = BLOCK_NUMBERS) -> Tensor:
    """Effective sample size for the centre of the distribution: [n_draws, n_chains, *D] → [*D]."""
    return _blockwise(_ess_bulk, draws, block)


def ess_tail(draws: Tensor, block: int = BLOCK_NUMBERS) -> Tensor:
    """Effective sample size for the 5 % and 95 % quantiles, the smaller one: [n_draws, n_chains, *D] → [*D]."""
    return _blockwise(_ess_tail, draws, block)


def summary(draws: Tensor) -> dict[str, float]:
    """`rhat`, `ess_bulk` and `ess_tail`, each at its worst coordinate.

    Coordinates whose diagnostic is NaN are ignored; a diagnostic whose worst value is infinite is left out.
    """
    rows = {"rhat": rhat(draws), "ess_bulk": -ess_bulk(draws), "ess_tail": -ess_tail(draws)}
    worst = {name: values[~values.isnan()] for name, values in rows.items()}
    numbers = {name: abs(float(values.max())) for name, values in worst.items() if values.numel()}
    return {name: number for name, number in numbers.items() if number != float("inf")}


def _blockwise(statistic: Callable[[Tensor], Tensor], draws: Tensor, block: int) -> Tensor:
    """Apply a statistic of [d, M, N] → [d] to the split chains of all coordinates, `block` draws at a time."""
    n, n_chains, *shape = draws.shape
    if n < 4:
        raise ValueError(f"draws must hold at least 4 draws a chain, got {n}")
    half = n // 2
    # The middle draw of an odd number is dropped: both halves must have the same length.
    halves = torch.cat((draws[:half], draws[n - half :]), dim=1).reshape(half, 2 * n_chains, prod(shape))
    width = max(1, block // (2 * half * n_chains))
    values = torch.cat([statistic(part.permute(2, 1, 0).double()) for part in torch.split(halves, width, dim=2)])
    finite = halves.isfinite().flatten(0, 1).all(0)
    return torch.where(finite, values, torch.nan).reshape(shape)


def _rhat(x: Tensor) -> Tensor:
    median = x.flatten(1).median(1).values[:, None, None]
    return torch.fmax(_split_rhat(_normal_scores(x)), _split_rhat(_normal_scores((x - median).abs())))


def _ess_bulk(x: Tensor) -> Tensor:
    return _ess(_normal_scores(x))


def _ess_tail(x: Tensor) -> Tensor:
    pooled = x.flatten(1).sort(1).values
    size = pooled.shape[1]
    ends = [pooled[:, round(q * (size - 1)), None, None] for q in (0.05, 0.95)]
    low, high = (_ess((x <= end).double()) for end in ends)
    # Ties at an end make its indicator constant, whose ESS is NaN: the other end's is taken.
    return torch.fmin(low, high)


def _split_rhat(x: Tensor) -> Tensor:
    within, total = _variances(x)
    return (total / within).sqrt()


def _variances(x: Tensor) -> tuple[Tensor, Tensor]:
    """W and v̂ar⁺, of [d, M, N] → [d], [d]."""
    n = x.shape[2]
    # Shifted by one of the draws, a constant has variance 0 exactly, where a rounded mean would leave a residue.
    within = (x - x[:, :, :1]).var(2).mean(1)
    return within, (n - 1) / n * within + (x - x[:, :1, :1]).mean(2).var(1)


def _normal_scores(x: Tensor) -> Tensor:
    """Φ⁻¹((r − 3/8)/(S + 1/4)), with r the mean rank of each draw among all S of its coordinate."""
    flat = x.flatten(1)
    size = flat.shape[1]
    ordered, order = flat.sort(1)
    position = torch.arange(size, device=x.device)
    starts = torch.ones_like(ordered, dtype=torch.bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = torch.where(starts, position, 0).cummax(1).values
    last = torch.where(starts.roll(-1, 1), position, size).flip(1).cummin(1).values.flip(1)
    rank = 1 + (first + last).double() / 2
    scores: Tensor = torch.special.ndtri((rank - 0.375) / (size + 0.25))
    return torch.empty_like(scores).scatter_(1, order, scores).view_as(x)


def _ess(x: Tensor) -> Tensor:
    """M N / τ̂ of [d, M, N] → [d], at most S log10 S with S = M N.

    The ESS of an antithetic chain is more than its S draws; the bound keeps a τ̂ near 0 from making it infinite.
    """
    _, n_chains, n = x.shape
    size = n_chains * n
    within, total = _variances(x)
    covariance = _autocovariance(x).mean(1)
    rho = 1 - (within[:, None] - covariance * n / (n - 1)) / total[:, None]
    pairs = rho[:, : n - n % 2].reshape(len(rho), -1, 2).sum(2)
    is_summed = (pairs > 0).cumprod(1)
    tau = 2 * (pairs.cummin(1).values * is_summed).sum(1) - 1
    ess = size / tau.clamp(min=1 / log10(size))
    return torch.where(total > 0, ess, torch.nan)


def _autocovariance(x: Tensor) -> Tensor:
    """(1/N) Σ_i (x_i − x̄)(x_{i+t} − x̄) for every lag t, by FFT: [..., N] → [..., N]."""
    n = x.shape[-1]
    # Twice the length, padded with zeros: the FFT's correlation is circular.
    spectrum = torch.fft.rfft(x - x.mean(-1, keepdim=True), 2 * n)
    covariance: Tensor = torch.fft.irfft(spectrum.abs().square(), 2 * n)
    return covariance[..., :n] / n
