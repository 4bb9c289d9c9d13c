"""A mixture of normal distributions fitted to the data by expectation maximisation."""

import math

import torch
from torch import Tensor

from ebm_cli.densities.base import Density


class FittedMixture(Density):
    """q(x) = Σ_k w_k N(x; m_k, S_k) with full covariances, fitted by scikit-learn's `GaussianMixture`.

    Args:
        data: reference rows [N, *shape] in standardised units.
        n_components: K ≥ 1.
        ridge: added to every covariance's diagonal, > 0.

    Shapes: x [B, *shape].  Cost: K · D² operations a point.

    Raises:
        ValueError: a number out of its range.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor
    whiten: Tensor
    log_norm: Tensor

    def __init__(self, data: Tensor, n_components: int = 10, ridge: float = 1e-3) -> None:
        super().__init__()
        if n_components < 1:
            raise ValueError(f"n_components must be >= 1, got {n_components}")
        if ridge <= 0:
            raise ValueError(f"ridge must be > 0, got {ridge}")
        from sklearn.mixture import GaussianMixture

        self.shape = tuple(data.shape[1:])
        rows = data.flatten(1).double().cpu()
        fitted = GaussianMixture(n_components, reg_covar=ridge, random_state=0).fit(rows.numpy())
        weights = torch.from_numpy(fitted.weights_)
        factors = torch.linalg.cholesky(torch.from_numpy(fitted.covariances_))
        size = rows.shape[1]
        eye = torch.eye(size, dtype=rows.dtype).expand_as(factors)
        buffers = {
            "weights": weights,
            "means": torch.from_numpy(fitted.means_),
            "factors": factors,
            "whiten": torch.linalg.solve_triangular(factors, eye, upper=False),
            "log_norm": weights.log()
            - factors.diagonal(dim1=1, dim2=2).log().sum(1)
            - 0.5 * size * math.log(2 * math.pi),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value.to(data))

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        k = torch.multinomial(self.weights, n, replacement=True, generator=rng)
        z = torch.randn(n, self.means.shape[1], 1, generator=rng, dtype=self.means.dtype, device=self.means.device)
        return (self.means[k] + (self.factors[k] @ z).squeeze(-1)).view(n, *self.shape)

    def log_prob(self, x: Tensor) -> Tensor:
        z = torch.einsum("kij,bkj->bki", self.whiten, x.flatten(1).unsqueeze(1) - self.means)
        return (self.log_norm - 0.5 * z.square().sum(-1)).logsumexp(1)
