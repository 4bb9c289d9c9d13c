"""Mixtures whose components depend on x through a squared distance: of normal or of Student's t distributions.

With z_k = W_k (x − m_k), W_kᵀ W_k = S_k⁻¹, s_k = ‖z_k‖² and a profile h,

    log q(x) = log Σ_k exp(c_k + h_k(s_k)),     r_k = the k-th term's share,     g_k = 2 h_k′ W_kᵀ z_k,
    ∇ log q = ḡ = Σ_k r_k g_k,
    vᵀ ∇² log q v = Σ_k r_k [2 h_k′ ‖W_k v‖² + 4 h_k″ (z_kᵀ W_k v)² + (vᵀ(g_k − ḡ))²].

The last term is centred before it is squared: far out, where all g_k are large and alike, little else would be left of
single precision.
"""

import math
from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.densities.differentials import Differentials
from ebm_cli.densities.state import take_any_shapes


class Profile(NamedTuple):
    """h(s), h′(s) and h″(s) of each component, [B, K]."""

    value: Tensor
    slope: Tensor
    bend: Tensor


class EllipticalMixture(Density):
    """q(x) = Σ_k exp(c_k + h_k(‖W_k (x − m_k)‖²)), starting as one standard component.

    A state of any number of components can be loaded.

    Args:
        shape: shape of one point.

    Shapes: x [B, *shape].  Cost: K · D² operations a point.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor
    whiten: Tensor
    log_norm: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        take_any_shapes(self)
        self.shape = tuple(shape)

    @abstractmethod
    def profile(self, s: Tensor) -> Profile:
        """Compute h and its derivatives: squared distances s [B, K] → [B, K] each."""

    @abstractmethod
    def marginal(self, j: int) -> "EllipticalMixture":
        """The distribution of coordinate j alone, as a density of points [1]."""

    def variances(self, j: int) -> Tensor:
        """The scatter of coordinate j within each component [K, 1, 1]."""
        return self.factors[:, j].square().sum(1).view(-1, 1, 1)

    def keep(self, weights: Tensor, means: Tensor, scatters: Tensor, log_norm: Tensor, like: Tensor) -> None:
        """Take other components, stored with dtype and device of `like`.

        Args:
            weights: w_k [K], > 0, of sum 1.
            means: m_k [K, D].
            scatters: S_k [K, D, D], positive definite.
            log_norm: logarithm of the component's density at m_k, times √det S_k, [K] or [].
        """
        factors = torch.linalg.cholesky(scatters.double())
        eye = torch.eye(means.shape[1]).to(factors).expand_as(factors)
        buffers = {
            "weights": weights,
            "means": means,
            "factors": factors,
            "whiten": torch.linalg.solve_triangular(factors, eye, upper=False),
            "log_norm": weights.double().log() + log_norm - factors.diagonal(dim1=1, dim2=2).log().sum(1),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value.to(like, copy=True))

    def rescale(self, centre: Tensor, scale: Tensor) -> None:
        """Become the density of centre + scale · x, where x has this one: centre [D], scale [D], > 0."""
        self.means = centre + scale * self.means
        self.factors = scale.unsqueeze(1) * self.factors
        self.whiten = self.whiten / scale
        self.log_norm = self.log_norm - scale.log().sum()

    def sample_normal(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw components k [n] and deviations L_k z, z ~ N(0, I), L_k L_kᵀ = S_k [n, D]."""
        k = torch.multinomial(self.weights, n, replacement=True, generator=rng)
        z = torch.randn(n, self.means.shape[1], 1, generator=rng, dtype=self.means.dtype, device=self.means.device)
        return k, (self.factors[k] @ z).squeeze(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        return (self.log_norm + self.profile(self.whitened(x.flatten(1)).square().sum(-1)).value).logsumexp(1)

    def differentials(self, x: Tensor, v: Tensor | None = None) -> Differentials:
        with torch.no_grad():
            z = self.whitened(x.flatten(1))
            h = self.profile(z.square().sum(-1))
            log_terms = self.log_norm + h.value
            value = log_terms.logsumexp(1)
            share = (log_terms - value.unsqueeze(1)).exp()
            pulled = (2 * share * h.slope).unsqueeze(-1) * z
            gradient = pulled.flatten(1) @ self.whiten.flatten(0, 1)
            second = None if v is None else self._second(z, h, share, v.flatten(2))
        return Differentials(value, gradient.view_as(x), second)

    def _second(self, z: Tensor, h: Profile, share: Tensor, v: Tensor) -> Tensor:
        """Σ_v vᵀ ∇² log q v: z [B, K, D], share [B, K], v [V, 1 or B, D] → [B]."""
        w = (v @ self.whiten.flatten(0, 1).T).unflatten(-1, self.means.shape)
        along = torch.einsum("bki,vki->vbk", z, w[:, 0]) if w.shape[1] == 1 else (z * w).sum(-1)
        slope = 2 * h.slope * along
        spread = slope - (share * slope).sum(-1, keepdim=True)
        bent = 2 * h.slope * w.square().sum(-1) + 4 * h.bend * along.square() + spread.square()
        second: Tensor = (share * bent).sum(-1).sum(0)
        return second

    def whitened(self, x: Tensor) -> Tensor:
        """z_k = W_k (x − m_k): flat points [B, D] → [B, K, D], in one product, taken from the mean of all."""
        centre = self.weights @ self.means
        offsets = torch.einsum("kij,kj->ki", self.whiten, self.means - centre)
        z = torch.addmm(-offsets.flatten(), x - centre, self.whiten.flatten(0, 1).T)
        return z.view(len(x), *self.means.shape)


def log_normal_at_mode(size: int) -> float:
    """log N(0; 0, I) in `size` dimensions."""
    return -0.5 * size * math.log(2 * math.pi)
