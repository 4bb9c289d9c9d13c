"""The abstraction of this folder: a distribution that can be sampled and whose density is known.

−log p of a density is an energy with log Z = 0, the reference model of many tests. Toy targets, the noise of noise
contrastive estimation and the flow of flow contrastive estimation are all a `Density`.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ebm_cli.densities.differentials import Differentials, differentials_by_autograd


class Density(nn.Module, ABC):
    """A normalised density on R^D, or on points of any `shape`.

    Attributes:
        shape: shape of one point, without the batch.
    """

    shape: tuple[int, ...]

    @abstractmethod
    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n exact, independent points [n, *shape]; every random number comes from `rng`."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Compute log p(x), nats: x [B, *shape] → [B]. Differentiable in x."""

    def sample_with_log_prob(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n points with their log-density: ([n, *shape], [n]). A flow computes both in one pass."""
        x = self.sample(n, rng)
        return x, self.log_prob(x)

    def differentials(self, x: Tensor, v: Tensor | None = None) -> Differentials:
        """Compute (log p [B], ∇log p [B, *shape], Σ_k v_kᵀ ∇²log p v_k [B] or None), detached from any graph.

        Args:
            x: points [B, *shape].
            v: directions [K, 1 or B, *shape]; None leaves the second derivatives out.
        """
        return differentials_by_autograd(self.log_prob, x, v)
