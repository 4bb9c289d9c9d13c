"""A flow that starts at a fitted density and learns only what that density misses.

A flow from N(0, I) has to find the correlations, modes and tails of the data by itself, and couplings, which are
continuous, cannot tear one normal distribution into separate modes at all. Here they bend a density that has these
already. Its mixture weights stay as fitted: they are as exact as the number of rows in each mode allows.

A share of the draws comes from the fitted density itself. A classifier learns nothing about a mode that its noise
leaves, and the value function of flow contrastive estimation lets a flow leave one: at rows with q ≪ p neither
log p/(p + q) nor its gradient depends on q. With that share, q is nowhere less than a fixed part of the fitted density.
The idea is that of defensive importance sampling: Hesterberg (1995), "Weighted average importance sampling and
defensive mixture distributions".
"""

import math

import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.densities.bijection import Bijection
from ebm_cli.densities.gaussian import Gaussian
from ebm_cli.densities.moments import RIDGE


class ReferenceFlow(Density):
    """q_θ(x) = (1 − λ) r_θ(x) + λ q(x), where r_θ is the density of m + L T_θ(L⁻¹(z − m)), z ~ q.

        log r_θ(x) = log q(z) − log|det ∂T_θ/∂w| at w = L⁻¹(z − m)

    m and LLᵀ are mean and covariance of the data, so that T_θ works in whitened coordinates, in which no two columns
    are collinear. T_θ starts as the identity, and q_θ as q.

    Args:
        reference: q, on points of the same shape; its parameters, if it has any, are trained too.
        data: rows [N, *shape] of the moments, standardised units.
        n_couplings: affine couplings of T_θ, ≥ 2; in one dimension a monotone spline takes their place.
        width: hidden units of each coupling's network of two hidden layers, ≥ 1; in one dimension the spline's bins.
        kept: λ in [0, 1), the share of draws that are those of q.

    Shapes: x [B, *shape].  Cost: twice that of q, and n_couplings small networks a pass, the same in both directions.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(
        self, reference: Density, data: Tensor, n_couplings: int = 8, width: int = 32, kept: float = 0.5
    ) -> None:
        super().__init__()
        if not 0 <= kept < 1:
            raise ValueError(f"kept must be in [0, 1), got {kept}")
        self.shape = tuple(data.shape[1:])
        self.kept = kept
        self.reference = reference
        self.moments = Gaussian(data, RIDGE)
        self.couplings = Bijection(math.prod(self.shape), n_couplings, width)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.sample_with_log_prob(n, rng)[0]

    def log_prob(self, x: Tensor) -> Tensor:
        bent = self._log_bent(x)
        return self._mixed(bent, self.reference.log_prob(x)) if self.kept else bent

    def sample_with_log_prob(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n points with their log-density; reparameterised in θ, of which neither z nor the choice depends."""
        z, log_q = self.reference.sample_with_log_prob(n, rng)
        if not self.kept:
            return self._bend(z, log_q)
        stays = torch.rand(n, generator=rng, dtype=z.dtype, device=z.device) < self.kept
        moved, bent = self._bend(z[~stays], log_q[~stays])
        x = torch.cat((z[stays], moved))
        bent = torch.cat((self._log_bent(z[stays]), bent))
        plain = torch.cat((log_q[stays], self.reference.log_prob(moved)))
        # Back to the order in which they were drawn: any few of the points are then draws of the mixture.
        order = torch.cat((stays.nonzero(), (~stays).nonzero())).squeeze(1).argsort()
        return x[order], self._mixed(bent, plain)[order]

    def _mixed(self, bent: Tensor, plain: Tensor) -> Tensor:
        return torch.logaddexp(bent + math.log1p(-self.kept), plain + math.log(self.kept))

    def _bend(self, z: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
        """The points that T_θ makes of z, with log r_θ there, from log q(z)."""
        w, log_det = self.couplings.push(self._whitened(z))
        return self._coloured(w), log_q - log_det

    def _log_bent(self, x: Tensor) -> Tensor:
        """Compute log r_θ(x)."""
        w, log_det = self.couplings.pull(self._whitened(x))
        return self.reference.log_prob(self._coloured(w)) + log_det

    def _whitened(self, x: Tensor) -> Tensor:
        return (x.flatten(1) - self.moments.mean) @ self.moments.whiten.T

    def _coloured(self, w: Tensor) -> Tensor:
        return torch.addmm(self.moments.mean, w, self.moments.factor.T).view(len(w), *self.shape)
