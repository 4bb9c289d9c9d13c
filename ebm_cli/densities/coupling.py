"""A compact normalising flow, the trainable noise of flow contrastive estimation.

A sample and its log-density come from one pass, which a training step of flow contrastive estimation needs. Source:
Dinh, Sohl-Dickstein & Bengio (2017), "Density estimation using Real NVP".
"""

import math

import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.densities.bijection import Bijection


class CouplingFlow(Density):
    """q(x): x = T(z), z ~ N(0, I);  log q(x) = log N(z) − log|det ∂T/∂z|.

    Args:
        shape: shape of one point; points are flattened.
        n_couplings: affine couplings, ≥ 2; in one dimension a monotone spline takes their place.
        width: hidden units of each coupling's network of two hidden layers, ≥ 1; in one dimension the spline's bins.

    Shapes: x [B, *shape].  Cost: n_couplings small networks a pass, the same in both directions.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(self, shape: tuple[int, ...], n_couplings: int = 8, width: int = 32) -> None:
        super().__init__()
        self.shape = shape
        self.size = math.prod(shape)
        self.couplings = Bijection(self.size, n_couplings, width)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.sample_with_log_prob(n, rng)[0]

    def log_prob(self, x: Tensor) -> Tensor:
        z, log_det = self.couplings.pull(x.flatten(1))
        return log_det + _log_normal(z)

    def sample_with_log_prob(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n points with their log-density, reparameterised: gradients reach the parameters through both."""
        return self.from_standard(self.standard(n, rng))

    def standard(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw the standard normal numbers [n, D] of n points."""
        like = next(self.parameters())
        return torch.randn(n, self.size, generator=rng, dtype=like.dtype, device=like.device)

    def from_standard(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The points of standard normal numbers [n, D], and their log-density."""
        x, log_det = self.couplings.push(z)
        return x.view(len(z), *self.shape), _log_normal(z) - log_det


def _log_normal(z: Tensor) -> Tensor:
    """log N(z; 0, I): z [B, D] → [B]."""
    return -0.5 * z.square().sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)
