"""The exact combination of two densities: q(x) = (1 − ε) a(x) + ε b(x)."""

import math

import torch
from torch import Tensor

from ebm_cli.densities.differentials import Differentials


def log_mixed(log_a: Tensor, log_b: Tensor, share: float) -> Tensor:
    """log((1 − ε) a + ε b): log-densities [B] each, ε = share in (0, 1) → [B]."""
    return torch.logaddexp(log_a + math.log1p(-share), log_b + math.log(share))


def mixed_differentials(a: Differentials, b: Differentials, share: float, v: Tensor | None) -> Differentials:
    """The differentials of the combination, from those of a and b at the same points and directions.

    ∇² log q = Σ r (∇² log + ∇ log ∇ᵀ log) − ∇ log q ∇ᵀ log q = r_a ∇² log a + r_b ∇² log b + r_a r_b d dᵀ,
    d = ∇ log a − ∇ log b, with the shares r of a and b at the point.
    """
    value = log_mixed(a.value, b.value, share)
    r = (b.value + math.log(share) - value).exp()
    at = r.view(-1, *[1] * (a.gradient.dim() - 1))
    apart = a.gradient - b.gradient
    second = None
    if v is not None and a.second is not None and b.second is not None:
        along = (v.flatten(2) * apart.flatten(1)).sum(2).square().sum(0)
        second = (1 - r) * a.second + r * b.second + r * (1 - r) * along
    return Differentials(value, a.gradient - at * apart, second)
