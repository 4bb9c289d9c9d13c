"""A mixture of normal distributions fitted to the data by expectation maximisation."""

import math

import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.densities.state import take_stored_shapes


class FittedMixture(Density):
    """q(x) = Σ_k w_k N(x; m_k, S_k) with full covariances, fitted by scikit-learn's `GaussianMixture`.

    A state of any number of components can be loaded. `mixture_by_bic` chooses the number.

    Args:
        data: reference rows [N, *shape] in standardised units. None is N(0, I), until a state is loaded.
        n_components: K ≥ 1.
        ridge: added to every covariance's diagonal, > 0.
        shape: shape of one point; needed without data only.

    Shapes: x [B, *shape].  Cost: K · D² operations a point.

    Raises:
        ValueError: a number out of its range.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor
    whiten: Tensor
    log_norm: Tensor

    def __init__(
        self,
        data: Tensor | None = None,
        n_components: int = 10,
        ridge: float = 1e-3,
        shape: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        if n_components < 1:
            raise ValueError(f"n_components must be >= 1, got {n_components}")
        if ridge <= 0:
            raise ValueError(f"ridge must be > 0, got {ridge}")
        self.register_load_state_dict_pre_hook(take_stored_shapes)  # type: ignore[no-untyped-call]
        if data is None:
            self.shape = tuple(shape)
            size = math.prod(shape)
            self.set_components(torch.ones(1), torch.zeros(1, size), torch.eye(size).unsqueeze(0), torch.empty(0))
            return
        from sklearn.mixture import GaussianMixture

        self.shape = tuple(data.shape[1:])
        rows = data.flatten(1).double().cpu().numpy()
        fitted = GaussianMixture(n_components, reg_covar=ridge, random_state=0).fit(rows)
        weights, means, covariances = map(torch.from_numpy, (fitted.weights_, fitted.means_, fitted.covariances_))
        self.set_components(weights, means, covariances, data)

    def set_components(self, weights: Tensor, means: Tensor, covariances: Tensor, like: Tensor) -> None:
        """Take other components: [K], [K, D], [K, D, D], stored with dtype and device of `like`."""
        factors = torch.linalg.cholesky(covariances.double())
        size = means.shape[1]
        eye = torch.eye(size).to(factors).expand_as(factors)
        buffers = {
            "weights": weights,
            "means": means,
            "factors": factors,
            "whiten": torch.linalg.solve_triangular(factors, eye, upper=False),
            "log_norm": weights.double().log()
            - factors.diagonal(dim1=1, dim2=2).log().sum(1)
            - 0.5 * size * math.log(2 * math.pi),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value.to(like))

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        k = torch.multinomial(self.weights, n, replacement=True, generator=rng)
        z = torch.randn(n, self.means.shape[1], 1, generator=rng, dtype=self.means.dtype, device=self.means.device)
        return (self.means[k] + (self.factors[k] @ z).squeeze(-1)).view(n, *self.shape)

    def log_prob(self, x: Tensor) -> Tensor:
        z = torch.einsum("kij,bkj->bki", self.whiten, x.flatten(1).unsqueeze(1) - self.means)
        return (self.log_norm - 0.5 * z.square().sum(-1)).logsumexp(1)
