"""Importance weights of a population of chains: effective size, resampling, and the error of the mean weight.

**Families.** Chains that descend by resampling from the same draw are a family. With S_e the share of the final weight
that family e holds, the relative standard error of the mean weight of n chains is

    se² = (n Σ_e S_e² − 1)/(n − 1) · ν/(ν − 2),     ν = 1/Σ_e S_e² − 1

Without resampling every chain is a family, and this is the usual standard error with the variance of Student's t, for
a variance that 1/Σ_e S_e² of the weights determine.

Source: Lee & Whiteley (2018), Biometrika 105(3), for a variance from families. Their estimator subtracts 1/n more for
each resampling, the noise that multinomial resampling adds within families; systematic resampling adds little of it,
and with that term the error was half of the spread over seeds (docs/adr/0010).
"""

import math

import torch
from torch import Tensor

from ebm_cli.evaluation.not_integrable import NotIntegrable


def effective_size(log_w: Tensor) -> float:
    """Effective sample size of weights, (Σ w)²/Σ w²: [B] → 1 … B.

    Raises:
        NotIntegrable: all weights are 0.
    """
    total = log_w.logsumexp(0)
    if total == -math.inf:
        raise NotIntegrable("no chain has any weight left: the energy is infinite wherever they went")
    return float((2 * total - (2 * log_w).logsumexp(0)).exp())


def n_families(log_w: Tensor, family: Tensor) -> float:
    """Effective number of families, 1/Σ_e S_e²: log weights [B] and each chain's family [B], 0 … B − 1.

    Raises:
        NotIntegrable: all weights are 0.
    """
    effective_size(log_w)
    return 1 / float(torch.zeros_like(log_w).index_add_(0, family, log_w.softmax(0)).square().sum())


def standard_error(ess: float, n: int) -> float:
    """Relative standard error of the mean weight of n chains in `ess` families; inf below three of them."""
    freedom = ess - 1
    if freedom <= 2:
        return math.inf
    return math.sqrt(max(n / ess - 1, 0.0) / (n - 1) * freedom / (freedom - 2))


def systematic_indices(log_weights: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """n indices in increasing order, index i about n w_i / Σ w times, from one uniform draw.

    Source: Kitagawa (1996), JCGS 5(1).
    """
    cumulative = log_weights.softmax(0).cumsum(0)
    u = torch.rand((), generator=rng, device=rng.device).to("cpu", torch.float64)
    grid = (torch.arange(n, dtype=torch.float64) + u) / n * cumulative[-1]
    # Rounding may put the last point on the end of the scale, where a chain without weight would be chosen.
    last = int((log_weights > -math.inf).nonzero()[-1])
    return torch.searchsorted(cumulative, grid, right=True).clamp(max=last)
