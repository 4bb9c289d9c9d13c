"""A flow that starts at a fitted density and learns only what that density misses.

A flow from N(0, I) has to find the correlations, modes and tails of the data by itself, and couplings, which are
continuous, cannot tear one normal distribution into separate modes at all. Here they bend a density that has these
already. Its mixture weights stay as fitted: they are as exact as the number of rows in each mode allows.
"""

import math

import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.densities.bijection import Bijection
from ebm_cli.densities.gaussian import Gaussian
from ebm_cli.densities.moments import RIDGE


class ReferenceFlow(Density):
    """q_θ(x): x = m + L T_θ(L⁻¹(z − m)), z ~ q;  log q_θ(x) = log q(z) − log|det ∂T_θ/∂w| at w = L⁻¹(z − m).

    m and LLᵀ are mean and covariance of the data, so that T_θ works in whitened coordinates, in which no two columns
    are collinear. T_θ starts as the identity, and q_θ as q.

    Args:
        reference: q, on points of the same shape; its parameters, if it has any, are trained too.
        data: rows [N, *shape] of the moments, standardised units.
        n_couplings: affine couplings of T_θ, ≥ 2; in one dimension a monotone spline takes their place.
        width: hidden units of each coupling's network of two hidden layers, ≥ 1; in one dimension the spline's bins.

    Shapes: x [B, *shape].  Cost: that of q, and n_couplings small networks a pass, the same in both directions.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(self, reference: Density, data: Tensor, n_couplings: int = 8, width: int = 32) -> None:
        super().__init__()
        self.shape = tuple(data.shape[1:])
        self.reference = reference
        self.moments = Gaussian(data, RIDGE)
        self.couplings = Bijection(math.prod(self.shape), n_couplings, width)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.sample_with_log_prob(n, rng)[0]

    def log_prob(self, x: Tensor) -> Tensor:
        w, log_det = self.couplings.pull(self._whitened(x))
        return self.reference.log_prob(self._coloured(w)) + log_det

    def sample_with_log_prob(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n points with their log-density in one pass; reparameterised in θ, where z does not depend on it."""
        z, log_q = self.reference.sample_with_log_prob(n, rng)
        w, log_det = self.couplings.push(self._whitened(z))
        return self._coloured(w), log_q - log_det

    def _whitened(self, x: Tensor) -> Tensor:
        return (x.flatten(1) - self.moments.mean) @ self.moments.whiten.T

    def _coloured(self, w: Tensor) -> Tensor:
        return torch.addmm(self.moments.mean, w, self.moments.factor.T).view(len(w), *self.shape)
