"""The shape k̂ of the tail of importance weights: whether their mean can be trusted.

The largest M = min(n/5, 3√n) weights beyond the next one are fitted by a generalised Pareto distribution of shape k.
Weights have 1/k moments: below ½ their variance exists, and the error of their mean with it; up to 0.7 the mean still
converges at a useful rate; above 1 it does not exist. A few heavy weights among many light ones give a large k̂ long
before they show in the effective sample size.

Sources: Vehtari, Simpson, Gelman, Yao & Gabry (2024), JMLR 25(72), for M and the bounds; Zhang & Stephens (2009),
Technometrics 51(3), for the fit, whose prior for k of ten observations at ½ is theirs, too.
"""

import math

import torch
from torch import Tensor

RELIABLE_K = 0.7
"""k̂ up to which the mean of weights and its error are reliable."""
SAME = 1e-4
"""Relative spread of the largest weights below which they are alike: rounding in float32 makes as much."""
PRIOR, PRIOR_K = 10, 0.5
"""Observations that the prior of k counts as, and their k."""


def pareto_k(log_w: Tensor) -> float:
    """k̂ of weights [N], given by their logarithms; −inf where the largest are alike (`SAME`).

    N ≥ 25: five weights at least are in the tail.
    """
    n = len(log_w)
    if n < 25:
        raise ValueError(f"at least 25 weights are needed, got {n}")
    size = min(n // 5, math.ceil(3 * math.sqrt(n)))
    largest = log_w.double().topk(size + 1).values
    excess = (largest[:-1] - largest[0]).exp() - (largest[-1] - largest[0]).exp()
    return -math.inf if float(excess[0]) <= SAME else _shape(excess.flip(0))


def _shape(x: Tensor) -> float:
    """k̂ of a generalised Pareto distribution from M excesses x > 0 in increasing order."""
    x = x.clamp(min=1e-300)
    m = len(x)
    n_grid = 30 + math.isqrt(m)
    quartile = x[int(m / 4 + 0.5) - 1]
    steps = torch.arange(1, n_grid + 1, dtype=x.dtype)
    theta = 1 / x[-1] + (1 - (n_grid / (steps - 0.5)).sqrt()) / (3 * quartile)
    k = torch.log1p(-theta[:, None] * x).mean(1)
    profile = m * ((-theta / k).log() - k - 1)
    best = (profile.softmax(0) * theta).sum()
    found = float(torch.log1p(-best * x).mean())
    return (m * found + PRIOR * PRIOR_K) / (m + PRIOR)
