"""The weights of a trained energy's components, by maximum likelihood.

With r_k(x) the shares of the reference's components at a point, a density p is the mixture of its parts r_k p,

    p(x) = Σ_k ρ_k p_k(x),     p_k = r_k p / ρ_k,     ρ_k = E_p[r_k],

and what gives the parts other weights w_k keeps the score within each of them, where components are apart:

    p′(x) = Σ_k w_k p_k(x) = a(x) p(x),     a(x) = Σ_k s_k r_k(x),     s_k = w_k / ρ_k.

Score matching knows the score and hardly the weights of parts that are apart (Wenliang & Kanagawa 2020): it may leave
a reference's weights, which were right, for others. The rows know them.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ebm_cli.densities.place import Moved

PRIOR = 1.0
"""Rows, with the model's own weights, that count beside those of the data: a part that no row is in keeps some mass."""
MOST_ITERATIONS, TOLERANCE = 500, 1e-7
"""Steps of expectation maximisation at most, and the largest change of a weight below which they end."""


class LogFactor(NamedTuple):
    """log a(x) and its derivatives: [B], along V directions [V, B], and the sum of the second ones [B]."""

    value: Tensor
    first: Tensor
    second: Tensor


class ComponentScales(nn.Module):
    """log a(x) = log Σ_k s_k r_k(x) of the shares r [B, K] of components at points; 0 until `take`.

    The scales are no part of the module's state: training, which continues from one, knows nothing of them. A
    checkpoint holds them beside it, and a loaded model takes them (`runs.model.load`).

    Attributes:
        scales: s [K], > 0; [0] before they are taken.
    """

    scales: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.take(torch.ones(0))

    def clear(self) -> None:
        """Become 0 everywhere."""
        self.take(torch.ones(0))

    @property
    def is_zero(self) -> bool:
        """True as long as nothing was taken."""
        return self.scales.numel() == 0

    def take(self, scales: Tensor) -> None:
        """Take scales [K], stored with the dtype and device of those before."""
        like = getattr(self, "scales", torch.zeros(()))
        self.register_buffer("scales", scales.detach().to(like, copy=True), persistent=False)

    def forward(self, share: Tensor) -> Tensor:
        return (share @ self.scales).log()

    def move(self, share: Tensor, moved: Moved) -> LogFactor:
        """log a and its derivatives, from the shares [B, K] and the derivatives of the place."""
        weighed = self._weighed(share)
        first = (weighed * moved.share).sum(-1)
        second = (weighed * moved.bent_share).sum(-1) - first.square().sum(0)
        return LogFactor(self(share), first, second)

    def pull(self, share: Tensor, on_value: Tensor) -> Tensor:
        """The cotangent of the terms whose shares are taken [B, K], from that of log a [B] or [1]."""
        return on_value.unsqueeze(1) * (self._weighed(share) - share)

    def _weighed(self, share: Tensor) -> Tensor:
        """The shares under p′, s_k r_k / a [B, K]."""
        raw = share * self.scales
        return raw / raw.sum(1, keepdim=True)


def fit_scales(of_rows: Tensor, means: Tensor) -> Tensor:
    """The scales s [K] of maximum likelihood, by expectation maximisation from s = 1; E_p[a] stays 1.

    Args:
        of_rows: shares at the rows [N, K], float64.
        means: ρ [K], the model's means of the shares, > 0, of sum 1.
    """
    n, w = len(of_rows), means
    for _ in range(MOST_ITERATIONS):
        before = w
        parts = of_rows / means
        w = (w * (parts / (parts @ w).unsqueeze(1)).sum(0) + PRIOR * means) / (n + PRIOR)
        if float((w - before).abs().max()) < TOLERANCE:
            break
    return w / means
