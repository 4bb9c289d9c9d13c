"""Moments of exact samples, for any energy."""

import math

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn, value_and_grad


def moment_deviations(energy: EnergyFn, x: Tensor) -> Tensor:
    """Deviations of exact samples x [N, D] from E[x·∇f] = D and E[∇f] = 0, in standard errors [D + 1].

    Both hold for exp(−f)/Z by integration by parts.
    """
    grad = value_and_grad(energy, x)[1]
    terms = torch.cat([(x * grad).sum(1, keepdim=True) - x.shape[1], grad], dim=1)
    return terms.mean(0).abs() / (terms.std(0) / math.sqrt(len(x)))
