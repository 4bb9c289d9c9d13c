"""A mixture of normal distributions fitted to the data by expectation maximisation."""

import math

import torch
from torch import Tensor

from ebm_cli.densities.elliptical import EllipticalMixture, log_normal_at_mode
from ebm_cli.densities.place import Profile


class FittedMixture(EllipticalMixture):
    """q(x) = Σ_k w_k N(x; m_k, S_k) with full covariances, fitted by scikit-learn's `GaussianMixture`.

    `mixture_by_bic` chooses the number of components.

    Args:
        data: reference rows [N, *shape] in standardised units. None is N(0, I), until a state is loaded.
        n_components: K ≥ 1.
        ridge: added to every covariance's diagonal, > 0.
        shape: shape of one point; needed without data only.

    Shapes: x [B, *shape].  Cost: K · D² operations a point.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(
        self,
        data: Tensor | None = None,
        n_components: int = 10,
        ridge: float = 1e-3,
        shape: tuple[int, ...] = (),
    ) -> None:
        super().__init__(tuple(shape) if data is None else tuple(data.shape[1:]))
        if n_components < 1:
            raise ValueError(f"n_components must be >= 1, got {n_components}")
        if ridge <= 0:
            raise ValueError(f"ridge must be > 0, got {ridge}")
        if data is None:
            size = math.prod(shape)
            self.set_components(torch.ones(1), torch.zeros(1, size), torch.eye(size).unsqueeze(0), torch.empty(0))
            return
        from sklearn.mixture import GaussianMixture

        rows = data.flatten(1).double().cpu().numpy()
        fitted = GaussianMixture(n_components, reg_covar=ridge, random_state=0).fit(rows)
        weights, means, covariances = map(torch.from_numpy, (fitted.weights_, fitted.means_, fitted.covariances_))
        self.set_components(weights, means, covariances, data)

    def set_components(self, weights: Tensor, means: Tensor, covariances: Tensor, like: Tensor) -> None:
        """Take other components: [K], [K, D], [K, D, D], stored with dtype and device of `like`."""
        at_mode = torch.tensor(log_normal_at_mode(means.shape[1]), dtype=torch.float64)
        self.keep(weights, means, covariances, at_mode, like)

    def profile(self, s: Tensor) -> Profile:
        """h(s) = −½ s."""
        return Profile(-0.5 * s, torch.full_like(s, -0.5), torch.zeros_like(s))

    def marginal(self, j: int) -> "FittedMixture":
        found = FittedMixture(shape=(1,))
        found.set_components(self.weights, self.means[:, j : j + 1], self.variances(j), self.means)
        return found

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        k, deviation = self.sample_normal(n, rng)
        return (self.means[k] + deviation).view(n, *self.shape)
