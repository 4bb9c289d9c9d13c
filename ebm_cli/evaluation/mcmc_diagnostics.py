"""Convergence diagnostics of Markov chains: R̂, and effective sample sizes of the bulk, the tails, the mean and the sd.

R̂ compares the variance between chains with that inside them, and ESS is the number of independent draws that would
give the same error. For M chains of N draws, each chain first split in half (so M and N are those of the halves; a
drift inside a chain then shows as a difference between two), with W the mean of the chains' variances s_m², B/N the
variance of their means, and γ̂_t the mean of the chains' autocovariances (1/N) Σ_i (x_i − x̄_m)(x_{i+t} − x̄_m):

    v̂ar⁺ = (N−1)/N · W + B/N,        R̂ = √(v̂ar⁺ / W)
    ρ̂_0 = 1,   ρ̂_t = 1 − (W − γ̂_t) / v̂ar⁺,      P̂_k = ρ̂_{2k} + ρ̂_{2k+1}
    ESS = M N / τ̂,    τ̂ = −1 + 2 Σ_{k<K} min_{j≤k} P̂_j + ρ̂_{2K}

with K the first k whose P̂_k is not positive, at most (N − 3)/2, and a negative last term left out: for a reversible
chain P̂ is positive and does not increase (Geyer 1992, Stat. Sci. 7(4), "initial monotone sequence"), and the rest is
noise. For R̂ and bulk ESS draws are replaced by normal scores of their pooled ranks r among all S = M N,

    z = Φ⁻¹((r − 3/8) / (S + 1/4)),   ties at their mean rank,

so that the draws need no finite variance. R̂ is the larger of that of the draws and that of |draw − median|, which
detects chains that differ in scale only. Tail ESS is the smaller ESS of the indicators of the 5 % and 95 % quantiles.

Source: Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), Bayesian Analysis 16(2), sections 3 and 4. R̂ < 1.01 is
their threshold, and they require an ESS above 400 before R̂ itself is reliable. The numbers are those of ArviZ.

All functions take draws [n_draws, n_chains, *D] and return one number a coordinate [*D], float64. It is NaN where there
is no diagnostic: with fewer than 4 draws a chain, where a draw is not finite, and where a chain is constant (whether
it is stuck or the coordinate has one value only, constant draws cannot tell). An ESS is larger than the number of draws
where they are antithetic, at most S log10 S; what is reported of it is bounded by the number of different draws
(`Diagnostics.bounded`). Memory: a few copies of a block of coordinates.
"""

from collections.abc import Callable
from math import log10, prod
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK_NUMBERS = 1 << 22
"""Draws in a block of coordinates that is computed at once."""
MIN_DRAWS = 4
"""Draws of a chain from which there are diagnostics."""
MIN_DRAWS_FOR_LAGS = 10
"""Draws of a chain below which K is 0, and an ESS the largest there is, whatever the draws."""
CONSTANT = 1e-15
"""Range of draws, relative to their size, that is rounding."""


def too_few_draws(n_draws: int) -> str:
    """Why so few draws of a chain have no diagnostics; "" if they are enough."""
    return f"too few draws a chain: {n_draws}, and {MIN_DRAWS} are needed" if n_draws < MIN_DRAWS else ""


class Diagnostics(NamedTuple):
    """The diagnostics of each coordinate [*D], computed together in one pass.

    Attributes:
        rhat, ess_bulk, ess_tail: as the functions of these names.
        n_distinct: number of different values among the draws of a coordinate.
    """

    rhat: Tensor
    ess_bulk: Tensor
    ess_tail: Tensor
    n_distinct: Tensor

    def bounded(self) -> "Diagnostics":
        """The same with an ESS of at most the number of different values, which is at most that of different draws."""
        bulk, tail = (torch.minimum(ess, self.n_distinct) for ess in (self.ess_bulk, self.ess_tail))
        return self._replace(ess_bulk=bulk, ess_tail=tail)


def diagnose(draws: Tensor, block: int = BLOCK_NUMBERS) -> Diagnostics:
    """R̂, bulk ESS, tail ESS and the number of different draws: [n_draws, n_chains, *D] → [*D] each.

    With fewer than 10 draws a chain, where K is 0, the ESS sums every pair up to the first that is not positive.
    `block` draws are worked on at once.
    """
    return Diagnostics(*blockwise(_diagnose, draws, block))


def rhat(draws: Tensor, block: int = BLOCK_NUMBERS) -> Tensor:
    """Rank-normalised split R̂, the larger of location and scale: [n_draws, n_chains, *D] → [*D].

    1 where the chains agree. `block` draws are worked on at once.
    """
    return blockwise(lambda x: (_rhat(_rank(split(x))),), draws, block)[0]


def ess_bulk(draws: Tensor, block: int = BLOCK_NUMBERS) -> Tensor:
    """Effective sample size for the centre of the distribution: [n_draws, n_chains, *D] → [*D]."""
    return blockwise(lambda x: (_ess(_rank(split(x)).scores),), draws, block)[0]


def ess_tail(draws: Tensor, block: int = BLOCK_NUMBERS) -> Tensor:
    """Effective sample size for the 5 % and 95 % quantiles, the smaller one: [n_draws, n_chains, *D] → [*D]."""
    return blockwise(lambda x: (_ess_tail(x, _rank(split(x))),), draws, block)[0]


def ess_mean(draws: Tensor, block: int = BLOCK_NUMBERS) -> Tensor:
    """Effective sample size for the mean, without ranks: [n_draws, n_chains, *D] → [*D]."""
    return blockwise(lambda x: (_ess(split(unit_scale(x))),), draws, block)[0]


def ess_sd(draws: Tensor, block: int = BLOCK_NUMBERS) -> Tensor:
    """Effective sample size for the standard deviation, that of (draw − mean)²: [n_draws, n_chains, *D] → [*D]."""
    return blockwise(lambda x: (_ess(split(unit_scale(x).square())),), draws, block)[0]


def ess_quantile(draws: Tensor, probability: float, block: int = BLOCK_NUMBERS) -> Tensor:
    """Effective sample size for a quantile, that of its indicator: [n_draws, n_chains, *D] → [*D].

    Args:
        draws: of the chains.
        probability: of the quantile, in (0, 1).
        block: draws that are worked on at once.
    """

    def ess(x: Tensor) -> tuple[Tensor]:
        return (indicator_ess(x, x.flatten(1).sort(1).values, probability),)

    return blockwise(ess, draws, block)[0]


def blockwise(
    statistics: Callable[[Tensor], tuple[Tensor, ...]], draws: Tensor, block: int = BLOCK_NUMBERS
) -> tuple[Tensor, ...]:
    """Apply statistics of [d, n_chains, n_draws] → [d] to all coordinates, `block` draws at a time.

    Args:
        statistics: is given float64 draws.
        draws: [n_draws, n_chains, *D].
        block: at least the draws of one coordinate are worked on at once.

    Returns:
        The statistics [*D], NaN for coordinates without a diagnostic (module).
    """
    n, n_chains, *shape = draws.shape
    if n < MIN_DRAWS:
        draws, n = draws.new_full((MIN_DRAWS, n_chains, *shape), torch.nan), MIN_DRAWS
    flat = draws.detach().reshape(n, n_chains, prod(shape))
    parts = [part.permute(2, 1, 0).double() for part in flat.split(max(1, block // (n * n_chains)), dim=2)]
    found = [tuple(_where_known(part, value) for value in statistics(part)) for part in parts]
    return tuple(torch.cat(values).reshape(shape) for values in zip(*found, strict=True))


def split(x: Tensor) -> Tensor:
    """Both halves of each chain as chains: [d, M, n] → [d, 2M, n/2]; the middle draw of an odd number is dropped."""
    half = x.shape[2] // 2
    return torch.cat((x[:, :, :half], x[:, :, -half:]), dim=1)


def unit_scale(x: Tensor) -> Tensor:
    """Shift and scale the draws of each coordinate to mean 0 and largest size 1: [d, M, n]."""
    centred = x - x.flatten(1).mean(1)[:, None, None]
    return centred / centred.abs().flatten(1).amax(1).clamp(min=torch.finfo(x.dtype).tiny)[:, None, None]


def quantile(ordered: Tensor, probability: float) -> Tensor:
    """Quantile of sorted draws [d, S] → [d], interpolated between two of them ("type 7" of R)."""
    size = ordered.shape[1]
    at = size * probability + (1 - probability)
    below = int(min(max(at, 1), size - 1))
    share = min(max(at - below, 0.0), 1.0)
    return (1 - share) * ordered[:, below - 1] + share * ordered[:, below]


def indicator_ess(x: Tensor, ordered: Tensor, probability: float, short: bool = False) -> Tensor:
    """ESS of the indicator of a quantile: chains [d, M, n], their draws in order [d, M n] → [d]."""
    return _ess(split((x <= quantile(ordered, probability)[:, None, None]).double()), short)


class _Ranked(NamedTuple):
    """Split chains [d, M, N] with their draws in order [d, M N], normal scores [d, M, N], number of values [d]."""

    halves: Tensor
    ordered: Tensor
    scores: Tensor
    n_distinct: Tensor


def _rank(halves: Tensor) -> _Ranked:
    flat = halves.flatten(1)
    ordered, order = flat.sort(1)
    size = flat.shape[1]
    position = torch.arange(size, device=flat.device)
    starts = torch.ones_like(ordered, dtype=torch.bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = torch.where(starts, position, 0).cummax(1).values
    last = torch.where(starts.roll(-1, 1), position, size).flip(1).cummin(1).values.flip(1)
    rank = 1 + (first + last).double() / 2
    scores: Tensor = torch.special.ndtri((rank - 0.375) / (size + 0.25))
    scores = torch.empty_like(scores).scatter_(1, order, scores).view_as(halves)
    return _Ranked(halves, ordered, scores, starts.sum(1).double())


def _diagnose(x: Tensor) -> tuple[Tensor, ...]:
    ranked, short = _rank(split(x)), x.shape[2] < MIN_DRAWS_FOR_LAGS
    return _rhat(ranked), _ess(ranked.scores, short), _ess_tail(x, ranked, short), ranked.n_distinct


def _where_known(x: Tensor, value: Tensor) -> Tensor:
    """The value where every draw is finite and no chain is constant, else NaN."""
    moves = (x != x[:, :, :1]).any(2).all(1)
    return torch.where(x.isfinite().flatten(1).all(1) & moves, value, torch.nan)


def _rhat(ranked: _Ranked) -> Tensor:
    half = ranked.ordered.shape[1] // 2
    median = (ranked.ordered[:, half - 1 : half + 1].mean(1))[:, None, None]
    folded = _rank((ranked.halves - median).abs()).scores
    return torch.fmax(_rhat_of_scores(ranked.scores), _rhat_of_scores(folded))


def _rhat_of_scores(z: Tensor) -> Tensor:
    within, total = _variances(z)
    return (total / within).sqrt()


def _ess_tail(x: Tensor, ranked: _Ranked, short: bool = False) -> Tensor:
    # The middle draw of an odd number counts for the quantile.
    ordered = ranked.ordered if x.shape[2] % 2 == 0 else x.flatten(1).sort(1).values
    low, high = (indicator_ess(x, ordered, probability, short) for probability in (0.05, 0.95))
    return torch.minimum(low, high)


def _variances(x: Tensor) -> tuple[Tensor, Tensor]:
    """W and v̂ar⁺, of [d, M, N] → [d], [d]."""
    n = x.shape[2]
    # Shifted by one of the draws, a constant has variance 0 exactly, where a rounded mean would leave a residue.
    within = (x - x[:, :, :1]).var(2).mean(1)
    return within, (n - 1) / n * within + (x - x[:, :1, :1]).mean(2).var(1)


def _ess(x: Tensor, short: bool = False) -> Tensor:
    """M N / τ̂ of [d, M, N] → [d], at most S log10 S with S = M N; S where all draws are the same.

    `short` sums every positive pair, also the last.
    """
    d, n_chains, n = x.shape
    size = n_chains * n
    within, total = _variances(x)
    rho = 1 - (within[:, None] - _autocovariance(x).mean(1)) / total[:, None]
    rho[:, 0] = 1.0
    pairs = rho[:, : n - n % 2].reshape(d, -1, 2).sum(2)
    if not short:
        pairs = pairs[:, : max(0, (n - 3) // 2) + 1]
    is_positive = (pairs > 0).cumprod(1)
    # Pairs before the last one that counts; that one gives its first half only.
    n_summed = is_positive.sum(1) if short else is_positive.sum(1).clamp(max=pairs.shape[1] - 1)
    is_summed = torch.arange(pairs.shape[1], device=x.device) < n_summed[:, None]
    if short:
        last = torch.zeros_like(total)
    else:
        last_pair, last = (values.gather(1, n_summed[:, None])[:, 0] for values in (pairs, rho[:, ::2]))
        last = torch.where((last > 0) | (last_pair >= 0), last, 0.0)
    tau = 2 * (pairs.cummin(1).values * is_summed).sum(1) + last - 1
    ess = size / tau.clamp(min=1 / log10(size))
    is_constant = x.amax((1, 2)) - x.amin((1, 2)) < CONSTANT
    return torch.where(is_constant, torch.full_like(ess, size), ess)


def _autocovariance(x: Tensor) -> Tensor:
    """(1/N) Σ_i (x_i − x̄)(x_{i+t} − x̄) for every lag t, by FFT: [..., N] → [..., N]."""
    n = x.shape[-1]
    # Twice the length, padded with zeros: the FFT's correlation is circular.
    spectrum = torch.fft.rfft(x - x.mean(-1, keepdim=True), 2 * n)
    covariance: Tensor = torch.fft.irfft(spectrum.abs().square(), 2 * n)
    return covariance[..., :n] / n
