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

import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.densities.differentials import Differentials
from ebm_cli.densities.place import Moved, Place, Profile
from ebm_cli.densities.state import take_any_shapes


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
            at = self.locate(x.flatten(1))
            gradient = self.pull(at, at.share * at.profile.slope)
            second = None if v is None else self.move(at, v.flatten(2)).bent_log_prob
        return Differentials(at.log_prob, gradient.view_as(x), second)

    def locate(self, x: Tensor) -> Place:
        """The place of flat points [B, D], with all that log q, its derivatives and features of the place share."""
        z = self.whitened(x)
        s = z.square().sum(-1)
        h = self.profile(s)
        log_terms = self.log_norm + h.value
        log_q = log_terms.logsumexp(1)
        return Place(z, s, h, (log_terms - log_q.unsqueeze(1)).exp(), log_q)

    def move(self, at: Place, first: Tensor, second: Tensor | None = None) -> Moved:
        """Derivatives of the place along V directions of x, whose points may be curved themselves.

        Args:
            at: the place at x.
            first: the directions [V, 1 or B, D].
            second: the sum of the points' second derivatives [B, D]; None for 0.
        """
        z, _, h, share, _ = at
        dz, bent_z = self._linear(first), None if second is None else self._linear(second)
        # Directions that all points share need no product for each point, component, direction and coordinate.
        along = torch.einsum("bki,vki->vbk", z, dz[:, 0]) if dz.shape[1] == 1 else (z * dz).sum(-1)
        ds = 2 * along
        square = dz.square().sum(0)
        bent_s = 2 * square.sum(-1)
        if bent_z is not None:
            bent_s = bent_s + 2 * (z * bent_z).sum(-1)
        term = h.slope * ds
        log_q = (share * term).sum(-1)
        spread = term - log_q.unsqueeze(-1)
        bent = h.slope * bent_s + h.bend * ds.square().sum(0) + spread.square().sum(0)
        bent_log_q = (share * bent).sum(-1)
        return Moved(dz, square, bent_z, ds, bent_s, spread, bent - bent_log_q.unsqueeze(-1), log_q, bent_log_q)

    def pull(self, at: Place, on_s: Tensor, on_z: Tensor | None = None) -> Tensor:
        """The cotangent of x [B, D], from that of s [B, K] and, beside it, of z [B, K, D]."""
        total = (2 * on_s).unsqueeze(-1) * at.z
        if on_z is not None:
            total = total + on_z
        return total.flatten(1) @ self.whiten.flatten(0, 1)

    def _linear(self, v: Tensor) -> Tensor:
        """W_k v: [..., D] → [..., K, D]."""
        w: Tensor = (v @ self.whiten.flatten(0, 1).T).unflatten(-1, self.means.shape)
        return w

    def whitened(self, x: Tensor) -> Tensor:
        """z_k = W_k (x − m_k): flat points [B, D] → [B, K, D], in one product, taken from the mean of all."""
        centre = self.weights @ self.means
        offsets = torch.einsum("kij,kj->ki", self.whiten, self.means - centre)
        z = torch.addmm(-offsets.flatten(), x - centre, self.whiten.flatten(0, 1).T)
        return z.view(len(x), *self.means.shape)


def log_normal_at_mode(size: int) -> float:
    """log N(0; 0, I) in `size` dimensions."""
    return -0.5 * size * math.log(2 * math.pi)
