"""Densities that are one regression after the other: each column given those before it."""

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from ebm_cli.datasets.table_suite.distributions import Distribution
from ebm_cli.datasets.table_suite.exact import Exact

Conditional = Callable[[Tensor, int], tuple[Tensor | float, Tensor | float]]
"""(y_<j [B, j], j) → location m_j and log scale log s_j of column j, [B] or numbers."""

SMALLEST = 1e-30
"""Value of a positive column, of logarithm −69, below which its density is 0 in any precision."""


@final
class Regression(Exact):
    """y_j = m_j(y_<j) + s_j(y_<j) e_j with independent e_j, and x_j = y_j, or exp y_j for some columns.

        log p(x) = Σ_j [log p_j((y_j − m_j)/s_j) − log s_j] − Σ_{j positive} y_j

    The map from e to y is triangular, so that its Jacobian is Π s_j.

    Args:
        distributions: of e_j, one for each column.
        conditional: m_j and log s_j.
        positive: columns that are exp y_j.

    Shapes: x [B, D], D = len(distributions). One mode.
    """

    def __init__(
        self, distributions: Sequence[Distribution], conditional: Conditional, positive: Sequence[int] = ()
    ) -> None:
        super().__init__((len(distributions),))
        self.distributions, self.conditional, self.positive = tuple(distributions), conditional, frozenset(positive)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.from_noise(
            torch.stack([distribution.sample(n, rng, self.origin) for distribution in self.distributions], dim=1)
        )

    def from_noise(self, e: Tensor) -> Tensor:
        """Map e [B, D] to x [B, D]."""
        y = e.new_empty(len(e), 0)
        for j in range(len(self.distributions)):
            m, log_s = self.conditional(y, j)
            y = torch.cat([y, (m + torch.as_tensor(log_s, dtype=e.dtype).exp() * e[:, j])[:, None]], dim=1)
        return torch.stack(
            [y[:, j].exp() if j in self.positive else y[:, j] for j in range(len(self.distributions))], dim=1
        )

    def log_prob(self, x: Tensor) -> Tensor:
        y = torch.stack(
            [
                x[:, j].clamp(min=SMALLEST).log() if j in self.positive else x[:, j]
                for j in range(len(self.distributions))
            ],
            dim=1,
        )
        log_p = -sum((y[:, j] for j in self.positive), start=torch.zeros_like(y[:, 0]))
        for j, distribution in enumerate(self.distributions):
            m, log_s = self.conditional(y[:, :j], j)
            log_s = torch.as_tensor(log_s, dtype=x.dtype)
            log_p = log_p + distribution.log_prob((y[:, j] - m) * (-log_s).exp()) - log_s
        return log_p


def product(distributions: Sequence[Distribution], centre: Sequence[float], scales: Sequence[float]) -> Regression:
    """Independent columns c_j + s_j e_j."""
    log_scales = torch.tensor(scales, dtype=torch.float64).log().tolist()
    return Regression(distributions, lambda y, j: (centre[j], log_scales[j]))
