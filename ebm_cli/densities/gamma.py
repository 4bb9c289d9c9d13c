"""Gamma variates from the run's own generator: torch's sampler for them draws from the global one."""

import torch
from torch import Tensor


def sample_gamma(shape: Tensor, rng: torch.Generator) -> Tensor:
    """Draw one variate of Gamma(a, 1) for each shape parameter a > 0: [n] → [n].

    A squeeze of the normal distribution, accepted with probability above 0.95, at a + 1; then times U^(1/a).

    Source: Marsaglia & Tsang (2000), "A simple method for generating gamma variables".
    """
    d = shape + 2 / 3
    drawn = torch.zeros_like(d)
    open_ = torch.arange(len(d), device=d.device)
    while len(open_):
        at = d[open_]
        x = torch.randn(len(at), generator=rng, dtype=d.dtype, device=d.device)
        u = torch.rand(len(at), generator=rng, dtype=d.dtype, device=d.device)
        v = (1 + x / (9 * at).sqrt()) ** 3
        accepted = (v > 0) & (u.log() < 0.5 * x.square() + at * (1 - v + v.clamp_min(1e-30).log()))
        drawn[open_[accepted]] = (at * v)[accepted]
        open_ = open_[~accepted]
    # 1 − U is never 0.
    u = 1 - torch.rand(len(d), generator=rng, dtype=d.dtype, device=d.device)
    return drawn * u ** (1 / shape)
