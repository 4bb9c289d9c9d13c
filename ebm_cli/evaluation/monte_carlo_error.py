"""Monte Carlo standard errors of what Markov chains estimate: the mean, the standard deviation, and quantiles.

With s the standard deviation of all draws, E their mean over all draws, y = (x − E x)², and ESS as in
`mcmc_diagnostics`:

    MCSE(mean) = s / √ESS_mean,       MCSE(sd) = √( (E y² − (E y)²) / (4 ESS_y E y) )
    MCSE(quantile q) = half the distance between two of the sorted draws, those at the 16 % and 84 % quantiles of
                       Beta(ESS_q q + 1, ESS_q (1 − q) + 1), which is the distribution of the rank of the quantile

Sources: Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), Bayesian Analysis 16(2), section 4; the sd by the delta
method (Kenney & Keeping 1951). The numbers are those of ArviZ.

All functions take draws [n_draws, n_chains, *D] and return one number a coordinate [*D], float64, in the units of the
draws; NaN for coordinates without diagnostics, as there.
"""

import torch
from torch import Tensor

from ebm_cli.evaluation.mcmc_diagnostics import BLOCK_NUMBERS, blockwise, ess_mean, ess_sd, indicator_ess

ONE_SIGMA = 0.1586553, 0.8413447
"""Probabilities of a normal number below −1 and below 1."""


def mcse_mean(draws: Tensor, block: int = BLOCK_NUMBERS) -> Tensor:
    """Standard error of the mean: [n_draws, n_chains, *D] → [*D]. `block` draws are worked on at once."""
    (deviation,) = blockwise(lambda x: (x.flatten(1).std(1),), draws, block)
    return deviation / ess_mean(draws, block).sqrt()


def mcse_sd(draws: Tensor, block: int = BLOCK_NUMBERS) -> Tensor:
    """Standard error of the standard deviation: [n_draws, n_chains, *D] → [*D]."""
    variance, spread = blockwise(_moments, draws, block)
    return spread / (2 * variance.sqrt() * ess_sd(draws, block).sqrt())


def mcse_quantile(draws: Tensor, probability: float, block: int = BLOCK_NUMBERS) -> Tensor:
    """Standard error of a quantile: [n_draws, n_chains, *D] → [*D].

    Args:
        draws: of the chains.
        probability: of the quantile, in (0, 1).
        block: draws that are worked on at once.
    """

    def error(x: Tensor) -> tuple[Tensor]:
        ordered = x.flatten(1).sort(1).values
        ess, size = indicator_ess(x, ordered, probability), ordered.shape[1]
        low, high = (_beta_quantile(p, ess * probability + 1, ess * (1 - probability) + 1) for p in ONE_SIGMA)
        ends = (size * low - 1).clamp(min=0).floor(), (size * high - 1).clamp(max=size - 1).ceil()
        # A rank is NaN only where draws are not finite, for which `blockwise` returns NaN whatever is found here.
        first, last = (ordered.gather(1, end.nan_to_num(0.0).long()[:, None])[:, 0] for end in ends)
        return ((last - first) / 2,)

    return blockwise(error, draws, block)[0]


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """E y and the standard deviation of y = (x − E x)², of [d, M, n] → [d], [d]."""
    flat = x.flatten(1)
    square = (flat - flat.mean(1, keepdim=True)).square()
    return square.mean(1), square.std(1, correction=0)


def _beta_quantile(probability: float, a: Tensor, b: Tensor) -> Tensor:
    """Quantile of Beta(a, b): [d], [d] → [d]."""
    from scipy.special import betaincinv

    return torch.from_numpy(betaincinv(a.cpu().numpy(), b.cpu().numpy(), probability)).to(a.device)
