"""Separation of chains: whether they disagree since each is in a region of its own, or since each is still under way.

A large R̂ has two causes with different cures. Chains that stay in separate modes are each settled: the two halves of a
chain agree, and the chains do not. Chains that wander slowly through one region disagree with themselves, too. For one
coordinate, with m_c the mean of chain c, W the mean variance within a half, and H the mean over the chains of the
variance of the means of their two halves,

    separation = (mean of m_c in the upper group − that in the lower one) / √(W + 10 H),     0 where H > W

where the groups are the split of the sorted m_c with the largest variance between them. Of a path that only drifts,
H = 2 W (for n draws with steps of variance σ², W = n σ²/12 and H = n σ²/6); of n independent draws, H = 2 W/n. A chain
between the two is given a width that it would have explored in several times as many draws.

Source: the split by the largest variance between two groups is that of Otsu (1979), IEEE Trans. SMC 9(1).
"""

from math import sqrt

import torch
from torch import Tensor

from ebm_cli.evaluation.mcmc_diagnostics import split

DRIFT = 10
"""Weight of the drift of a chain in its width."""


def separation(draws: Tensor) -> float | None:
    """Distance between two groups of chains, in widths of what one chain explores.

    None for fewer than two chains, and for chains that stand still, which have no width.

    Args:
        draws: of one coordinate [n_draws, n_chains], finite, n_draws ≥ 4.

    Cost: a sort of the chains.
    """
    n_chains = draws.shape[1]
    if n_chains < 2:
        return None
    halves = split(draws.T.double()[None])[0]
    means = torch.stack(halves.mean(1).split(n_chains))
    within, drift = halves.var(1).mean(), means.var(0).mean()
    ordered = means.mean(0).sort().values
    below = ordered.cumsum(0)[:-1]
    sizes = torch.arange(1, n_chains, device=draws.device)
    gaps = (ordered.sum() - below) / (n_chains - sizes) - below / sizes
    gap = gaps[(sizes * (n_chains - sizes) * gaps.square()).argmax()]
    apart, explored, drifted = torch.stack((gap, within, drift)).tolist()
    if explored + drifted == 0:
        return None
    return 0.0 if drifted > explored else float(apart) / sqrt(explored + DRIFT * drifted)
