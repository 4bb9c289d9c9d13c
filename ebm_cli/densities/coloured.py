"""A density that starts with the mean and covariance of the data and learns only the rest.

A flow from N(0, I) has to learn the correlations of nearly collinear columns before anything else. Trained against an
energy that models them from the start, it does not succeed in time.
"""

import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.densities.gaussian import Gaussian
from ebm_cli.densities.moments import RIDGE


class Coloured(Density):
    """q(x): x = Lz + m, z ~ r;  log q(x) = log r(L⁻¹(x − m)) − log|det L|.

    m and LLᵀ are mean and covariance of the data (the colouring transform, the inverse of whitening). If r starts as
    N(0, I), q starts as the Gaussian fitted to the data.

    Args:
        density: r, on points of the same shape; only its parameters are trained.
        data: reference rows [N, *shape], standardised units.
        ridge: added to the covariance's diagonal, > 0, because a constant column leaves it singular.

    Shapes: x [B, *shape].

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(self, density: Density, data: Tensor, ridge: float = RIDGE) -> None:
        super().__init__()
        self.fitted = Gaussian(data, ridge)
        self.shape = self.fitted.shape
        self.density = density

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.sample_with_log_prob(n, rng)[0]

    def log_prob(self, x: Tensor) -> Tensor:
        z = (x.flatten(1) - self.fitted.mean) @ self.fitted.whiten.T
        return self.density.log_prob(z.view(x.shape)) - self._log_det()

    def sample_with_log_prob(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n points with their log-density; reparameterised if r's are."""
        z, log_r = self.density.sample_with_log_prob(n, rng)
        x = torch.addmm(self.fitted.mean, z.flatten(1), self.fitted.factor.T)
        return x.view(z.shape), log_r - self._log_det()

    def _log_det(self) -> Tensor:
        return self.fitted.factor.diagonal().log().sum()
